"""Gathers the recordings of single digits by real people into one array, at 16 kHz.

In: CACHE/recordings (fsdd-train.tar.xz, unpacked) and Asterisk's English prompts where that Debian package is installed.
Out: CACHE/people.npy and people.json: a record each, with the person, the digit, and whether it is kept aside.
"""

import json
import pathlib

import numpy as np
import soundfile
from scipy.signal import resample_poly

from paths import CACHE, RECORDINGS

RATE = 16000
KEPT_ASIDE = range(5, 10)  # recordings of each person that training never hears
ALLISON = pathlib.Path("/usr/share/asterisk/sounds/en_US_f_Allison/digits")


def main():
    found = [(path, *path.stem.split("_")) for path in sorted(RECORDINGS.glob("*.wav"))]
    found += [(ALLISON / f"{d}.wav", str(d), "allison", "-1") for d in range(10) if ALLISON.exists()]
    records, sound, at = [], [], 0
    for path, digit, person, index in found:
        x, rate = soundfile.read(path, dtype="float32")
        x = resample_poly(x, RATE // rate, 1)
        sound.append((x / (np.abs(x).max() + 1e-6) * 32000).astype(np.int16))
        records.append({"digit": digit, "person": person, "aside": int(index) in KEPT_ASIDE, "start": at, "end": at + len(x)})
        at += len(x)
    if records:
        np.save(CACHE / "people.npy", np.concatenate(sound))
    (CACHE / "people.json").write_text(json.dumps(records))
    print(f"{len(records)} recordings of {len({r['person'] for r in records})} people")


if __name__ == "__main__":
    main()
