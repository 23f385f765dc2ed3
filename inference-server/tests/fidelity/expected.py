"""Writes expected/: the log-mel of some committed samples, small enough to commit, for `cargo test` without Python.

    python expected.py
"""

import json
import pathlib

import numpy as np
import soundfile
from transformers import WhisperFeatureExtractor

HERE = pathlib.Path(__file__).resolve().parent
SAMPLES = HERE.parents[2] / "models" / "whisper-nano-digits" / "samples"
CHOSEN = ["three-digits-16k.wav", "one-digit-16k.wav", "silence.wav", "noise.wav"]


def main():
    out = HERE / "expected"
    out.mkdir(exist_ok=True)
    extractor, inputs = WhisperFeatureExtractor(feature_size=80), []
    for sample in CHOSEN:
        sound, rate = soundfile.read(SAMPLES / sample, dtype="float32")
        mel = extractor(sound, sampling_rate=rate, return_tensors="np").input_features[0]
        frames = min(3000, len(sound) // 160 + 20)  # a little past the end, where the padding begins
        name = pathlib.Path(sample).stem
        np.save(out / f"{name}.mel.npy", np.ascontiguousarray(mel[:, :frames], np.float32))
        inputs.append({"name": name, "sample": sample, "frames": frames})
    (out / "inputs.json").write_text(json.dumps(inputs, indent=1) + "\n")
    print(f"{sum(f.stat().st_size for f in out.iterdir()) / 1e3:.0f} kB in {out}")


if __name__ == "__main__":
    main()
