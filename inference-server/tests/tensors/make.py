"""Makes the models of these tests: small graphs whose answers anybody can compute. Needs the Python packages onnx and numpy.

    python make.py      writes linear/model.onnx, types/model.onnx, open/model.onnx and samples/ beside itself
"""

import pathlib

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent


def save(name, nodes, inputs, outputs, weights=()):
    weights = [numpy_helper.from_array(array, key) for key, array in weights]
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="parlance")
    model.ir_version = 8
    onnx.checker.check_model(model)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")


def tensor(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


# A layer and its probabilities: any number of rows of four numbers.
save(
    "linear",
    [
        helper.make_node("MatMul", ["x", "weight"], ["product"], name="product"),
        helper.make_node("Add", ["product", "bias"], ["logits"], name="logits"),
        helper.make_node("Softmax", ["logits"], ["probabilities"], name="probabilities", axis=-1),
    ],
    [tensor("x", TensorProto.FLOAT, ["batch", 4])],
    [
        tensor("logits", TensorProto.FLOAT, ["batch", 3]),
        tensor("probabilities", TensorProto.FLOAT, ["batch", 3]),
    ],
    [
        ("weight", numpy.array([[1, 0, -1], [0.5, 2, 0], [0, -1, 1], [0.25, 0, 0.5]], numpy.float32)),
        ("bias", numpy.array([0.5, 0, -0.5], numpy.float32)),
    ],
)

# Every datatype that the protocol has for numbers, through and through.
KINDS = {
    "bool": TensorProto.BOOL,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "fp16": TensorProto.FLOAT16,
    "fp32": TensorProto.FLOAT,
    "fp64": TensorProto.DOUBLE,
}
save(
    "types",
    [helper.make_node("Identity", [f"{name}_in"], [f"{name}_out"], name=name) for name in KINDS],
    [tensor(f"{name}_in", kind, ["n"]) for name, kind in KINDS.items()],
    [tensor(f"{name}_out", kind, ["n"]) for name, kind in KINDS.items()],
)

# Two inputs that share a dimension, and a shape that depends on what is in a tensor.
save(
    "open",
    [
        helper.make_node("Gather", ["table", "ids"], ["rows"], name="rows", axis=0),
        helper.make_node("Cast", ["mask"], ["weights"], name="weights", to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["column"], name="column"),
        helper.make_node("Mul", ["rows", "column"], ["masked"], name="masked"),
        helper.make_node("ReduceSum", ["masked", "middle"], ["sum"], name="sum", keepdims=0),
    ],
    [tensor("ids", TensorProto.INT64, ["batch", "sequence"]), tensor("mask", TensorProto.INT64, ["batch", "sequence"])],
    [tensor("sum", TensorProto.FLOAT, ["batch", 3])],
    [
        ("table", numpy.arange(30, dtype=numpy.float32).reshape(10, 3)),
        ("last", numpy.array([-1], numpy.int64)),
        ("middle", numpy.array([1], numpy.int64)),
    ],
)

# Samples of an evaluation: rows, and what ONNX's own reference makes of them.
from onnx.reference import ReferenceEvaluator  # noqa: E402

evaluator = ReferenceEvaluator(str(HERE / "linear/model.onnx"))
folder = HERE / "samples"
folder.mkdir(exist_ok=True)
for name, rows in {"one": 1, "three": 3}.items():
    x = numpy.random.default_rng(rows).normal(size=(rows, 4)).astype(numpy.float32)
    logits, probabilities = evaluator.run(None, {"x": x})
    numpy.savez_compressed(folder / f"{name}.inputs.npz", x=x)
    numpy.savez_compressed(folder / f"{name}.outputs.npz", logits=logits, probabilities=probabilities)
