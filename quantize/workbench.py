"""Trial variants of one bundle: many recipes, few files, since equal graphs are made once."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from pocketportrait import atomic
from pocketportrait.bundle import Bundle, BundleWriter, Variant, VariantGraph
from pocketportrait.contract import GRAPHS
from pocketportrait.errors import InputError
from pocketportrait.quantize.calibrated import Calibration
from pocketportrait.quantize.calibration import Feed
from pocketportrait.quantize.laboratory import (
    BACKENDS,
    START,
    formats_of,
    layers_of_bundle,
    tool_versions,
)
from pocketportrait.quantize.plan import GraphPlan, make_plan
from pocketportrait.quantize.recipe import Recipe


class Workbench:
    """One bundle and one format; `trial` makes a bundle of one variant of it.

    Several processes may share `store`: a file is written whole under a name that says all of what
    it is made of.
    """

    def __init__(
        self,
        source: Path,
        recipes: Iterable[Recipe],
        *,
        format: str = "onnx",
        calibration: Path | None = None,
        listing: Path | None = None,
        judged: Collection[str] = (),
        store: Path | None = None,
    ) -> None:
        """Name what will be tried; entering opens the bundle and the calibration set.

        Args:
            source: a bundle with fp32 variants of onnx and of `format`.
            recipes: every recipe that may be tried, or at least one that needs as much as they do;
                what the format cannot do is told at once.
            format: of the trials.
            calibration: a folder of clips, or a calibration set's manifest.
            listing: says which clips are scored; looked for near the clips by default.
            judged: sha256 of clips that trials are judged on, which must not be calibrated on.
            store: folder of finished files; a temporary one by default.

        """
        self._source, self._recipes, self.format = source, tuple(recipes), format
        self._calibration, self._listing, self._judged = calibration, listing, judged
        self._store = store
        self._feeds: dict[str, list[Feed]] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Open the bundle, and choose or read the calibration set.

        Raises:
            InputError: no such format, a recipe that it cannot obey, or no calibration set.

        """
        try:
            self.bundle = self._stack.enter_context(Bundle.open(self._source))
            formats_of(self.bundle, [self.format])
            self.layers = layers_of_bundle(self.bundle)
            self._refuse_impossible()
            self.calibration = Calibration.open(
                self.bundle,
                self._recipes,
                self._calibration,
                listing=self._listing,
                judged=self._judged,
            )
            self.scratch = self._stack.enter_context(atomic.scratch_folder())
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bundle and remove what trials left."""
        self._stack.close()

    def _refuse_impossible(self) -> None:
        faults = []
        for recipe in self._recipes:
            try:
                self.plans(recipe)
            except InputError as error:
                faults.append(str(error))
        if faults:
            raise InputError("; ".join(faults))

    def plans(self, recipe: Recipe) -> dict[str, GraphPlan]:
        """Return the recipe's settings of all graphs.

        Raises:
            InputError: the format cannot obey the recipe.

        """
        return make_plan(recipe, self.layers, (self.format,))

    def trial(self, recipe: Recipe) -> Bundle:
        """Return a bundle of one variant, made by `recipe` and called after it; close it after use.

        Raises:
            InputError: the format cannot obey the recipe, or the disk is full.
            ConverterError: a tool failed.

        """
        plans = self.plans(recipe)
        files = {graph: self._file(plans[graph]) for graph in GRAPHS}
        return self._bundle(recipe, files)

    def _file(self, plan: GraphPlan) -> Path:
        origin = self.origin(plan.graph)
        if {setting.scheme for setting in plan.settings.values()} == {START}:
            return origin
        path = self._place(plan, origin)
        if not path.exists():
            feeds = self._all_feeds().get(plan.graph, []) if plan.integer else []
            spec = self.bundle.graph_spec(plan.graph)
            with atomic.making_folder(path) as folder:
                made = folder / path.name  # tools may write a package file by file
                BACKENDS[self.format](origin, spec, plan, feeds, made)
                if not path.exists():  # another process may have been faster
                    made.rename(path)
        return path

    def origin(self, graph: str) -> Path:
        """Return the fp32 file of a graph in the trials' format."""
        return self.bundle.file(self.bundle.variant(self.format, START).graphs[graph].path)

    def _place(self, plan: GraphPlan, origin: Path) -> Path:
        folder = self._store or self.scratch / "files"
        folder.mkdir(parents=True, exist_ok=True)
        facts = self.bundle.manifest.files
        held = self.bundle.manifest.files_of(origin.relative_to(self.bundle.root).as_posix())
        key = [
            self.format,
            [facts[name].sha256 for name in held],
            plan.key,
            self.calibration.digest if plan.integer else None,
            tool_versions(),
        ]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        return folder / f"{plan.graph}-{digest}{origin.suffix}"

    def _all_feeds(self) -> dict[str, list[Feed]]:
        if self._feeds is None:
            self._feeds = self.calibration.feeds(self.bundle)
        return self._feeds

    def _bundle(self, recipe: Recipe, files: Mapping[str, Path]) -> Bundle:
        manifest = self.bundle.manifest
        origin = self.bundle.variant(self.format, START).graphs
        with BundleWriter(self.scratch / recipe.name) as writer:
            graphs = {}
            for graph, path in files.items():
                name = f"{self.format}/{recipe.name}/{graph}{path.suffix}"
                _copy(path, writer.folder / name)
                graphs[graph] = VariantGraph(
                    path=name, inputs=origin[graph].inputs, outputs=origin[graph].outputs
                )
            for name in {name for names in manifest.golden.values() for name in names}:
                _copy(self.bundle.file(name), writer.folder / name)
            writer.add_variant(self.format, recipe.name, Variant(graphs=graphs, recipe=str(recipe)))
            return writer.finish(
                graphs=manifest.graphs,
                code_slices=manifest.code_slices,
                golden=manifest.golden,
                tools=manifest.tools,
                licence=manifest.licence,
                model=manifest.model,
            )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
