"""Proves an export: ONNX Runtime's greedy tokens equal those of transformers, on the committed samples.

    python compare.py DIR       with DIR/hf (the checkpoint) and DIR/onnx (its export)
"""

import pathlib
import sys

import torch

from check_samples import WINDOW, load
from evaluate import Subject
from onnx_model import OnnxWhisper
from paths import MODEL


def main(folder):
    folder = pathlib.Path(folder)
    onnx, torch_model, different = OnnxWhisper(folder / "onnx"), Subject(folder / "hf"), 0
    for path in sorted((MODEL / "samples").glob("*.*")):
        if path.suffix not in (".wav", ".flac"):
            continue
        sound = load(path)[:WINDOW]
        expected = torch_model([sound])[0]
        tokens, mean, no_speech = onnx.decode(onnx.encode(sound), onnx.prompt())
        wanted = [t for t in expected["tokens"] if t != torch_model.tokens.end]
        same = tokens == wanted and abs(no_speech - expected["no_speech"]) < 1e-3
        different += not same
        print(f"{'same' if same else 'DIFFERENT'}  {path.name}: {expected['text']!r}, no-speech {no_speech:.3f}, mean {mean:.2f}")
    return different


if __name__ == "__main__":
    torch.set_num_threads(2)
    sys.exit(main(sys.argv[1]))
