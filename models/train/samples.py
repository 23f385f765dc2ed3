"""Makes the test recordings that the repository carries, with voices that training never hears.

Out: models/whisper-nano-digits/samples/*.wav|flac and samples.jsonl, one record a file: its text, what it tests, the
times of its sentences, and `clear`: the bundled model must write exactly this text. Engines are espeak-ng and flite;
no human recording is used, so the files carry no licence but the project's.
"""

import io
import json
import subprocess
import tempfile

import numpy as np
import soundfile
from scipy.signal import resample_poly

from paths import MODEL
from text import sentence, words

OUT = MODEL / "samples"


def flite(voice):
    def speak(digits):
        with tempfile.NamedTemporaryFile(suffix=".wav") as f:
            subprocess.run(["flite", "-voice", voice, "-t", words(digits).replace(" ", ", "), "-o", f.name], check=True)
            return soundfile.read(f.name, dtype="float32")

    return speak


def espeak(voice):
    def speak(digits):
        command = ["espeak-ng", "-v", voice, "-s", "140", "--stdout", words(digits).replace(" ", ", ")]
        return soundfile.read(io.BytesIO(subprocess.run(command, capture_output=True, check=True).stdout), dtype="float32")

    return speak


RMS, PAUL, ROB, STEPH = flite("rms"), espeak("en-us+paul"), espeak("en-gb+rob"), espeak("en-us+steph")

# file, what it tests, rate, channels, then (voice, digits, seconds of silence before) for each sentence
RECORDINGS = [
    ("three-digits-16k.wav", "the model's own rate", 16000, 1, [(RMS, "731", 0.1)]),
    ("four-digits-8k.wav", "a telephone's rate", 8000, 1, [(ROB, "2358", 0.2)]),
    ("five-digits-44k-stereo.flac", "two channels at a CD's rate", 44100, 2, [(PAUL, "70312", 0.3)]),
    ("three-digits-16k.flac", "FLAC", 16000, 1, [(RMS, "260", 0.1)]),
    ("four-digits-22k.wav", "a rate with an odd ratio", 22050, 1, [(PAUL, "2358", 0.1)]),
    ("two-digits-48k-stereo.wav", "two channels at a studio's rate", 48000, 2, [(ROB, "58", 0.2)]),
    ("one-digit-16k.wav", "hardly any speech", 16000, 1, [(RMS, "8", 0.1)]),
    ("eight-digits-16k.flac", "a longer string", 16000, 1, [(PAUL, "14039265", 0.2)]),
    ("late-start-16k.flac", "seven seconds of silence, then speech", 16000, 1, [(ROB, "445", 7.0)]),
    ("two-sentences-16k.flac", "a long pause between two strings", 16000, 1, [(ROB, "81", 0.5), (PAUL, "917", 5.0)]),
    ("fast-female-16k.flac", "a harder voice", 16000, 1, [(STEPH, "902", 0.2)]),
]
LONG_STRINGS = "731 4092 58 260 917 3 81 16 445 70312 6 902 2358 14 8 350 9271 66 047 512".split()


def compose(rate, sentences, tail=0.5):
    """One channel of sound and the times of its sentences."""
    sound, segments, at = [], [], 0
    for speak, digits, pause in sentences:
        x, own = speak(digits)
        ratio = np.gcd(own, rate)
        x = resample_poly(x, rate // ratio, own // ratio)
        x = 0.6 * x / np.abs(x).max()
        sound += [np.zeros(int(pause * rate)), x]
        at += int(pause * rate)
        segments.append({"start": round(at / rate, 2), "end": round((at + len(x)) / rate, 2), "text": sentence(digits)})
        at += len(x)
    return np.concatenate([*sound, np.zeros(int(tail * rate))]), segments


def clear_files():
    """Which files the bundled model has been seen to write exactly (check_samples.py keeps this list)."""
    path = OUT / "samples.jsonl"
    return {r["file"] for r in map(json.loads, path.read_text().splitlines()) if r["clear"]} if path.exists() else set()


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    clear, records = clear_files(), []

    def write(name, tests, rate, channels, sound, segments):
        sound = sound[:, None] * np.linspace(1.0, 0.8, channels) if channels > 1 else sound
        soundfile.write(OUT / name, sound, rate, subtype="PCM_16")
        text = " ".join(s["text"] for s in segments)
        records.append({"file": name, "text": text, "clear": name in clear, "tests": tests, "seconds": round(len(sound) / rate, 2), "segments": segments})

    for name, tests, rate, channels, sentences in RECORDINGS:
        write(name, tests, rate, channels, *compose(rate, sentences))
    voices = [RMS, PAUL, ROB]
    pauses = [1.2, 1.6, 2.4, 1.0, 1.8]
    many = [(voices[i % 3], digits, pauses[i % 5]) for i, digits in enumerate(LONG_STRINGS)]
    write("long-16k.flac", "three windows of thirty seconds", 16000, 1, *compose(16000, many))
    write("silence.wav", "nothing at all", 16000, 1, np.zeros(32000), [])
    noise = np.random.default_rng(3).standard_normal(48000) * 0.1
    write("noise.wav", "noise without words", 16000, 1, noise, [])
    (OUT / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    print(f"{len(records)} files, {sum(f.stat().st_size for f in OUT.iterdir()) / 1e6:.2f} MB, long one {records[-3]['seconds']} s")


if __name__ == "__main__":
    main()
