"""Makes the other forms of an exported model's graphs, with the tools that `onnx-community/whisper-*` were made with.

    python variants.py MODEL_DIR OUT_DIR [fp16 int8 uint8 merged external ...]

In: the three graphs of an export. Out: OUT_DIR/onnx/*_fp16.onnx and so on, OUT_DIR/onnx/decoder_model_merged.onnx, and
OUT_DIR/external/onnx/*.onnx with *.onnx_data beside them; the other files of the model are copied to OUT_DIR and to
OUT_DIR/external. `merged_int8` is the merged decoder in int8.

int8 leaves convolutions alone, since ONNX Runtime has no kernel for them with signed weights; uint8 does not.
"""

import argparse
import pathlib
import shutil
import tempfile

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import float16
from optimum.onnx import merge_decoders

STEMS = ("encoder_model", "decoder_model", "decoder_with_past_model")
OPERATORS = {"int8": ["MatMul", "Gather"], "uint8": ["MatMul", "Gather", "Conv"]}


def graph_file(folder, stem):
    """Where a graph is: at the top or in `onnx/`."""
    return next(p for p in (folder / f"{stem}.onnx", folder / "onnx" / f"{stem}.onnx") if p.exists())


def fp16(source, target):
    """Weights and arithmetic in half precision, inputs and outputs in full."""
    onnx.save(float16.convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def all_fp16(source, target):
    """The same with inputs and outputs in half precision, as `optimum-cli export onnx --dtype fp16` has them."""
    onnx.save(float16.convert_float_to_float16(onnx.load(source)), target)


def quantized(kind):
    def make(source, target):
        weights = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}[kind]
        options = {"MatMulConstBOnly": True, "EnableSubgraph": True}
        quantize_dynamic(source, target, weight_type=weights, op_types_to_quantize=OPERATORS[kind], extra_options=options)

    return make


def external(source, target):
    """Weights in a file of their own beside the graph."""
    data = target.name + "_data"
    (target.parent / data).unlink(missing_ok=True)
    onnx.save(onnx.load(source), target, save_as_external_data=True, all_tensors_to_one_file=True, location=data, size_threshold=256)


MAKERS = {"fp16": fp16, "all_fp16": all_fp16, "int8": quantized("int8"), "uint8": quantized("uint8")}


def merge(model, target):
    """One file for both decoders. The decoder with past gives the encoder's keys and values no more: without `strict`,
    merging adds empty ones."""
    with tempfile.TemporaryDirectory() as folder:
        merged = pathlib.Path(folder) / "merged.onnx"
        merge_decoders(graph_file(model, STEMS[1]), graph_file(model, STEMS[2]), save_path=merged, strict=False)
        shutil.copy(merged, target)


def copy_texts(model, out):
    out.mkdir(parents=True, exist_ok=True)
    for path in model.iterdir():
        if path.suffix in (".json", ".txt"):
            shutil.copy(path, out)


def make(model, out, kinds):
    copy_texts(model, out)
    graphs = out / "onnx"
    graphs.mkdir(exist_ok=True)
    for kind in kinds:
        if kind == "external":
            copy_texts(model, out / "external")
            (out / "external" / "onnx").mkdir(exist_ok=True)
            for stem in STEMS:
                external(graph_file(model, stem), out / "external" / "onnx" / f"{stem}.onnx")
        elif kind.startswith("merged"):
            merged = graphs / "decoder_model_merged.onnx"
            if not merged.exists():
                merge(model, merged)
            if kind != "merged":
                suffix = kind.removeprefix("merged_")
                MAKERS[suffix](merged, graphs / f"decoder_model_merged_{suffix}.onnx")
        else:
            for stem in STEMS:
                MAKERS[kind](graph_file(model, stem), graphs / f"{stem}_{kind}.onnx")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("kinds", nargs="*", default=["fp16", "int8", "uint8", "merged", "external"])
    a = p.parse_args()
    make(a.model, a.out, a.kinds)


if __name__ == "__main__":
    main()
