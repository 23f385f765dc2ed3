"""Silero VAD's own Python package in; what it says of the sample recordings and of made-up probabilities out, as JSON.

    python fixtures.py      writes probabilities.json and spans.json beside this file

Run it again when a sample recording changes; the tests in inference-server/src/vad/tests.rs say so.
"""

import hashlib
import importlib.util
import json
import pathlib
import random

import numpy as np
import onnxruntime
import soundfile
import torch

HERE = pathlib.Path(__file__).parent
SAMPLES = HERE.parents[2] / "models/whisper-nano-digits/samples"
# The package's __init__ wants an audio backend; the two things used here are in one file and do not.
PACKAGE = pathlib.Path(importlib.util.find_spec("silero_vad").submodule_search_locations[0])
SPEC = importlib.util.spec_from_file_location("utils_vad", PACKAGE / "utils_vad.py")
silero = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(silero)

FRAME, CONTEXT = 512, 64


def probabilities(samples):
    """Runs the original file as the package's OnnxWrapper does."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(PACKAGE / "data/silero_vad.onnx", options, ["CPUExecutionProvider"])
    state, context, result = np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT, np.float32), []
    padded = np.pad(samples, (0, -len(samples) % FRAME))
    for frame in padded.reshape(-1, FRAME):
        feed = {"input": np.concatenate([context, frame])[None], "state": state, "sr": np.array(16000, np.int64)}
        probability, state = session.run(None, feed)
        result.append(round(float(probability[0, 0]), 6))
        context = frame[-CONTEXT:]
    return result


def recordings():
    """The samples that need no resampling: there Python and the server hear the same numbers."""
    for path in sorted(SAMPLES.iterdir()):
        if path.suffix not in {".wav", ".flac"}:
            continue
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate == 16000 and samples.shape[1] == 1:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            yield {"file": path.name, "sha256": digest, "probabilities": probabilities(samples[:, 0])}


def sequence(rng):
    """Made-up probabilities in 1/64, so that they often are exactly a threshold; they dwell high, low or between."""
    values, length = [], rng.randrange(0, 200)
    while len(values) < length:
        low, high = rng.choice([(0, 20), (0, 64), (18, 36), (30, 64), (45, 64)])
        values += [rng.randrange(low, high + 1) for _ in range(rng.choice([1, 2, 4, 8, 20, 60]))]
    return values[:length]


def regular(rng):
    """Speech with pauses of two lengths, so that there are several longest ones to split it at."""
    values = []
    while len(values) < 150:
        values += [60] * rng.randrange(4, 12) + [2] * rng.choice([3, 6])
    return values


def settings(rng):
    threshold = rng.choice([0.5, 0.5, 0.25, 0.75, 0.125, 0.03125, 1.0])
    pad = rng.choice([30, 0, 7, 100, 400])
    chosen = {
        "threshold": threshold,
        "neg_threshold": rng.choice([None, None, threshold, threshold / 2, 0.0]),
        "min_speech_duration_ms": rng.choice([250, 250, 0, 32, 64, 1000]),
        "min_silence_duration_ms": rng.choice([100, 100, 0, 32, 64, 300, 2000]),
        "speech_pad_ms": pad,
    }
    # In eighths of a second, so that no rounding is involved; longer than the pads and the least speech.
    shortest = (chosen["min_speech_duration_ms"] + 2 * pad + 32) // 125 + 1
    return chosen, rng.choice([None, (shortest + rng.choice([0, 1, 2, 4, 8, 16])) / 8])


class Said:
    """In the place of the network: says the probabilities it was given."""

    def __init__(self, values):
        self.values = iter(values)

    def reset_states(self):
        pass

    def __call__(self, _frame, _rate):
        return torch.tensor(next(self.values))


def case(rng, split):
    numerators = regular(rng) if split else sequence(rng)
    values = [n / 64 for n in numerators]
    chosen, max_speech = settings(rng)
    if split:
        chosen["min_silence_duration_ms"] = 2000
        max_speech = max_speech or 3.0
    samples = len(values) * FRAME - (rng.choice([0, 1, 200, 511]) if values else 0)
    found = silero.get_speech_timestamps_from_probs(
        values,
        max_speech_duration_s=float("inf") if max_speech is None else max_speech,
        audio_length_samples=samples,
        **chosen,
    )
    # The iterator knows no negative threshold: it has its own, so events are only compared where it is the same.
    events = None
    if chosen["neg_threshold"] is None and chosen["threshold"] >= 0.25:
        iterator = silero.VADIterator(
            Said(values),
            chosen["threshold"],
            min_silence_duration_ms=chosen["min_silence_duration_ms"],
            speech_pad_ms=chosen["speech_pad_ms"],
        )
        frame = torch.zeros(FRAME)
        said = ((i, iterator(frame)) for i in range(len(values)))
        events = [[i, name, at] for i, event in said if event for name, at in event.items()]
    return {
        "probabilities_64": numerators,
        "samples": samples,
        "max_speech_s": max_speech,
        **chosen,
        "spans": [[span["start"], span["end"]] for span in found],
        "events": events,
    }


def write(name, rows):
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    (HERE / name).write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    write("probabilities.json", list(recordings()))
    rng = random.Random(0)
    write("spans.json", [case(rng, split=number % 8 == 0) for number in range(200)])
