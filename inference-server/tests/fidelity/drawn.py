"""Writes the probabilities by which openai/whisper draws each token of a window at temperatures above 0.

    python drawn.py MODEL_DIR OUT_DIR INPUT [--checkpoint HF_DIR]

In: OUT_DIR/INPUT/pcm.npy of reference.py. What is drawn cannot be compared, what it is drawn from can: the tokens are forced to
be the likeliest ones, and before each of them the rules and the temperature are applied as `decode` applies them.
Out: OUT_DIR/drawn/{pcm.npy,tokens.json,probabilities.npy}; the last is [temperatures, tokens, vocabulary].
"""

import argparse
import json
import pathlib

import numpy as np
import torch
import whisper
from torch.distributions import Categorical
from whisper.decoding import DecodingTask

from whisper_model import prepare

TEMPERATURES = [0.2, 0.6, 1.0]
LONGEST = 8


@torch.no_grad()
def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "out"):
        p.add_argument(name, type=pathlib.Path)
    p.add_argument("input")
    p.add_argument("--checkpoint", type=pathlib.Path)
    a = p.parse_args()
    model, _, given = prepare(a.model, a.checkpoint)
    pcm = np.load(a.out / a.input / "pcm.npy")
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(pcm), model.dims.n_mels)
    features = model.encoder(mel[None])
    options = whisper.DecodingOptions(language="en", sample_len=LONGEST, **given)
    forced = whisper.decode(model, mel, options).tokens[:LONGEST]
    task = DecodingTask(model, options)
    tokens, rows = list(task.initial_tokens), []
    for token in forced:
        logits = model.logits(torch.tensor([tokens]), features)[:, -1].float()
        for rule in task.logit_filters:
            rule.apply(logits, torch.tensor([tokens]))
        rows.append([Categorical(logits=logits[0] / t).probs.numpy() for t in TEMPERATURES])
        tokens.append(token)
    folder = a.out / "drawn"
    folder.mkdir(exist_ok=True)
    np.save(folder / "pcm.npy", pcm)
    np.save(folder / "probabilities.npy", np.ascontiguousarray(np.swapaxes(rows, 0, 1), np.float32))
    (folder / "tokens.json").write_text(json.dumps({"temperatures": TEMPERATURES, "prompt": list(task.initial_tokens), "forced": forced}))
    print(f"drawn from: {len(forced)} tokens at {TEMPERATURES}")


if __name__ == "__main__":
    main()
