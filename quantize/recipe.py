"""A recipe: what a quantized variant shall be, as data that every format obeys alike.

Schemes are named in w/a notation: `w8a8` stores weights in 8 bits and computes in 8 bits, `w8` stores
weights in 8 bits and computes in float32, `w8a8_dynamic` measures ranges anew in every pass. The JSON
Schema is published as `docs/schemas/recipe-1.json`.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pocketportrait import limits
from pocketportrait.documents import parse_document
from pocketportrait.errors import InputError

SCHEMA_VERSION: Final = 1
Scheme = Literal["fp32", "fp16", "w8", "w8a8", "w8a8_dynamic", "w8a16", "w4", "palette6"]
MEASURED: Final = frozenset({"w8a8", "w8a16"})  # by ranges that calibration measures
Granularity = Literal["channel", "tensor"]
Kind = Literal["conv", "linear"]
GraphName = Literal["appearance", "motion", "render"]
SHIPPED = ("fp16", "w8", "w8a8", "mixed", "w4", "palette6")
RESERVED = ("fp32",)  # the variant that every recipe starts from


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"want a regular expression, got {text!r} ({error})") from error
    return text


Regex = Annotated[str, AfterValidator(_regex)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Strict):
    """What some layers do differently; of two rules that match a layer the later one holds."""

    graph: GraphName | None = Field(None, description="only layers of this graph")
    layers: Regex | None = Field(None, description="only layers whose whole name matches")
    op: Kind | None = Field(None, description="only layers of this kind")
    scheme: Scheme = Field(description="how these layers store weights and compute")
    granularity: Granularity | None = Field(None, description="one scale a channel or a tensor")
    symmetric: bool | None = Field(None, description="whether weights have no zero point")

    @model_validator(mode="after")
    def _selects(self) -> Self:
        if self.graph is None and self.layers is None and self.op is None:
            raise ValueError("want graph, layers or op in a rule, got none of them")
        return self

    def matches(self, graph: str, name: str, kind: str) -> bool:
        """Say whether a layer is meant."""
        return (
            self.graph in (None, graph)
            and self.op in (None, kind)
            and (self.layers is None or re.fullmatch(self.layers, name) is not None)
        )

    @property
    def where(self) -> str:
        """Return which layers are meant, in words."""
        words = [self.graph, self.op, self.layers and f"/{self.layers}/"]
        return " ".join(word for word in words if word)


class Recipe(_Strict):
    """What one variant of a bundle is; its name is the variant's folder."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    scheme: Scheme = Field(description="of every layer that no rule names")
    granularity: Granularity = Field(
        "channel", description="one weight scale a channel or a tensor"
    )
    symmetric: bool = Field(True, description="whether weights have no zero point")
    between: Literal["int8", "float"] = Field(
        "int8", description="what additions and products of int8 layers' outputs compute in"
    )
    bias_correction: bool = Field(True, description="where the format's tool has it (ONNX)")
    calibration: str | None = Field(
        None,
        description="a calibration set's file, relative to this one; an option may name another",
    )
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _name_is_free(self) -> Self:
        if self.name in RESERVED:
            raise ValueError(
                f"the name {self.name!r} is kept for the variant that recipes start from"
            )
        return self

    @property
    def schemes(self) -> frozenset[Scheme]:
        """Return every scheme that the recipe names."""
        return frozenset({self.scheme, *(rule.scheme for rule in self.rules)})

    @property
    def needs_calibration(self) -> bool:
        """Say whether some layer computes in integers, whose ranges have to be measured."""
        return bool(self.schemes & MEASURED)

    def __str__(self) -> str:
        """Return the recipe in one line."""
        weights = f"per {self.granularity}, {'symmetric' if self.symmetric else 'asymmetric'}"
        parts = [f"{self.name}: {self.scheme} {weights}"]
        parts += [f"{rule.where} {rule.scheme}" for rule in self.rules]
        if self.needs_calibration:
            parts.append(f"between {self.between}")
        return "; ".join(parts)

    def to_json(self) -> str:
        """Return the recipe as one line of JSON, without what has its default."""
        return json.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                **self.model_dump(mode="json", exclude_defaults=True),
            },
            sort_keys=True,
        )

    def to_toml(self) -> str:
        """Return the recipe as a TOML file, without what has its default."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        rules = data.pop("rules", [])
        lines = [f"{key} = {json.dumps(value)}" for key, value in data.items()]
        for rule in rules:
            lines += ["", "[[rules]]"]
            lines += [f"{key} = {json.dumps(value)}" for key, value in rule.items()]
        return "\n".join(lines) + "\n"


def read_recipe(source: str | Path) -> Recipe:
    """Read a recipe from a `.toml` or `.json` file, or take a shipped one by its name.

    Raises:
        InputError: no such file or name, no TOML or JSON, or contents unlike the schema.

    """
    path = Path(source)
    if str(source) in SHIPPED and not path.exists():
        return shipped_recipe(str(source))
    if path.suffix not in (".toml", ".json") or not path.is_file():
        raise InputError(
            f"recipe: want a .toml or .json file, or one of {', '.join(SHIPPED)}; got {str(source)!r}"
        )
    limits.current().check_file("document_bytes", path)
    text = path.read_bytes().decode(errors="replace")
    return parse_recipe(text, path.name, json_text=path.suffix == ".json")


def parse_recipe(text: str, name: str = "recipe", *, json_text: bool = False) -> Recipe:
    """Read a recipe from TOML, or from JSON.

    Raises:
        InputError: the text is neither, or its contents are unlike the schema; all faults are told.

    """
    data = parse_document(text, f"{name}: want a recipe", toml=not json_text)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'recipe'}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise InputError(f"{name}: {'; '.join(faults)}; see docs/quantization.md") from error


def shipped_recipe(name: str) -> Recipe:
    """Return one of the recipes that the package carries.

    Raises:
        InputError: there is none of this name.

    """
    if name not in SHIPPED:
        raise InputError(f"recipe: want one of {', '.join(SHIPPED)}, got {name!r}")
    file = resources.files("pocketportrait.quantize") / "recipes" / f"{name}.toml"
    return parse_recipe(file.read_text(encoding="utf-8"), f"{name}.toml")


def weights_w8() -> Recipe:
    """Return the recipe that stores weights in 8 bits and computes in float32."""
    return shipped_recipe("w8")


def static_w8a8() -> Recipe:
    """Return the recipe that computes in 8 bits wherever no displacement or mask is made."""
    return shipped_recipe("w8a8")


def mixed() -> Recipe:
    """Return the recipe between: 8 bits where they cost least, float32 where they cost most."""
    return shipped_recipe("mixed")


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe file."""
    schema = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
