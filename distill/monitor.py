"""What a running training is watched by: figures and a contact sheet on clips it does not learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pocketportrait import atomic
from pocketportrait.contract import Array
from pocketportrait.distill.clips import Clips
from pocketportrait.distill.losses import mesh_flow_loss, mesh_weight
from pocketportrait.distill.objective import to_batch
from pocketportrait.models.student import Student

PAIRS, ROWS, SEED = 32, 8, 12345


class Monitor:
    """A fixed set of pairs of one labelled folder."""

    def __init__(self, clips: Clips, sheets: Path) -> None:
        """Draw the pairs; `sheets` is where contact sheets go."""
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
            fields.append(out.fields)
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

    def _sheet(self, image: torch.Tensor, step: int) -> None:
        photo, target = self.pairs["photo"], self.pairs["target"]
        difference = (image - target).abs() * 2
        columns = [x[:ROWS].clamp(0, 1) for x in (photo, target, image, difference)]
        rows = torch.cat(columns, 3)
        write_sheet(self.sheets / f"{step:06d}.png", rows.permute(0, 2, 3, 1).numpy())


def write_sheet(path: Path, rows: Array) -> None:
    """Write rows of pictures [N, H, W, 3], 0..1, one below the other, as a PNG."""
    from PIL import Image

    pixels = (np.concatenate(list(rows)) * 255).round().astype(np.uint8)
    with atomic.replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary)
