"""Writes what openai/whisper's own `transcribe` says of long audio: segments, seeks, words, with several settings.

    python whisper_reference.py MODEL_DIR AUDIO_DIR OUT_DIR [--checkpoint HF_DIR] [--seconds 130]

In: an exported model; the committed samples, put end to end with pauses into two minutes. Out: OUT_DIR/{pcm.npy,long.json}.

Everything is decoded at temperature 0: what is drawn at random cannot be compared; see drawn.py.
"""

import argparse
import json
import pathlib
import time

import numpy as np
import soundfile
import torch
import whisper

from whisper_model import prepare

RATE = 16000


def long_audio(folder):
    """All samples at 16 kHz mono with pauses between them, about two minutes, and thirty seconds of silence within."""
    rng, parts = np.random.default_rng(3), []
    for path in sorted(folder.iterdir()):
        if path.suffix in (".wav", ".flac"):
            info = soundfile.info(path)
            if info.samplerate == RATE and info.channels == 1 and "noise" not in path.name:
                parts += [soundfile.read(path, dtype="float32")[0], np.zeros(int(RATE * rng.uniform(0.5, 4)))]
    sound = np.concatenate([*parts, *parts])[: 110 * RATE]
    return np.insert(sound, len(sound) // 2, np.zeros(20 * RATE)).astype(np.float32)


SETTINGS = {
    "greedy": {},
    "beams": {"beam_size": 3},
    "patient": {"beam_size": 2, "patience": 2.0, "length_penalty": 0.5},
    "alone": {"condition_on_previous_text": False},
    "prompted": {"initial_prompt": "Five nine two.", "carry_initial_prompt": True},
    "words": {"word_timestamps": True},
    "strict": {"no_speech_threshold": 0.2, "logprob_threshold": -0.2},
    "translate": {"task": "translate", "language": "de"},
    "doubtful": {"word_timestamps": True, "hallucination_silence_threshold": 1.0, "condition_on_previous_text": False, "sample_len": 24},
    "sceptical": {"word_timestamps": True, "hallucination_silence_threshold": 0.1, "sample_len": 24, "language": "en"},
    "clips": {"clip_timestamps": "1,5,7.3,20.5,21,26.02,38", "condition_on_previous_text": False, "language": "en"},
    "limited": {
        "word_timestamps": True, "sample_len": 9, "max_initial_timestamp": 6.0, "suppress_blank": False, "suppress_tokens": [-1, 300, 310, 320],
        "prepend_punctuations": "", "append_punctuations": "?", "condition_on_previous_text": False,
    },
}  # fmt: skip


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "audio", "out"):
        p.add_argument(name, type=pathlib.Path)
    p.add_argument("--checkpoint", type=pathlib.Path)
    p.add_argument("--seconds", type=int, default=130)
    a = p.parse_args()
    torch.set_num_threads(1)  # a model as small as these gains nothing from more
    model, generation, options = prepare(a.model, a.checkpoint)
    a.out.mkdir(parents=True, exist_ok=True)
    sound = long_audio(a.audio)[: a.seconds * RATE]
    np.save(a.out / "pcm.npy", sound)
    mel = whisper.log_mel_spectrogram(sound, model.dims.n_mels, padding=480000)
    _, languages = whisper.detect_language(model, whisper.pad_or_trim(mel, 3000), whisper.tokenizer.get_tokenizer(True))
    results = {"languages": languages, "settings": {}}
    for name, settings in SETTINGS.items():
        began = time.process_time()
        given = {"compression_ratio_threshold": None, "verbose": None} | options | settings
        # -1 stands for what the model names, and not for a list of openai/whisper's own.
        given["suppress_tokens"] = [t for s in given["suppress_tokens"] for t in (options["suppress_tokens"] if s == -1 else [s])]
        said = model.transcribe(sound, **given)
        segments = [s for s in said["segments"] if s["text"].strip()]
        results["settings"][name] = {"language": said["language"], "settings": settings, "segments": segments}
        windows = len({s["seek"] for s in segments})
        print(f"{name}: {len(segments)} segments, {windows} windows, {time.process_time() - began:.0f} s, {said['text'][:90]!r}", flush=True)
    (a.out / "long.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
