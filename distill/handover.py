"""Before a phase: the renderer is turned to an encoder that has changed, and dead units are revived.

Weights that training begins with have no label head: it is fitted to their codes.

Shape suffixes: B batch, K code, N inputs of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pocketportrait.contract import POSE, Array
from pocketportrait.distill.clips import Pairs
from pocketportrait.distill.objective import to_pictures
from pocketportrait.distill.targets import LabelHead
from pocketportrait.models.student import Motion, Render, Student

HEAD_RIDGE = 1e-3  # of a code's variance
EPSILON = 1e-6  # of values that never change
RIDGE = 1e-6  # of the mean variance: codes may have directions in which nothing varies
HELD_OUT = 4  # every how many frames the fit is judged by
PART = 50  # frames encoded at once


@torch.no_grad()
def encode(motion: Motion, frames: Array) -> Tensor:
    """Return the codes [B, K], float64, of frames uint8 [B, H, W, 3] by an encoder in eval mode."""
    parts = [frames[start : start + PART] for start in range(0, len(frames), PART)]
    return torch.cat([motion(to_pictures(part)) for part in parts]).double()


@torch.no_grad()
def reread(render: Render, was_BK: Tensor, is_BK: Tensor) -> float:
    """Turn the first layers of a renderer from the expressions of one encoder to those of another.

    A motion encoder that learns on without its renderer ends with the same expressions told in other
    numbers. Where the old numbers are an affine map of the new ones, found by least squares, the map
    goes into the layers that read them, and the renderer draws what it drew before.

    Args:
        render: changed in place.
        was_BK: codes that it was trained with.
        is_BK: codes of the same frames that it shall read from now on.

    Returns:
        Share of the old expressions' variance that the map explains on frames it was not fitted to.

    """
    chosen = slice(len(POSE), None)
    was, new = was_BK[:, chosen], is_BK[:, chosen]
    judged = torch.arange(len(was)) % HELD_OUT == 0
    x, y = new[~judged], was[~judged]
    size = x.var(0, correction=0).mean().expand(x.shape[1])
    turn, shift = _affine(x, y, RIDGE * size)
    error = was[judged] - new[judged] @ turn - shift
    explained = 1 - error.square().sum() / (was[judged] - y.mean(0)).square().sum()
    code = was_BK.shape[1]
    first = render.embed[0]
    assert isinstance(first, nn.Linear)
    for begin in (0, code):  # the source's part, then the change's
        columns = slice(begin + len(POSE), begin + code)
        weight = first.weight[:, columns].double()
        if begin == 0:
            first.bias.add_((weight @ shift).to(first.bias.dtype))
        first.weight[:, columns] = (weight @ turn.T).to(first.weight.dtype)
    linear = render.flow.coarse_linear.weight
    linear[:, chosen] = (linear[:, chosen].double() @ turn.T).to(linear.dtype)
    return float(explained)


@torch.no_grad()
def revive(
    layer: nn.Linear, readers: Sequence[nn.Linear], inputs_BN: Tensor, rng: torch.Generator
) -> int:
    """Give units of a linear layer before a ReLU that never answer new weights; return how many.

    A new unit answers to about half of all inputs; its readers do not listen to it yet, so the network
    says what it said, and can learn more (after ReDo: Sokar et al., ICML 2023, arXiv:2302.12902).

    Args:
        layer: its outputs go through a ReLU.
        readers: all layers that read these outputs.
        inputs_BN: of the layer, for real data.
        rng: for the new weights.

    """
    dead = (layer(inputs_BN) <= 0).all(0)
    count = int(dead.sum())
    if count:
        weight = torch.randn(count, inputs_BN.shape[1], generator=rng)
        mean = inputs_BN.mean(0)
        size = ((inputs_BN - mean) @ weight.T).std(0).clamp_min(1e-6)
        weight = weight / size[:, None]
        layer.weight[dead] = weight
        layer.bias[dead] = -(weight @ mean)
        for reader in readers:
            reader.weight[:, dead] = 0
    return count


@torch.no_grad()
def revive_embedding(render: Render, code_BK: Tensor, seed: int) -> dict[str, int]:
    """Revive the units of a renderer's embedding that answer to no pair of codes; return how many.

    Args:
        render: changed in place.
        code_BK: codes of frames in any order.
        seed: of the new weights.

    """
    code = code_BK.float() * render.code_scale
    change = torch.cat([code.roll(1, 0) - code, torch.zeros_like(code)])
    x = torch.cat([torch.cat([code, code]), change], 1)
    rng = torch.Generator().manual_seed(seed)
    first, _, second, _ = render.embed
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    hidden = revive(first, [second], x, rng)
    embedding = revive(second, render.embedding_readers(), torch.relu(first(x)), rng)
    return {"revived_hidden": hidden, "revived_embedding": embedding}


@torch.no_grad()
def fitted_head(code_BK: Tensor, pairs: Pairs) -> LabelHead:
    """Return the label head that reads these codes best, by ridge regression.

    A head of random weights would have the encoder unlearn its codes for its sake, and would judge
    what is rendered by noise.

    Args:
        code_BK: of the pairs' photos, then of their targets.
        pairs: with their labels.

    """
    head = LabelHead(code_BK.shape[1])
    wanted = torch.from_numpy(pairs.blendshapes), torch.from_numpy(pairs.shape)
    labelled = torch.ones(len(code_BK)), torch.from_numpy(pairs.has_shape)
    for layer, labels, counts in zip((head.blendshapes, head.shape), wanted, labelled, strict=True):
        code, label = code_BK[counts > 0].double(), labels[counts > 0].double()
        turn, shift = _affine(code, label, HEAD_RIDGE * (code.std(0) + EPSILON) ** 2)
        layer.weight.copy_(turn.T)
        layer.bias.copy_(shift)
    return head


def _affine(x_BK: Tensor, y_BN: Tensor, ridge_K: Tensor) -> tuple[Tensor, Tensor]:
    """Return turn [K, N] and shift [N] of the least-squares map y = x @ turn + shift.

    `ridge_K` is the variance that every number of x is given besides its own.
    """
    mean = x_BK.mean(0)
    x, y = x_BK - mean, y_BN - y_BN.mean(0)
    turn = torch.linalg.solve(x.T @ x + len(x) * torch.diag(ridge_K), x.T @ y)
    return turn, y_BN.mean(0) - mean @ turn


def hand_over(
    student: Student, before: Motion | None, frames: Array, seed: int
) -> dict[str, float]:
    """Prepare a student, in eval mode, for a phase in which its renderer learns.

    Args:
        student: changed in place.
        before: the encoder that the renderer knows, where the student's has learnt on without it.
        frames: some hundred frames, uint8 [B, H, W, 3].
        seed: of revived weights.

    Returns:
        What was done, for the log.

    """
    now = encode(student.motion, frames)
    done: dict[str, float] = {}
    if before is not None:
        done["reread"] = round(reread(student.render, encode(before, frames), now), 4)
    return done | revive_embedding(student.render, now, seed)
