"""One model of Whisper's official sizes, with random weights, in the format of each engine.

    python models.py SIZE OUT_DIR

In: nothing; the weights come from a fixed seed. Out: OUT_DIR/onnx (optimum's export, which ours and ONNX Runtime read), onnx-int8 (the
same, its linear layers in 8 bits by ONNX Runtime's dynamic quantisation), ct2-float32 and ct2-int8 (faster-whisper), ggml-f16.bin,
ggml-q8_0.bin and ggml-q5_0.bin (whisper.cpp).
"""

import json
import pathlib
import shutil
import struct
import subprocess
import sys

import gguf
import numpy as np
import whisper

HERE = pathlib.Path(__file__).resolve().parent
FIDELITY = HERE.parents[1] / "inference-server" / "tests" / "fidelity"
ASSETS = pathlib.Path(whisper.__file__).parent / "assets"
# Names of tensors in whisper.cpp by those in transformers, longest first. Source: its models/convert-h5-to-ggml.py.
NAMES = {
    "self_attn_layer_norm": "attn_ln", "encoder_attn_layer_norm": "cross_attn_ln", "final_layer_norm": "mlp_ln",
    "self_attn.k_proj": "attn.key", "self_attn.q_proj": "attn.query", "self_attn.v_proj": "attn.value", "self_attn.out_proj": "attn.out",
    "encoder_attn.k_proj": "cross_attn.key", "encoder_attn.q_proj": "cross_attn.query", "encoder_attn.v_proj": "cross_attn.value",
    "encoder_attn.out_proj": "cross_attn.out", "fc1": "mlp.0", "fc2": "mlp.2", "layers": "blocks",
    "encoder.layer_norm": "encoder.ln_post", "decoder.layer_norm": "decoder.ln",
    "encoder.embed_positions.weight": "encoder.positional_embedding", "decoder.embed_positions.weight": "decoder.positional_embedding",
    "embed_tokens": "token_embedding",
}  # fmt: skip
F32, F16 = 0, 1
QUANTISED = {"q8_0": (gguf.GGMLQuantizationType.Q8_0, 2007), "q5_0": (gguf.GGMLQuantizationType.Q5_0, 2008)}


def renamed(name):
    name = name.removeprefix("model.")
    for theirs, new in NAMES.items():
        name = name.replace(theirs, new)
    return name


def bytes_of(token):
    """The bytes of a token, which vocab.json writes in letters. Source: GPT-2's bytes_to_unicode."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in plain)}
    return bytes(table[letter] for letter in token)


def ggml(checkpoint, kind, out):
    """Writes a file of whisper.cpp's."""
    from transformers import WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(checkpoint)
    c = model.config
    ftype = F16 if kind == "f16" else QUANTISED[kind][1]
    filters = np.load(ASSETS / "mel_filters.npz")[f"mel_{c.num_mel_bins}"].astype("<f4")
    vocabulary = json.loads((checkpoint / "vocab.json").read_text())
    text = sorted((i, t) for t, i in vocabulary.items() if not t.startswith("<|"))
    with out.open("wb") as f:
        sizes = [c.vocab_size, c.max_source_positions, c.d_model, c.encoder_attention_heads, c.encoder_layers, c.max_target_positions, c.d_model,
                 c.decoder_attention_heads, c.decoder_layers, c.num_mel_bins, ftype]  # fmt: skip
        f.write(struct.pack("<12i", 0x67676D6C, *sizes))
        f.write(struct.pack("<2i", *filters.shape) + filters.tobytes())
        f.write(struct.pack("<i", len(text)))
        for _, token in text:
            raw = bytes_of(token)
            f.write(struct.pack("<i", len(raw)) + raw)
        for name, tensor in model.state_dict().items():
            if name == "proj_out.weight":
                continue
            name, data = renamed(name), tensor.squeeze().numpy().astype("<f4")
            if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
                data = data.reshape(-1, 1)
            shape, type_ = data.shape, F32
            if data.ndim > 1 and not name.endswith(("bias", "positional_embedding")):
                if kind != "f16" and data.ndim == 2:
                    type_ = QUANTISED[kind][0]
                    data = gguf.quants.quantize(data, type_)
                else:
                    type_, data = F16, data.astype("<f2")
            f.write(struct.pack("<3i", len(shape), len(name), int(type_)))
            f.write(struct.pack(f"<{len(shape)}i", *reversed(shape)) + name.encode() + data.tobytes())


def onnx_int8(source, out):
    """What ONNX Runtime's users do for a CPU: dynamic quantisation of the products with weights, a scale a column."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    shutil.copytree(source, out, ignore=shutil.ignore_patterns("*.onnx", "*.onnx_data"))
    for graph in sorted(source.rglob("*.onnx")):
        target = out / graph.relative_to(source)
        target.parent.mkdir(exist_ok=True)
        quantize_dynamic(graph, target, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])


def main(size, out):
    out = pathlib.Path(out)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    make = [sys.executable, FIDELITY / "make_model.py", out / "onnx", "--size", size, "--tiktoken", ASSETS / "multilingual.tiktoken"]
    subprocess.run([*make, "--max-length", "448"], check=True)
    checkpoint = out / "onnx-hf"
    for kind in ("float32", "int8"):
        convert = pathlib.Path(sys.executable).parent / "ct2-transformers-converter"
        copy = ["--copy_files", "tokenizer.json", "preprocessor_config.json"]
        subprocess.run([convert, "--model", checkpoint, "--output_dir", out / f"ct2-{kind}", "--quantization", kind, *copy], check=True)
    for kind in ("f16", "q8_0", "q5_0"):
        ggml(checkpoint, kind, out / f"ggml-{kind}.bin")
    onnx_int8(out / "onnx", out / "onnx-int8")
    shutil.rmtree(checkpoint)
    (out / "complete").touch()


if __name__ == "__main__":
    main(*sys.argv[1:])
