"""Recipes and plans: what is read, printed, published and refused, before any work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.errors import InputError
from pocketportrait.quantize.layers import Layer
from pocketportrait.quantize.plan import make_plan
from pocketportrait.quantize.recipe import (
    SHIPPED,
    Recipe,
    Rule,
    mixed,
    parse_recipe,
    read_recipe,
    recipe_schema,
    shipped_recipe,
    static_w8a8,
    weights_w8,
)

ROOT = Path(__file__).parents[1]


def layer(name: str, kind: str = "conv") -> Layer:
    weight = np.ones((4, 3, 3, 3) if kind == "conv" else (4, 3), np.float32)
    return Layer(name, "conv" if kind == "conv" else "linear", weight, (f"node_{name}",), 100)


LAYERS = {
    "appearance": [layer("stem.0"), layer("detail"), layer("aim.0")],
    "motion": [layer("body.0.0"), layer("body.5.0"), layer("gather.0"), layer("head", "linear")],
    "render": [
        *(layer(n) for n in ("flow.down", "flow.head", "refine.0", "refine.2", "guide")),
        *(layer(n) for n in ("paint", "copy")),
        *(layer(n) for n in ("blocks.0.first", "up_half")),
        layer("embed.0", "linear"),
    ],
}


def test_a_recipe_prints_as_one_line() -> None:
    recipe = Recipe(
        name="trial", scheme="w8a8", rules=(Rule(graph="render", layers=r"flow\..*", scheme="w8"),)
    )
    assert str(recipe) == (
        r"trial: w8a8 per channel, symmetric; render /flow\..*/ w8; between int8"
    )


def test_toml_and_json_are_the_same_recipe(tmp_path: Path) -> None:
    recipe = static_w8a8()
    file = tmp_path / "again.json"
    file.write_text(recipe.to_json())
    assert read_recipe(file) == recipe == read_recipe("w8a8")


def test_constants_are_the_shipped_files() -> None:
    assert [r().name for r in (weights_w8, static_w8a8, mixed)] == ["w8", "w8a8", "mixed"]
    assert [shipped_recipe(name).name for name in SHIPPED] == list(SHIPPED)


def test_the_published_schema_is_the_models() -> None:
    published = json.loads((ROOT / "docs/schemas/recipe-1.json").read_text())
    assert published == recipe_schema()


def test_shipped_recipes_follow_the_published_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    for name in SHIPPED:
        jsonschema.validate(json.loads(read_recipe(name).to_json()), recipe_schema())


@pytest.mark.parametrize("format", ["onnx", "tflite", "coreml"])
def test_every_format_can_be_some_of_the_shipped_recipes(format: str) -> None:
    """And says of the others what is the nearest."""
    possible, refused = [], []
    for name in SHIPPED:
        try:
            make_plan(shipped_recipe(name), LAYERS, (format,))
            possible.append(name)
        except InputError as error:
            refused.append(str(error))
    assert all("the nearest is" in message for message in refused)
    rest = {"onnx": ["fp16", "w4"], "tflite": ["fp16", "w4"], "coreml": ["palette6"]}[format]
    assert set(possible) == {"w8", "w8a8", "mixed", *rest}


@pytest.mark.parametrize("recipe", [static_w8a8(), mixed(), weights_w8()], ids=lambda r: r.name)
def test_displacements_and_masks_keep_float_activations(recipe: Recipe) -> None:
    """Of w8a8 a search showed that the hidden layers before them may have integers."""
    plan = make_plan(recipe, LAYERS, ("onnx", "tflite", "coreml"))["render"]
    for name in ("flow.down", "flow.head", "refine.0", "refine.2", "guide", "embed.0"):
        hidden = recipe.name == "w8a8" and name in ("flow.down", "refine.0", "guide")
        assert plan.settings[name].integer == hidden
        assert plan.settings[name].weight_bits == 8


def test_of_two_rules_the_later_holds() -> None:
    rules = (Rule(op="conv", scheme="w8"), Rule(layers="up_half", scheme="w8a8"))
    plan = make_plan(Recipe(name="x", scheme="fp32", rules=rules), LAYERS, ("onnx",))["render"]
    assert [plan.settings[n].scheme for n in ("up_half", "paint", "embed.0")] == [
        "w8a8",
        "w8",
        "fp32",
    ]


def test_a_rule_that_matches_nothing_names_the_nearest() -> None:
    recipe = Recipe(name="x", scheme="w8", rules=(Rule(layers=r"flow\.heat", scheme="fp32"),))
    with pytest.raises(InputError, match=r"rule 1 \(/flow\\.heat/\) matches no layer.*flow\.head"):
        make_plan(recipe, LAYERS, ("onnx",))


def test_all_that_cannot_be_is_told_at_once_with_the_nearest() -> None:
    recipe = Recipe(
        name="x",
        scheme="w4",
        symmetric=False,
        rules=(Rule(op="linear", scheme="w8a16"), Rule(layers="nothing", scheme="w8a8")),
    )
    with pytest.raises(InputError) as caught:
        make_plan(recipe, LAYERS, ("onnx", "tflite", "coreml"))
    text = str(caught.value)
    for words in (
        "rule 2",
        "onnx cannot be w8a16",
        "the nearest is palette6",
        "tflite cannot be w8a16",
        "asymmetric",
    ):
        assert words in text


def test_fp16_is_of_a_whole_variant() -> None:
    recipe = Recipe(name="x", scheme="w8", rules=(Rule(op="linear", scheme="fp16"),))
    with pytest.raises(InputError, match="of a whole variant"):
        make_plan(recipe, LAYERS, ("onnx",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "x"\nscheme = "w9"', "scheme"),
        ('name = "fp32"\nscheme = "w8"', "is kept"),
        ('name = "x"\nscheme = "w8"\n[[rules]]\nscheme = "w8"', "want graph, layers or op"),
        ('name = "x"\nscheme = "w8"\n[[rules]]\nlayers = "("\nscheme = "w8"', "regular expression"),
        ('name = "x"\nscheme = "w8"\nsmooth = 1', "smooth"),
        ("name", "want a recipe, got no TOML"),
    ],
)
def test_bad_recipes_are_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_recipe(text)


def test_an_unknown_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(InputError, match="w8, w8a8, mixed, w4"):
        read_recipe("w8a9")


def test_only_integer_arithmetic_needs_calibration() -> None:
    assert static_w8a8().needs_calibration
    assert not weights_w8().needs_calibration
    assert not Recipe(name="p", scheme="palette6").needs_calibration
