"""A search space: a recipe to start from, and what may be chosen in it, as a TOML or JSON file.

The JSON Schema is published as `docs/schemas/space-1.json`.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pocketportrait.errors import InputError
from pocketportrait.quantize.recipe import GraphName, Kind, Recipe, Regex, Rule, Scheme

SCHEMA_VERSION: Final = 1
BETWEEN, BIAS_CORRECTION = "between", "bias_correction"  # choices that are of whole recipes

Objective = Literal["psnr_db", "bytes", "frame_ms", "frame_instructions"]
Chosen = dict[str, str | bool]  # by name of the choice


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Choice(_Strict):
    """Layers that get one of some schemes, all the same one."""

    name: str = Field(min_length=1, description="for people, and in the record")
    graph: GraphName | None = Field(None, description="only layers of this graph")
    layers: Regex | None = Field(None, description="only layers whose whole name matches")
    op: Kind | None = Field(None, description="only layers of this kind")
    schemes: tuple[Scheme, ...] = Field(min_length=2, description="the first is tried first")

    @model_validator(mode="after")
    def _can_be_a_rule(self) -> Self:
        if len(set(self.schemes)) < len(self.schemes):
            raise ValueError(f"want schemes that differ, got {', '.join(self.schemes)}")
        self.rule(self.schemes[0])
        return self

    def rule(self, scheme: Scheme) -> Rule:
        """Return the rule that makes this choice."""
        return Rule.model_validate(
            {"graph": self.graph, "layers": self.layers, "op": self.op, "scheme": scheme}
        )


class Space(_Strict):
    """Every recipe that may be tried: `base` with one rule more for each choice."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,40}$")
    format: Literal["onnx", "tflite", "coreml"] = "onnx"
    objectives: tuple[Objective, ...] = Field(("psnr_db", "bytes", "frame_ms"), min_length=1)
    counted_on: str = Field(
        "qemu:arm64", description="the emulated target that counts frame_instructions"
    )
    base: dict[str, Any] = Field(description="a recipe without its name")
    choices: tuple[Choice, ...] = Field(min_length=1)
    between: tuple[Literal["int8", "float"], ...] = ()
    bias_correction: tuple[bool, ...] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        names = [choice.name for choice in self.choices]
        if len(set(names)) < len(names) or {BETWEEN, BIAS_CORRECTION} & set(names):
            raise ValueError(f"want names of choices that differ, got {', '.join(names)}")
        self.recipe(self.first())
        return self

    @property
    def counts_on(self) -> str | None:
        """Return the target that counts instructions; None where they are no objective."""
        return self.counted_on if "frame_instructions" in self.objectives else None

    def options(self) -> dict[str, tuple[str | bool, ...]]:
        """Return what may be chosen, by name."""
        found: dict[str, tuple[str | bool, ...]] = {c.name: c.schemes for c in self.choices}
        if self.between:
            found[BETWEEN] = self.between
        if self.bias_correction:
            found[BIAS_CORRECTION] = self.bias_correction
        return found

    def first(self) -> Chosen:
        """Return the first of every choice."""
        return {name: options[0] for name, options in self.options().items()}

    def corners(self) -> list[Recipe]:
        """Return recipes in which every option occurs at least once."""
        options = self.options()
        longest = max(len(values) for values in options.values())
        return [
            self.recipe({name: values[min(k, len(values) - 1)] for name, values in options.items()})
            for k in range(longest)
        ]

    def recipe(self, chosen: Chosen) -> Recipe:
        """Return the recipe of some choices; equal recipes have equal names."""
        data = dict(self.base)
        rules = [Rule.model_validate(rule) for rule in data.pop("rules", ())]
        rules += [choice.rule(cast(Scheme, chosen[choice.name])) for choice in self.choices]
        data |= {key: chosen[key] for key in (BETWEEN, BIAS_CORRECTION) if key in chosen}
        digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]
        return Recipe(**{**data, "name": f"{self.name}-{digest}", "rules": tuple(rules)})


def read_space(path: Path) -> Space:
    """Read a search space from a `.toml` or `.json` file.

    Raises:
        InputError: no such file, no TOML or JSON, or contents unlike the schema; all faults are told.

    """
    if path.suffix not in (".toml", ".json") or not path.is_file():
        raise InputError(f"space: want a .toml or .json file, got {str(path)!r}")
    text = path.read_text(encoding="utf-8")
    try:
        return Space.model_validate(
            json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        )
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'space'}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise InputError(f"{path.name}: {'; '.join(faults)}; see docs/quantization.md") from error
    except ValueError as error:
        raise InputError(f"{path.name}: want TOML or JSON, got something else ({error})") from error


def space_schema() -> dict[str, Any]:
    """Return the JSON Schema of a space file."""
    schema = Space.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
