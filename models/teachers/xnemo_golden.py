"""X-NeMo's networks with the formula's weights: what they compute.

One network is in memory at a time; the largest needs 7 GiB. PersonaLive's UNets are these, and the body
of its motion encoder too, so the outputs that both share prove both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from pocketportrait.models.teachers import formula
from pocketportrait.models.teachers.checkpoint import Network
from pocketportrait.models.teachers.formula import formula_input, formula_weights, smoothed
from pocketportrait.models.teachers.xnemo_attention import interleaved_rows, position_rows
from pocketportrait.models.teachers.xnemo_layers import Bank, UNetDims
from pocketportrait.models.teachers.xnemo_motion import MotionDims, MotionEncoder
from pocketportrait.models.teachers.xnemo_unet import (
    DenoisingUNet,
    ReferenceUNet,
    token_blocks,
)

Outputs = Iterator[tuple[str, Tensor]]

# Places inside the denoising network, as the published modules are called.
INNER = (
    "conv_in",
    "down_blocks.0.resnets.0",
    "down_blocks.0.attentions.0",
    "down_blocks.0.motion_modules.0",
    "down_blocks.0.temporal_modules.0",
    "down_blocks.3",
    "mid_block",
    "up_blocks.0",
    "up_blocks.1",
)
_FRAMES, _LATENT = 2, 16
_TIMESTEP = 500


def formula_state(like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the formula's weights, with the position tables that the architecture defines."""
    tables = {key for key in like if key.rpartition(".")[2] == "pe"}
    state = formula_weights({key: value for key, value in like.items() if key not in tables})
    for key in tables:
        count, width = like[key].shape[1:]
        # the motion encoder's own table is not interleaved
        rows = position_rows if key == "pe" else interleaved_rows
        state[key] = rows(count, width)[None]
    return state


def formula_network(build: Callable[[], Network], device: str = "cpu") -> Network:
    """Return a network with the formula's weights."""
    return formula.formula_network(build, device, state=formula_state)


def golden_outputs(device: str = "cpu", *, unets: bool = True) -> Outputs:
    """Yield every golden output by name, the fast ones first.

    Args:
        device: where the networks run.
        unets: also the two UNets; without them it is 300 GFLOP and 0.3 GiB.

    """
    with torch.inference_mode():
        faces, boxes = (one.to(device) for one in motion_inputs())
        encoder = formula_network(MotionEncoder, device)
        yield "motion.face_latent_512", encoder.face_code(faces)
        yield "motion.motion_tokens", encoder(faces, boxes)
        yield "motion.single_frame", encoder(faces[:, :, :1], boxes[:, :1])[0]
        del encoder
        if unets:
            features, bank = _reference(device)
            yield "reference.sample0", features
            for block, tokens in zip(token_blocks(UNetDims()), bank, strict=True):
                yield f"reference.bank.{block}", tokens
            yield from _denoising(device, bank)


def shared_outputs(device: str = "cpu", *, unets: bool = True) -> Outputs:
    """Yield the golden outputs that PersonaLive's networks have in common with these."""
    with torch.inference_mode():
        faces = motion_inputs()[0].to(device)
        encoder = formula_network(personalive_encoder, device)
        yield "motion.face_latent_512", encoder.face_code(faces)
        del encoder
        if unets:
            features, bank = _reference(device)
            yield "reference.sample0", features
            network = formula_network(DenoisingUNet, device)
            yield "denoising.with_reference", network(*_noisy(device), bank)


def personalive_encoder() -> MotionEncoder:
    """Return the encoder without a branch for the face box."""
    return MotionEncoder(MotionDims(box=0))


def motion_inputs() -> tuple[Tensor, Tensor]:
    """Return face crops [1, 3, 2, 224, 224] and boxes [1, 2, 3]."""
    noise = formula_input("xnemo.pose_cond", (1, 3, _FRAMES, 224, 224), -1, 1)
    faces = torch.stack([smoothed(frame) for frame in noise.unbind(2)], 2)
    return faces, formula_input("xnemo.bbox", (1, _FRAMES, 3), -0.2, 1.2)


def reference_inputs() -> tuple[Tensor, Tensor]:
    """Return the photo's latent [1, 4, 16, 16] and embedding [1, 1, 768]."""
    latent = formula_input("xnemo.ref_latent", (1, 4, _LATENT, _LATENT), -1, 1)
    return latent, formula_input("xnemo.clip_embed", (1, 1, 768), -1, 1)


def _reference(device: str) -> tuple[Tensor, Bank]:
    """Run the reference network and let it go again."""
    network = formula_network(ReferenceUNet, device)
    found: tuple[Tensor, Bank] = network(*(one.to(device) for one in reference_inputs()))
    return found


def _noisy(device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    latent = formula_input("xnemo.noisy_latent", (1, 4, _FRAMES, _LATENT, _LATENT), -1, 1)
    motion = formula_input("xnemo.motion_tokens", (1, _FRAMES, 32, 16), -1, 1)
    time = torch.tensor([_TIMESTEP], device=device)
    return latent.to(device), time, reference_inputs()[1].to(device), motion.to(device)


def _denoising(device: str, bank: Bank) -> Outputs:
    network, inputs = formula_network(DenoisingUNet, device), _noisy(device)
    yield "denoising.no_reference", network(*inputs)
    inner: dict[str, Tensor] = {}
    for name in INNER:
        network.get_submodule(name).register_forward_hook(_keep(inner, name))
    yield "denoising.with_reference", network(*inputs, bank)
    for name in INNER:
        # pictures lie in the batch here, frames behind the channels there
        yield f"denoising.mid.{name}", inner[name][None].transpose(1, 2)


def _keep(into: dict[str, Tensor], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, args: object, output: Tensor | list[Tensor]) -> None:
        into[name] = output[-1] if isinstance(output, list) else output

    return hook
