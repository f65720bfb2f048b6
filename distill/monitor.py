"""What a running training is watched by: figures and a contact sheet on clips it does not learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from pocketportrait import atomic
from pocketportrait.contract import POSE, Array
from pocketportrait.distill.clips import Clips
from pocketportrait.distill.losses import mesh_flow_loss, mesh_weight
from pocketportrait.distill.objective import to_batch
from pocketportrait.distill.targets import LabelHead
from pocketportrait.models.student import Student

PAIRS, ROWS, SEED = 32, 8, 12345
CLIPS, EVERY = 40, 4  # clips that are listened to, and every how many of their labelled frames
# blendshapes whose course is followed, and the least range over a clip that makes it count
FOLLOWED = {"jaw": ([25], 0.2), "blink": ([9, 10], 0.3), "smile": ([44, 45], 0.3)}


class Monitor:
    """A fixed set of pairs of one labelled folder."""

    def __init__(self, clips: Clips, sheets: Path) -> None:
        """Draw the pairs; `sheets` is where contact sheets go."""
        self.clips = clips
        self.pairs = to_batch(clips.draw(PAIRS, SEED, 0), torch.Generator().manual_seed(SEED))
        self.sheets = sheets

    @torch.no_grad()
    def look(self, student: Student, step: int) -> dict[str, float]:
        """Render the pairs and write `sheets/<step>.png`; return errors as ratios to doing nothing."""
        batch, images, fields = self.pairs, [], []
        for part in torch.split(torch.arange(PAIRS), 8):
            photo, target = batch["photo"][part], batch["target"][part]
            features, aim, skip = student.appearance(photo)
            codes = student.motion(photo), student.motion(target)
            out = student.render.draw(features, aim, skip, *codes)
            images.append(out.image.clamp(0, 1))
            fields.append(out.fine_fields)
        image, field = torch.cat(images), torch.cat(fields)
        self._sheet(image, step)
        still = (batch["photo"] - batch["target"]).abs().mean()
        place = (batch["photo_points"], batch["target_points"], mesh_weight())
        moved, unmoved = (
            mesh_flow_loss(field, *place),
            mesh_flow_loss(torch.zeros_like(field), *place),
        )
        return {
            "l1_ratio": round(float((image - batch["target"]).abs().mean() / still), 4),
            "mesh_ratio": round(float(moved / unmoved), 4),
        }

    @torch.no_grad()
    def listen(self, motion: nn.Module, head: LabelHead) -> dict[str, float]:
        """Return how well codes follow faces over time: medians over clips that move enough.

        `pose_ratio` is the error of the change of pose since a clip's first frame over that change,
        the mean of its six values. All of it bounds the renderer: what is not in the code, nobody
        can draw.
        """
        found: dict[str, list[float]] = {name: [] for name in FOLLOWED}
        wrong, moved = [], []
        for number, labels in enumerate(self.clips.labels[:CLIPS]):
            rows = np.arange(0, len(labels), EVERY)
            frames = self.clips.frames[self.clips.start[number] + rows]
            code = motion(torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255)
            answer, _ = head(code)
            pose = self.clips.targets[number].pose[rows]
            wrong.append(np.abs(code[:, : len(POSE)].numpy() - pose - _first(code, pose)))
            moved.append(np.abs(pose - pose[:1]))
            for name, (columns, least) in FOLLOWED.items():
                truth = labels.blendshapes[rows][:, columns].mean(1)
                told = answer[:, columns].mean(1).numpy()
                if np.ptp(truth) >= least and np.ptp(told) > 0:
                    found[name].append(float(np.corrcoef(truth, told)[0, 1]))
        still = np.concatenate(moved).mean(0) + 1e-6
        ratio = float((np.concatenate(wrong).mean(0) / still).mean())
        heard = {f"corr_{n}": round(float(np.median(v)), 3) for n, v in found.items() if v}
        return heard | {"pose_ratio": round(ratio, 4)}

    def _sheet(self, image: torch.Tensor, step: int) -> None:
        photo, target = self.pairs["photo"], self.pairs["target"]
        difference = (image - target).abs() * 2
        columns = [x[:ROWS].clamp(0, 1) for x in (photo, target, image, difference)]
        rows = torch.cat(columns, 3)
        write_sheet(self.sheets / f"{step:06d}.png", rows.permute(0, 2, 3, 1).numpy())


def _first(code_BK: torch.Tensor, pose_B6: Array) -> Array:
    """Return by how much the first frame's pose is told wrong."""
    return code_BK[:1, : len(POSE)].numpy() - pose_B6[:1]


def write_sheet(path: Path, rows: Array) -> None:
    """Write rows of pictures [N, H, W, 3], 0..1, one below the other, as a PNG."""
    from PIL import Image

    pixels = (np.concatenate(list(rows)) * 255).round().astype(np.uint8)
    with atomic.replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary)
