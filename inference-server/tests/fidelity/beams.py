"""Writes what a beam search of openai/whisper finds in each window that reference.py has written: OUT_DIR/NAME/beams.json.

    python beams.py MODEL_DIR OUT_DIR SIZE [--checkpoint HF_DIR]

Without timestamps, and as long as the model's `max_length` lets it be.
"""

import argparse
import json
import pathlib

import numpy as np
import whisper

from whisper_model import prepare


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "out"):
        p.add_argument(name, type=pathlib.Path)
    p.add_argument("size", type=int)
    p.add_argument("--checkpoint", type=pathlib.Path)
    a = p.parse_args()
    model, generation, given = prepare(a.model, a.checkpoint)
    length = generation["max_length"] - (4 if generation["is_multilingual"] else 2)
    options = whisper.DecodingOptions(beam_size=a.size, without_timestamps=True, sample_len=length, language="en", **given)
    for name in json.loads((a.out / "inputs.json").read_text()):
        sound = whisper.pad_or_trim(np.load(a.out / name / "pcm.npy"))
        said = whisper.decode(model, whisper.log_mel_spectrogram(sound, model.dims.n_mels), options)
        (a.out / name / "beams.json").write_text(json.dumps({"beam_size": a.size, "tokens": said.tokens, "avg_logprob": said.avg_logprob}))
        print(f"{name}: {a.size} beams, {said.tokens}", flush=True)


if __name__ == "__main__":
    main()
