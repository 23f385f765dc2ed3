"""Writes a trained model as a Hugging Face checkpoint, and as the ONNX files that a server loads.

    python export.py NAME OUT_DIR            CACHE/NAME.pt -> OUT_DIR/hf, OUT_DIR/onnx
    python export.py NAME OUT_DIR --hf-only  the checkpoint alone, to evaluate
"""

import pathlib
import shutil
import subprocess
import sys

import torch
from transformers import GenerationConfig, WhisperFeatureExtractor

import model as whisper
from data import Tokens
from paths import CACHE


def generation_config(tokens):
    find, vocabulary = tokens.tokenizer.convert_tokens_to_ids, tokens.tokenizer.get_vocab()
    languages = sorted((i, t) for t, i in vocabulary.items() if tokens.english <= i < tokens.translate)
    return GenerationConfig(
        eos_token_id=tokens.end, pad_token_id=tokens.end, bos_token_id=tokens.end, decoder_start_token_id=tokens.start,
        prev_sot_token_id=tokens.previous, no_timestamps_token_id=tokens.no_timestamps, max_initial_timestamp_index=1500,
        is_multilingual=True, max_length=448, return_timestamps=False,
        lang_to_id={t: i for i, t in languages}, task_to_id={"transcribe": tokens.transcribe, "translate": tokens.translate},
        # Unlike Whisper's own list, the end token is allowed at once: on silence this model says nothing.
        begin_suppress_tokens=[find("Ġ")],
        suppress_tokens=[tokens.translate, tokens.transcribe, find("<|startoflm|>"), tokens.previous, tokens.no_speech, tokens.start],
        alignment_heads=[[1, 0], [1, 1]],
    )  # fmt: skip


def checkpoint(name, out):
    tokens = Tokens()
    saved = torch.load(CACHE / f"{name}.pt", map_location="cpu")["average"]
    layers = 1 + max(int(k.split(".")[3]) for k in saved if k.startswith("model.encoder.layers."))
    model = whisper.new(tokens, encoder_layers=layers)
    model.load_state_dict(saved)
    model.generation_config = generation_config(tokens)
    model.eval().save_pretrained(out)
    tokens.tokenizer.save_pretrained(out)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(out)


def main(name, out, hf_only=False):
    out = pathlib.Path(out)
    shutil.rmtree(out, ignore_errors=True)
    checkpoint(name, out / "hf")
    if hf_only:
        return
    optimum = pathlib.Path(sys.executable).with_name("optimum-cli")
    task = "automatic-speech-recognition-with-past"
    subprocess.run([optimum, "export", "onnx", "--model", out / "hf", "--task", task, "--no-post-process", out / "onnx"], check=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "--hf-only" in sys.argv)
