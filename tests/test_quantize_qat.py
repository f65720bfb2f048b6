"""Fine-tuning with rounded numbers: the rounding is the files', and ranges reach every format."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import nn

from pocketportrait.bundle import Bundle
from pocketportrait.cli import main
from pocketportrait.distill.plan import Phase
from pocketportrait.distill.stage import Stage
from pocketportrait.errors import InputError
from pocketportrait.models.dims import tiny
from pocketportrait.models.student import Student
from pocketportrait.models.weights import load_student, save_student
from pocketportrait.quantize.fake import OBSERVED, FakeRange, attach, fake_weight, fold_norms
from pocketportrait.quantize.onnx_backend import quantize_onnx
from pocketportrait.quantize.plan import GraphPlan, Setting
from pocketportrait.quantize.qat import QatObjective, QatOptions, Rounding, fine_tune
from pocketportrait.quantize.ranges import LearntRanges, ranges_schema, read_ranges
from pocketportrait.quantize.recipe import Recipe, shipped_recipe, static_w8a8
from pocketportrait.quantize.sites import Site
from pocketportrait.quantize.tflite_backend import quantize_tflite
from pocketportrait.quantize.tflite_graph import layer_of_operation, read_tflite
from pocketportrait.quantize.weights import quantize_weight
from pocketportrait.runtime.runner import open_file
from pocketportrait.validation.parity import Parity

ROOT = Path(__file__).parents[1]
SIDE, FRAMES = 64, 10
MOTION = Recipe.model_validate(
    {
        "name": "motion8",
        "scheme": "fp32",
        "bias_correction": False,
        "rules": [
            {"graph": "motion", "layers": r"body\..*", "scheme": "w8a8"},
            {"graph": "motion", "layers": r"body\.0\.0|body\.7\..*", "scheme": "w8"},
        ],
    }
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labelled clips of a bright square that wanders."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(7)
    (root / "clips").mkdir()
    (root / "labels").mkdir()
    for seed in range(2):
        centres = 0.5 + 0.2 * np.sin(np.linspace(0, 4, FRAMES)[:, None] + rng.random(2) * 6)
        with av.open(str(root / "clips" / f"{seed}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width = stream.height = SIDE
            stream.pix_fmt = "yuv420p"
            for x, y in (centres * SIDE).astype(int):
                image = np.full((SIDE, SIDE, 3), 60 + 40 * seed, np.uint8)
                image[y - 9 : y + 9, x - 9 : x + 9] = rng.integers(90, 250, 3)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        labels = {
            "frame": np.arange(FRAMES, dtype=np.int32),
            "points": (centres[:, None] + rng.normal(0, 0.1, (1, 478, 2))).astype(np.float32),
            "blendshapes": rng.random((FRAMES, 52), dtype=np.float32),
            "angles": rng.normal(0, 0.1, (FRAMES, 3)).astype(np.float32),
        }
        save_file(labels, root / "labels" / f"{seed}.safetensors")
    return root


@pytest.fixture
def options(data: Path, tiny_student: Student, tiny_bundle: Bundle, tmp_path: Path) -> QatOptions:
    start = tmp_path / "start.safetensors"
    save_student(tiny_student, start, half=False)
    return QatOptions(
        data=data,
        out=tmp_path / "out",
        cache=data / "cache",
        preset="tiny",
        plan=(Phase("joint", SIDE, 2, 6, 1e-4),),
        start=start,
        bundle=tiny_bundle.root,
        recipe=static_w8a8(),
        threads=1,
    )


def frames(count: int = 4) -> torch.Tensor:
    y, x = np.mgrid[0:SIDE, 0:SIDE] / 9
    pictures = [
        np.stack([0.5 + 0.4 * np.sin(x + k) * np.cos(y - c) for c in range(3)])
        for k in range(count)
    ]
    return torch.from_numpy(np.stack(pictures)).float()


def rounded(student: Student, rounding: Rounding, graph: str) -> tuple[nn.Module, nn.ModuleDict]:
    """Return a graph of a copy of the student that rounds, after it looked at some frames."""
    copy = Student(tiny())
    copy.load_state_dict(student.state_dict())
    copy.eval()
    fold_norms(copy)
    network, ranges = getattr(copy, graph), nn.ModuleDict()
    attach(network, rounding.plans[graph], rounding.sites[graph], ranges)
    ranges.train()
    with torch.no_grad():
        network(frames())
    return network, ranges.eval()


def looked_at(student: Student, rounding: Rounding) -> tuple[nn.Module, GraphPlan]:
    """Return a motion encoder that rounds, and the plan with the ranges that it found."""
    network, ranges = rounded(student, rounding, "motion")
    pairs = {}
    for layer, where in rounding.sites["motion"].items():
        for side, site in (("input", where.input), ("result", where.result)):
            one = ranges[site.name.replace(".", "/")]
            assert isinstance(one, FakeRange)
            pairs[f"{layer}:{side}"] = one.pair()
    learnt = LearntRanges(recipe="r", steps=0, ranges={"motion": pairs})
    return network, learnt.of(rounding.plans)["motion"]


def test_folded_norms_leave_the_function(tiny_student: Student) -> None:
    copy = Student(tiny()).eval()
    copy.load_state_dict(tiny_student.state_dict())
    fold_norms(copy)
    with torch.no_grad():
        want, got = tiny_student.motion(frames()), copy.motion(frames())
    assert Parity.of(want.numpy(), got.numpy()).max_abs < 1e-4  # float32 in another order


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_are_rounded_as_in_files(granularity: str, symmetric: bool) -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    setting = dataclasses.replace(Setting("w8"), granularity=granularity, symmetric=symmetric)
    packed = quantize_weight(weight.numpy(), setting)
    zero = 0 if packed.zero_point is None else packed.zero_point.astype(int).reshape(-1, 1, 1, 1)
    want = (packed.values.astype(int) - zero) * packed.scale.reshape(-1, 1, 1, 1)
    assert np.abs(fake_weight(weight, setting).numpy() - want).max() < 1e-6


def test_a_range_is_looked_at_then_learnt() -> None:
    one = FakeRange(Site("a:result", floor=True, ceiling=6.0)).train()
    for _ in range(OBSERVED):
        one(torch.tensor([-1.0, 3.0, 9.0]))
    assert one.pair() == (0.0, 6.0)
    x = torch.linspace(-1, 8, 50, requires_grad=True)
    y = one(x)
    assert len(set((y / (6 / 255)).round().tolist())) == len(set(y.tolist()))
    assert torch.allclose(y, x.clamp(0, 6), atol=6 / 255)
    y.sum().backward()
    assert x.grad is not None
    assert one.high.grad is not None
    assert x.grad[x < 0].abs().max() == 0
    assert one.high.grad.item() > 0  # more of what is above would pass
    assert one.low.grad is None


def test_a_range_of_what_is_made_in_float_is_the_pictures_mean() -> None:
    one = FakeRange(Site("a:input")).train()
    for most in (2.0, 4.0, 12.0):
        one(torch.tensor([[-1.0, 0.5], [-3.0, most]]))
    low, high = one.pair()
    assert low == pytest.approx(-2)
    assert high == pytest.approx((0.5 + (2 + 4 + 12) / 3) / 2)


def test_what_one_layer_gives_and_the_next_takes_is_one_site(tiny_bundle: Bundle) -> None:
    sites = Rounding.of(tiny_bundle, MOTION).sites["motion"]
    assert sites["body.1.0"].input.name == "body.1.0:input"
    assert sites["body.2.0"].input == sites["body.1.0"].result
    assert sites["body.1.0"].result == Site("body.1.0:result", floor=True, ceiling=6.0)
    residual = next(name for name in sites if name.endswith("body.1.0") and name.count(".") == 4)
    assert not sites[residual].result.floor  # an addition follows


def test_a_file_with_learnt_ranges_computes_what_training_saw(
    tiny_student: Student, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """To float32's last digits, where ONNX Runtime takes the file by its word and fuses nothing."""
    import onnxruntime

    recipe = MOTION.model_copy(update={"between": "float"})
    rounding = Rounding.of(tiny_bundle, recipe)
    network, plan = looked_at(tiny_student, rounding)
    source = tiny_bundle.file("onnx/fp32/motion.onnx")
    spec = tiny_bundle.graph_spec("motion")
    narrow = [{"frame": frames(1).numpy() * 0.1}]  # measured ranges would be far too small
    path = quantize_onnx(source, spec, plan, narrow, tmp_path / "motion.onnx")
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), plain, providers=["CPUExecutionProvider"])
    got = session.run(["code"], {"frame": frames(1).numpy()})[0]
    with torch.no_grad():
        want, whole = network(frames(1)).numpy(), tiny_student.motion(frames(1)).numpy()
    assert np.abs(whole - want).max() > 0.01  # rounding is no small thing here
    assert np.abs(got - want).max() < 1e-5


def test_tflite_takes_learnt_ranges(tiny_bundle: Bundle, tmp_path: Path) -> None:
    rounding = Rounding.of(tiny_bundle, MOTION)
    learnt = LearntRanges(recipe="r", steps=1, ranges={"motion": {"body.1.0:result": (0.0, 5.1)}})
    plan = learnt.of(rounding.plans)["motion"]
    source = tiny_bundle.file("tflite/fp32/motion.tflite")
    feeds = [{"frame": frames(1).numpy()}]
    path = tmp_path / "motion.tflite"
    quantize_tflite(source, tiny_bundle.graph_spec("motion"), plan, feeds, path)
    floats = read_tflite(source)
    number = next(
        n for n, name in layer_of_operation(floats, plan.layers, "m").items() if name == "body.1.0"
    )
    name = floats[number].outputs[0].name
    made = next(o.outputs[0] for o in read_tflite(path) if o.outputs[0].name.startswith(name))
    assert made.scale[0] == pytest.approx(5.1 / 255, rel=1e-3)


def test_litert_computes_nearly_what_training_saw(
    tiny_student: Student, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """Its integer kernels round a little otherwise; with ranges of its own it would be far off."""
    rounding = Rounding.of(tiny_bundle, MOTION.model_copy(update={"between": "float"}))
    network, plan = looked_at(tiny_student, rounding)
    source, path = tiny_bundle.file("tflite/fp32/motion.tflite"), tmp_path / "motion.tflite"
    narrow = [{"frame": frames(1).numpy() * 0.1}]  # measured ranges would be far too small
    quantize_tflite(source, tiny_bundle.graph_spec("motion"), plan, narrow, path)
    with open_file(path, "tflite", threads=1) as runner:
        got = runner.infer({"frame": frames(1).numpy().transpose(0, 2, 3, 1).copy()})["code"]
    with torch.no_grad():
        want, whole = network(frames(1)).numpy(), tiny_student.motion(frames(1)).numpy()
    assert np.abs(got - want).max() < np.abs(whole - want).max()


def test_fine_tuning_goes_on_where_it_stood(
    options: QatOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dataclasses.replace(options, save_every=1, clips=1.0)
    whole = fine_tune(options)
    learnt = read_ranges(options.out / "ranges.json")
    assert learnt.steps == 6
    assert set(learnt.ranges["motion"]) == {
        f"{layer}:{side}"
        for layer in Rounding.of(Bundle.open(options.bundle), options.recipe).sites["motion"]
        for side in ("input", "result")
    }
    line = json.loads((options.out / "log.jsonl").read_text().splitlines()[-1])
    assert {"own_picture", "own_code", "picture"} <= line.keys()
    stopped = dataclasses.replace(options, out=options.out.with_name("stopped"))
    step = Stage.step

    def dies_at_the_fifth(self: Stage, batch: dict[str, torch.Tensor], number: int) -> object:
        if number == 4:
            raise KeyboardInterrupt
        return step(self, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(Stage, "step", dies_at_the_fifth)
        with pytest.raises(KeyboardInterrupt):
            fine_tune(stopped)
    assert read_ranges(stopped.out / "ranges.json").steps == 4
    again = fine_tune(stopped)
    one, other = load_file(whole), load_file(again)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert read_ranges(stopped.out / "ranges.json").ranges == learnt.ranges
    assert not load_student(again).training


def test_the_rounded_student_is_near_its_float_self(options: QatOptions) -> None:
    """Its loss tells rounding apart from floats, and every weight hears of it."""
    with Bundle.open(options.bundle) as bundle:
        rounding = Rounding.of(bundle, options.recipe)
    assert options.start is not None
    own, student = load_student(options.start), load_student(options.start)
    for one in (own, student):
        fold_norms(one)
    objective = QatObjective(student, own, options.plan[0], rounding, options).train()
    batch = {"photo": frames(2), "target": frames(4)[2:]}
    unlike = objective._unlike(batch, SIDE)
    assert 0 < float(unlike["own_picture"].detach()) < 10  # hundredths, squared
    sum(unlike.values()).backward()  # type: ignore[union-attr]
    silent = [n for n, p in student.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []


def test_clips_that_do_not_count_cost_nothing(options: QatOptions) -> None:
    options = dataclasses.replace(options, plan=(Phase("joint", SIDE, 2, 1, 1e-4),))
    weights = fine_tune(options)
    line = json.loads((options.out / "log.jsonl").read_text().splitlines()[-1])
    assert {"own_picture", "own_code"} <= line.keys()
    assert "picture" not in line
    assert options.start is not None
    first = load_student(options.start)
    fold_norms(first)
    moved = load_file(weights)["render.paint.weight"] - first.render.paint.weight
    assert moved.abs().max() > 0


def test_a_bundle_of_other_weights_is_refused(options: QatOptions) -> None:
    assert options.start is not None
    other = load_student(options.start)
    nn.init.normal_(other.motion.head.weight)
    save_student(other, options.start, half=False)
    with pytest.raises(InputError, match=r"other weights of motion head"):
        fine_tune(options)


def test_a_recipe_that_cannot_be_learnt_is_refused(options: QatOptions) -> None:
    palettes = Recipe.model_validate({"name": "p", "scheme": "palette6"})
    with pytest.raises(InputError, match="want schemes that can be learnt"):
        fine_tune(dataclasses.replace(options, recipe=palettes))


def test_ranges_of_strangers_are_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    plans = Rounding.of(tiny_bundle, shipped_recipe("w8a8")).plans
    learnt = LearntRanges(recipe="r", steps=1, ranges={"motion": {"body.1.O:result": (0.0, 1.0)}})
    with pytest.raises(InputError, match=r"near: body\.1\.0:result"):
        learnt.of(plans)
    (tmp_path / "r.json").write_text(
        '{"recipe": "r", "steps": 1, "ranges": {"motion": {"a": [1, 2]}}}'
    )
    with pytest.raises(InputError, match=r"ranges\.motion\.a: .*want low <= 0 <= high"):
        read_ranges(tmp_path / "r.json")
    published = json.loads((ROOT / "docs/schemas/ranges-1.json").read_text())
    assert published == ranges_schema()


def test_learnt_scales_stand_in_the_file(tiny_bundle: Bundle, tmp_path: Path) -> None:
    rounding = Rounding.of(tiny_bundle, MOTION)
    learnt = LearntRanges(recipe="r", steps=1, ranges={"motion": {"body.1.0:result": (0.0, 5.1)}})
    plan = learnt.of(rounding.plans)["motion"]
    source = tiny_bundle.file("onnx/fp32/motion.onnx")
    spec = tiny_bundle.graph_spec("motion")
    path = quantize_onnx(
        source, spec, plan, [{"frame": frames(1).numpy()}], tmp_path / "motion.onnx"
    )
    graph = onnx.load(path).graph
    scales = {t.name: numpy_helper.to_array(t) for t in graph.initializer if "scale" in t.name}
    used = {n.input[1] for n in graph.node if n.op_type == "QuantizeLinear"}
    assert any(scales[name] == pytest.approx(5.1 / 255) for name in used)


def test_quantize_takes_what_the_command_learnt(
    options: QatOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phase = {"kind": "motion", "side": SIDE, "batch": 2, "steps": 1, "rate": 1e-5}
    (tmp_path / "plan.json").write_text(json.dumps([phase]))
    (tmp_path / "motion8.json").write_text(MOTION.to_json())
    recipe, out = ["-r", str(tmp_path / "motion8.json")], tmp_path / "learnt"
    arguments = ["qat", str(options.bundle), *recipe, "--data", str(options.data), "-o", str(out)]
    arguments += ["--start", str(options.start), "--cache", str(options.cache), "--preset", "tiny"]
    assert main([*arguments, "--plan", str(tmp_path / "plan.json"), "--threads", "1"]) == 0
    assert f"ranges: {out / 'ranges.json'}" in capsys.readouterr().out
    arguments = ["quantize", str(options.bundle), *recipe, "-o", str(tmp_path / "bundle")]
    arguments += ["-f", "onnx", "--ranges", str(out / "ranges.json")]
    assert main([*arguments, "--calibration", str(options.data)]) == 0
    learnt = read_ranges(out / "ranges.json")
    with Bundle.open(tmp_path / "bundle") as bundle:
        kept = bundle.variant("onnx", "motion8").quantization["learnt_ranges"]
    assert kept == {
        "digest": learnt.digest,
        "tensors": {"motion": len(learnt.ranges["motion"])},
    }


@pytest.mark.slow
def test_core_ml_takes_learnt_ranges(tiny_bundle: Bundle, tmp_path: Path) -> None:
    from coremltools.converters.mil.frontend.milproto.load import load

    from pocketportrait.quantize.coreml_backend import quantize_coreml
    from pocketportrait.runtime.coreml_package import open_package

    rounding = Rounding.of(tiny_bundle, MOTION)
    learnt = LearntRanges(recipe="r", steps=1, ranges={"motion": {"body.1.0:result": (0.0, 5.1)}})
    plan = learnt.of(rounding.plans)["motion"]
    source = tiny_bundle.file("coreml/fp32/motion.mlpackage")
    path = tmp_path / "motion.mlpackage"
    feeds = [{"frame": frames(1).numpy()}]
    quantize_coreml(source, tiny_bundle.graph_spec("motion"), plan, feeds, path)
    model = open_package(path)
    spec = model.get_spec()
    program = load(spec, spec.specificationVersion, file_weights_dir=model.weights_dir)
    operations = program.functions["main"].operations
    scales = [o.inputs["scale"].val for o in operations if o.op_type == "quantize"]
    assert any(np.allclose(scale, 5.1 / 255, rtol=1e-3) for scale in scales)
