"""LivePortrait's appearance extractor: the photo becomes a volume of features.

Shape suffixes: B batch, C channels, D depth, H and W pixels.
"""

from __future__ import annotations

from torch import Tensor, nn

from pocketportrait.models.teachers.liveportrait_blocks import ConvNorm2d, Residual3d

CHANNELS, DEPTH = 32, 16  # of the volume; it stands at a quarter of the photo's side
_RESIDUALS = 6


class AppearanceExtractor(nn.Module):
    """[B, 3, 256, 256] in 0..1 -> [B, 32, 16, 64, 64]; 0.84 M parameters, 64 GFLOP."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.first = ConvNorm2d(3, 64)
        self.down_blocks = nn.ModuleList(
            (ConvNorm2d(64, 128, halve=True), ConvNorm2d(128, 256, halve=True))
        )
        self.second = nn.Conv2d(256, CHANNELS * DEPTH, 1)
        self.resblocks_3d = nn.Sequential()
        for index in range(_RESIDUALS):
            self.resblocks_3d.add_module(f"3dr{index}", Residual3d(CHANNELS))

    def forward(self, photo_B3HW: Tensor) -> Tensor:
        """Return the volume [B, 32, 16, H/4, W/4] of photos, RGB 0..1."""
        x = self.first(photo_B3HW)
        for block in self.down_blocks:
            x = block(x)
        x = self.second(x)
        volume: Tensor = self.resblocks_3d(x.unflatten(1, (CHANNELS, DEPTH)))
        return volume
