"""Writes what openai/whisper says of every recording of the bundled model's held-out set: segments, words, times.

    python held_out.py MODEL_DIR SPEECH_DIR OUT_DIR [--every 1]

In: SPEECH_DIR as models/train/speech.py fills it; the recordings marked `held` are of voices that training never heard.
Out: OUT_DIR/pcm.npy (int16, 16 kHz, all recordings end to end) and OUT_DIR/held_out.json, a record each: voice, the text that
is said, start and end in pcm.npy, and the segments.
"""

import argparse
import json
import multiprocessing
import pathlib
import sys

import numpy as np
import torch

from whisper_model import prepare

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "models" / "train"))
from text import normal, sentence  # noqa: E402

SETTINGS = {"language": "en", "word_timestamps": True, "compression_ratio_threshold": None, "verbose": None}
WORKERS = 2
_model = None


def begin(folder):
    global _model
    torch.set_num_threads(1)
    _model = prepare(folder)


def said(sound):
    model, _, options = _model
    segments = model.transcribe(sound.astype(np.float32) / 32768, **options, **SETTINGS)["segments"]
    return [s for s in segments if s["text"].strip()]


def held(folder):
    for path in sorted(folder.glob("*.json")):
        sound = np.load(path.with_suffix(".npy"), mmap_mode="r")
        for r in json.loads(path.read_text()):
            if r["held"]:
                yield r["voice"], r["digits"], np.array(sound[r["start"] : r["end"]])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "speech", "out"):
        p.add_argument(name, type=pathlib.Path)
    p.add_argument("--every", type=int, default=1, help="take only each so manieth recording, for a quick look")
    a = p.parse_args()
    recordings = list(held(a.speech))[:: a.every]
    if not recordings:
        raise SystemExit(f"no recording in {a.speech} is held out: models/train/run.sh speech makes them")
    records, at = [], 0
    with multiprocessing.get_context("spawn").Pool(WORKERS, begin, [a.model]) as pool:
        for (voice, digits, sound), segments in zip(recordings, pool.imap(said, [r[2] for r in recordings], chunksize=8)):
            records.append({"voice": voice, "text": sentence(digits), "start": at, "end": at + len(sound), "segments": segments})
            at += len(sound)
            if len(records) % 100 == 0:
                print(f"{len(records)} of {len(recordings)} recordings", flush=True)
    a.out.mkdir(parents=True, exist_ok=True)
    np.save(a.out / "pcm.npy", np.concatenate([r[2] for r in recordings]))
    (a.out / "held_out.json").write_text(json.dumps(records))
    exact = sum(normal(r["text"]) == normal(" ".join(s["text"] for s in r["segments"])) for r in records)
    print(f"{len(records)} recordings, {at / 16000:.0f} s, {exact} exactly right")


if __name__ == "__main__":
    main()
