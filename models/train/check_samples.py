"""Transcribes the committed samples with the bundled ONNX model and marks those that it writes exactly as `clear`.

    python check_samples.py [--mark]     without --mark it only reports, and fails when a clear sample is wrong
"""

import json
import sys

import numpy as np
import soundfile
from scipy.signal import resample_poly

from onnx_model import OnnxWhisper
from paths import MODEL

RATE, WINDOW = 16000, 30 * 16000


def load(path):
    x, rate = soundfile.read(path, dtype="float32", always_2d=True)
    ratio = np.gcd(rate, RATE)
    return resample_poly(x.mean(1), RATE // ratio, rate // ratio).astype(np.float32)


def main(mark):
    path = MODEL / "samples" / "samples.jsonl"
    records, whisper, wrong = [json.loads(line) for line in path.read_text().splitlines()], OnnxWhisper(MODEL), 0
    for r in records:
        sound = load(MODEL / "samples" / r["file"])
        windows = [sound[i : i + WINDOW] for i in range(0, len(sound), WINDOW)]
        heard = " ".join(filter(None, (whisper.transcribe(w) for w in windows)))
        exact = heard == r["text"]
        wrong += r["clear"] and not exact
        print(f"{'exact' if exact else 'WRONG' if r['clear'] else 'other'}  {r['file']}: {heard!r}" + ("" if exact else f" for {r['text']!r}"))
        if mark:
            r["clear"] = exact
    if mark:
        path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return 0 if mark else wrong


if __name__ == "__main__":
    sys.exit(main("--mark" in sys.argv))
