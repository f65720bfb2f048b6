"""Which operators a file holds, read from the file itself: what a phone's delegate will be asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pocketportrait.errors import InputError
from pocketportrait.export.converter import converter


@dataclass(frozen=True, slots=True)
class Operators:
    """Operators by the format's own names, constants left out, and the largest number of axes."""

    counts: dict[str, int]
    max_rank: int


def operators_of(path: Path) -> Operators:
    """Read the operators of an `.onnx` or `.tflite` file or an `.mlpackage`.

    Raises:
        InputError: another suffix.
        MissingToolError: the `export` extra is not installed.
        ConverterError: the file cannot be read.

    """
    readers = {".onnx": _of_onnx, ".tflite": _of_tflite, ".mlpackage": _of_coreml}
    if path.suffix not in readers:
        raise InputError(f"{path}: want one of {', '.join(readers)}, got {path.suffix!r}")
    with converter(f"reader of {path.suffix}"):
        return readers[path.suffix](path)


def _of_onnx(path: Path) -> Operators:
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
    values = [*graph.input, *graph.output, *graph.value_info]
    ranks = [len(v.type.tensor_type.shape.dim) for v in values]
    ranks += [len(tensor.dims) for tensor in graph.initializer]
    return Operators(dict(Counter(node.op_type for node in graph.node)), max(ranks))


def _of_tflite(path: Path) -> Operators:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = [names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in model.operatorCodes]
    counts: Counter[str] = Counter()
    ranks = [0]
    for graph in model.subgraphs:
        counts.update(codes[operator.opcodeIndex] for operator in graph.operators)
        ranks += [len(t.shape) for t in graph.tensors if t.shape is not None]
    return Operators(dict(counts), max(ranks))


def _of_coreml(path: Path) -> Operators:
    from coremltools.proto import Model_pb2

    model = Model_pb2.Model()
    model.ParseFromString((path / "Data/com.apple.CoreML/model.mlmodel").read_bytes())
    counts: Counter[str] = Counter()
    ranks = [0]
    for function in model.mlProgram.functions.values():
        for block in function.block_specializations.values():
            counts.update(o.type for o in block.operations if o.type != "const")
            ranks += [v.type.tensorType.rank for o in block.operations for v in o.outputs]
    return Operators(dict(counts), max(ranks))


@dataclass(frozen=True, slots=True)
class Delegation:
    """What XNNPACK, LiteRT's engine on every CPU, took of a `.tflite` file."""

    nodes: int  # in the file
    partitions: int  # pieces that XNNPACK runs; each border between pieces costs a copy
    whole: bool  # one piece that takes the file's inputs and constants and gives its outputs


def delegation_of(path: Path) -> Delegation:
    """Load a `.tflite` file as a phone would and read what its delegate took.

    Raises:
        MissingToolError: the `export` extra is not installed.
        ConverterError: the file cannot be loaded.

    """
    with converter("ai-edge-litert"):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
        operators = interpreter._get_ops_details()
        pieces = [o for o in operators if o["op_name"] == "DELEGATE"]
        nodes = [o for o in operators if o["op_name"] != "DELEGATE"]
        outputs = {d["index"] for d in interpreter.get_output_details()}
    made = {int(i) for o in nodes for i in o["outputs"]}
    whole = (
        len(pieces) == 1
        and set(map(int, pieces[0]["outputs"])) == outputs
        and made.isdisjoint(map(int, pieces[0]["inputs"]))
    )
    return Delegation(len(nodes), len(pieces), whole)
