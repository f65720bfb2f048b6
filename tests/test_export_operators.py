"""What the exported files ask of a phone: operators, axes, delegation and cost."""

from pathlib import Path

import pytest

from pocketportrait.bundle import FORMATS, STANDARD_PRECISIONS, Bundle
from pocketportrait.errors import ConverterError, InputError
from pocketportrait.export.macs import count_macs
from pocketportrait.export.operators import delegation_of, operators_of
from pocketportrait.export.to_onnx import to_onnx
from pocketportrait.models.dims import graph_specs
from pocketportrait.models.student import Student

LIVE = ("motion", "render")  # what runs once a frame
FORBIDDEN = {
    *("GATHER", "GATHERND", "GATHERELEMENTS", "EMBEDDINGLOOKUP", "GRIDSAMPLE", "SCATTERND"),
    *("RESAMPLE", "GATHERALONGAXIS", "RESIZENEARESTNEIGHBOR", "UPSAMPLENEARESTNEIGHBOR", "CUSTOM"),
}


@pytest.mark.parametrize("graph", LIVE)
@pytest.mark.parametrize("precision", STANDARD_PRECISIONS)
@pytest.mark.parametrize("format", FORMATS)
def test_no_gather_no_resample_and_at_most_four_axes(
    tiny_bundle: Bundle, format: str, precision: str, graph: str
) -> None:
    path = tiny_bundle.file(tiny_bundle.variant(format, precision).graphs[graph].path)
    operators = operators_of(path)
    assert not {name.upper().replace("_", "") for name in operators.counts} & FORBIDDEN
    assert operators.max_rank == 4
    assert sum(operators.counts.values()) > 20


@pytest.mark.parametrize("graph", ["appearance", *LIVE])
def test_xnnpack_takes_every_node(tiny_bundle: Bundle, graph: str) -> None:
    path = tiny_bundle.file(tiny_bundle.variant("tflite", "fp32").graphs[graph].path)
    delegation = delegation_of(path)
    assert delegation.whole, f"{delegation.partitions} partitions of {delegation.nodes} nodes"
    assert delegation.nodes == sum(operators_of(path).counts.values())


def test_a_phone_frame_fits_its_budget(phone_student: Student, tmp_path: Path) -> None:
    specs = graph_specs(phone_student.dims)
    macs = {
        name: count_macs(
            to_onnx(getattr(phone_student, name), specs[name], tmp_path / f"{name}.onnx")
        )
        for name in LIVE
    }
    assert sum(macs.values()) <= 2.0e9, macs
    assert sum(macs.values()) >= 1.0e9, f"suspiciously cheap: {macs}"
    parameters = sum(p.numel() for p in phone_student.parameters())
    assert parameters <= 3.2e6


def test_macs_are_counted_as_by_hand(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    def value(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv", group=2, pads=[1, 1, 1, 1]),
        helper.make_node("MatMul", ["y", "m"], ["z"], name="matmul"),
        helper.make_node("Relu", ["z"], ["out"], name="relu"),
    ]
    inputs = [value("x", 1, 4, 8, 8), value("w", 6, 2, 3, 3), value("m", 1, 1, 8, 5)]
    graph = helper.make_graph(nodes, "g", inputs, [value("out", 1, 6, 8, 5)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, tmp_path / "g.onnx")
    assert count_macs(tmp_path / "g.onnx") == 6 * 8 * 8 * (2 * 9) + 6 * 8 * 5 * 8


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"want one of \.onnx"):
        operators_of(tmp_path / "model.pt")
    (tmp_path / "model.onnx").write_bytes(b"none")
    with pytest.raises(ConverterError, match=r"reader of \.onnx failed"):
        operators_of(tmp_path / "model.onnx")
