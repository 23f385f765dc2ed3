"""Makes the toy model that plain tests load in every form: one layer, width 8, a window of 1 s, random weights.

    python make_toy.py [OUT_DIR]                      out: tests/toy unless told otherwise

Out: config.json and the other files of the layout, the graphs in `onnx/` in every form that is served, `external/onnx/`
with its weights beside its graphs (each compressed, as NAME.zlib: they are mostly names), and expected.json: for each
form, what ONNX Runtime makes of a fixed window, step after step from the start token:

    {"FORM": {"encoder": [first 32 values], "logits": [[...], ...], "tokens": [...]}, ...}
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import onnx
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

import forms
import variants

HERE = pathlib.Path(__file__).resolve().parent
LETTERS = ["Ġ", *"abcdefghijklmnopqrstuvwxyz", *(f"Ġ{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
SPECIAL = ["endoftext", "startoftranscript", "en", "de", "transcribe", "translate", "startofprev", "nospeech", "notimestamps"]
STEPS = 6


def tokenizer(out):
    merges = [("Ġ", c) for c in "abcdefghijklmnopqrstuvwxyz"]
    made = Tokenizer(models.BPE({t: i for i, t in enumerate(LETTERS)}, merges))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens([f"<|{name}|>" for name in SPECIAL])
    made.save(str(out / "tokenizer.json"), pretty=False)
    return made


def model(ids):
    end = ids("<|endoftext|>")
    config = WhisperConfig(
        vocab_size=len(LETTERS) + len(SPECIAL), num_mel_bins=80, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_source_positions=50, max_target_positions=32,
        pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=ids("<|startoftranscript|>"), dropout=0.0,
    )  # fmt: skip
    torch.manual_seed(3)
    made = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weights in made.named_parameters():
            if "layers" in name and weights.dim() == 2:
                weights.mul_(10.0)
            elif "conv" in name and weights.dim() == 3:
                weights.mul_(8.0)
        made.model.decoder.embed_positions.weight.mul_(20.0)
        made.model.decoder.layer_norm.weight.mul_(6.0)
    made.generation_config = GenerationConfig(
        eos_token_id=end, pad_token_id=end, bos_token_id=end, decoder_start_token_id=ids("<|startoftranscript|>"),
        prev_sot_token_id=ids("<|startofprev|>"), no_timestamps_token_id=ids("<|notimestamps|>"), is_multilingual=True, max_length=32,
        lang_to_id={f"<|{c}|>": ids(f"<|{c}|>") for c in ("en", "de")}, task_to_id={t: ids(f"<|{t}|>") for t in ("transcribe", "translate")},
        begin_suppress_tokens=[end], suppress_tokens=[ids(f"<|{name}|>") for name in SPECIAL[1:]],
    )  # fmt: skip
    return made


def window():
    """A window of features [80, 100] that the tests can make too."""
    bins, frames = np.meshgrid(np.arange(80), np.arange(100), indexing="ij")
    return (np.sin(bins * 0.37 + frames * 0.11) * np.cos(frames * 0.05)).astype(np.float32)


def without_notes(path):
    """Takes out where in the Python code each node comes from."""
    graph = onnx.load(path, load_external_data=False)
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.save(graph, path)


def expected(graphs, ending, merged, start):
    """What ONNX Runtime makes of the window: the encoder, and greedy steps from the start token."""
    encoded, rows, tokens = forms.greedy(graphs, ending, merged, window(), [start], STEPS)
    round_off = lambda values: [round(float(v), 4) for v in values]  # noqa: E731
    return {"encoder": round_off(encoded.ravel()[:32]), "logits": [round_off(r) for r in rows], "tokens": tokens}


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "toy"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, export = pathlib.Path(folder) / "hf", pathlib.Path(folder) / "export"
        checkpoint.mkdir()
        made = tokenizer(checkpoint)
        model(made.token_to_id).save_pretrained(checkpoint)
        WhisperFeatureExtractor(feature_size=80, chunk_length=1).save_pretrained(checkpoint)
        optimum = pathlib.Path(sys.executable).with_name("optimum-cli")
        task = "automatic-speech-recognition-with-past"
        subprocess.run([optimum, "export", "onnx", "--model", checkpoint, "--task", task, "--no-post-process", "--nb_max_frames", "100", export], check=True)
        for path in [checkpoint / "tokenizer.json", checkpoint / "generation_config.json", export / "config.json", export / "preprocessor_config.json"]:
            shutil.copy(path, out)
        (out / "onnx").mkdir()
        for stem in variants.STEMS:
            shutil.copy(export / f"{stem}.onnx", out / "onnx")
        with tempfile.TemporaryDirectory() as made_in:
            made_in = pathlib.Path(made_in)
            variants.make(out, made_in, ["fp16", "int8", "uint8", "merged", "merged_int8", "external"])
            for path in (made_in / "onnx").iterdir():
                shutil.copy(path, out / "onnx")
            shutil.copytree(made_in / "external" / "onnx", out / "external" / "onnx")
    for path in out.rglob("*.onnx"):
        without_notes(path)
    start = made.token_to_id("<|startoftranscript|>")
    results = {form: expected(*forms.place(out, form), start) for form in forms.FORMS}
    (out / "expected.json").write_text(json.dumps(results))
    for form, result in results.items():
        rows = [sorted(r)[-2:] for r in result["logits"]]  # how clear each choice is
        print(form, result["tokens"], f"least margin {min(b - a for a, b in rows):.3f}")
    for path in [*out.rglob("*.onnx"), *out.rglob("*.onnx_data")]:
        path.with_name(path.name + ".zlib").write_bytes(zlib.compress(path.read_bytes(), 9))
        path.unlink()


if __name__ == "__main__":
    main()
