"""The calibration set of one job, and what the graphs are fed with when ranges are measured on it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pocketportrait.bundle import Bundle
from pocketportrait.errors import InputError
from pocketportrait.quantize.calibration import (
    CalibrationSet,
    Feed,
    calibration_feeds,
    choose_set,
    load_pictures,
    read_set,
    scored_hashes,
)
from pocketportrait.quantize.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Calibration:
    """The set in use; feeds are made when a file first needs them."""

    chosen: CalibrationSet | None
    manifest: Path | None
    scored: frozenset[str]

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        recipes: Iterable[Recipe],
        source: Path | None,
        *,
        listing: Path | None = None,
        judged: Collection[str] = (),
    ) -> Self:
        """Read or choose the set that some recipes need; none where no recipe does.

        Args:
            bundle: its onnx/fp32 `motion` makes the codes that frames are chosen by.
            recipes: those that shall be obeyed.
            source: a folder of clips to choose from, or a set's manifest.
            listing: says which clips are scored; looked for near the clips by default.
            judged: sha256 of further clips that are scored.

        Raises:
            InputError: a set is needed and there is none, or it overlaps the scored clips.

        """
        needy = [recipe.name for recipe in recipes if recipe.needs_calibration]
        if not needy:
            return cls(None, None, frozenset())
        if source is None:
            raise InputError(
                f"recipe {needy[0]}: want calibration clips to measure ranges on, got none;"
                " add --calibration FOLDER (clips that nothing is scored on)"
            )
        if source.is_dir():
            scored = scored_hashes(source, listing) | frozenset(judged)
            return cls(choose_set(bundle, source, scored=scored), None, scored)
        found = read_set(source)
        folder = Path(found.folder)
        near = folder if folder.is_absolute() else source.parent / folder
        return cls(found, source, scored_hashes(near, listing) | frozenset(judged))

    @property
    def digest(self) -> str | None:
        """Return the digest of the set, None without one."""
        return self.chosen.digest if self.chosen else None

    def write(self, path: Path) -> None:
        """Write the set as a manifest, so that other runs take the very same frames.

        Raises:
            InputError: no recipe needs a set, or the place cannot be written to.

        """
        if self.chosen is None:
            raise InputError(
                f"{path}: want a calibration set to write, got none: the recipe measures no ranges"
            )
        folder = Path(self.chosen.folder)
        if not folder.is_absolute() and self.manifest is not None:
            folder = self.manifest.parent / folder
        place = os.path.relpath(folder.resolve(), path.resolve().parent)
        self.chosen.model_copy(update={"folder": place}).write(path)

    def feeds(self, bundle: Bundle) -> dict[str, list[Feed]]:
        """Return what every graph is fed with; nothing without a set.

        Raises:
            InputError: a clip is missing, changed or scored, or a tensor would spoil ranges.

        """
        if self.chosen is None:
            return {}
        side = bundle.graph_spec("motion").inputs[0].shape[-1]
        pictures = load_pictures(self.chosen, self.manifest, side, self.scored)
        return calibration_feeds(bundle, pictures)


def set_of(recipe: Recipe, source: str | Path, given: Path | None) -> Path | None:
    """Return the calibration set to use: the one given, or the one that a recipe's file names.

    Args:
        recipe: may name a set.
        source: the recipe's file, or a shipped one's name; a set is named relative to it.
        given: on the command line.

    """
    if given is not None or recipe.calibration is None:
        return given
    return Path(source).parent / recipe.calibration
