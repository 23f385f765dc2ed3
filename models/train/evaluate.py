"""Measures a checkpoint with transformers' greedy decoding over 30-second windows, and writes the figures as JSON.

    python evaluate.py CHECKPOINT_DIR OUT.json [--leave-out PERSON ...] [--count 60]

Sets: each engine's held-out voices; people never heard; kept-aside recordings of people heard; several sentences in a
window; a noisy room; timestamps; and windows without words, on which nothing must be written.
"""

import argparse
import json
import random

import jiwer
import numpy as np
import torch
from transformers import GenerationConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

import augment
from data import WINDOW, People, Synthetic, Tokens
from text import normal, random_digits, sentence

RATE = 16000
NO_SPEECH, LOW = 0.6, -1.0


class Subject:
    """The model under test."""

    def __init__(self, folder):
        self.tokens = Tokens(folder)
        self.model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
        self.model.generation_config = GenerationConfig.from_pretrained(folder)
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model.to(self.device)

    @torch.no_grad()
    def __call__(self, sounds, timestamps=False, batch=12):
        """For each sound: the tokens, the text on the forced path, the no-speech and the mean log-probability."""
        out, k = [], self.tokens
        for i in range(0, len(sounds), batch):
            mel = self.extractor(sounds[i : i + batch], sampling_rate=RATE, return_tensors="pt").input_features.to(self.device)
            ids = self.model.generate(mel, language="en", task="transcribe", return_timestamps=timestamps, do_sample=False, num_beams=1, max_new_tokens=200)
            prompt = torch.tensor([k.start, k.english, k.transcribe] + ([] if timestamps else [k.no_timestamps]), device=ids.device)
            if ids.shape[1] < len(prompt) or (ids[:, : len(prompt)] != prompt).any():  # generate leaves the prompt out
                ids = torch.cat([prompt.expand(len(ids), -1), ids], 1)
            scores = self.model(input_features=mel, decoder_input_ids=ids).logits.float().log_softmax(-1)
            for row, score in zip(ids, scores):
                made = row[len(prompt) :].tolist()
                made = made[: made.index(k.end) + 1] if k.end in made else made
                ended = made if k.end in made else [*made, k.end]  # generate may leave the end token out
                mean = float(np.mean([score[len(prompt) - 1 + j, t].item() for j, t in enumerate(ended) if len(prompt) + j <= len(score)]))
                text = k.tokenizer.decode([t for t in made if t < k.end]).strip()
                out.append({"tokens": made, "text": text, "no_speech": score[0, k.no_speech].exp().item(), "mean": mean})
        return out


def rule(result):
    """Whisper's rule: a window that is probably not speech, and was decoded without confidence, gives nothing."""
    return "" if result["no_speech"] > NO_SPEECH and result["mean"] < LOW else result["text"]


def word_errors(wanted, results):
    wanted = [normal(w) for w in wanted]
    measures = jiwer.process_words(wanted, [normal(rule(r)) or "-" for r in results])
    right = sum(w == normal(rule(r)) for w, r in zip(wanted, results))
    return {"words": sum(len(w.split()) for w in wanted), "wer": round(100 * measures.wer, 2), "strings": len(wanted), "exact": right}


def strings(subject, utterances):
    return word_errors([sentence(u.digits) for u in utterances], subject([u.sound for u in utterances]))


def crowded(synthetic, rng):
    """Two to four sentences at any place of a window, one to sixteen digits in all."""
    window, texts, at, spans = np.zeros(WINDOW, np.float32), [], int(RATE * rng.uniform(0, 8)), []
    for _ in range(rng.randint(2, 4)):
        u = synthetic.draw(rng, 5)
        if at + len(u.sound) > WINDOW:
            break
        window[at : at + len(u.sound)] = u.sound
        texts.append(sentence(u.digits))
        spans.append((at / RATE, (at + len(u.sound)) / RATE))
        at += len(u.sound) + int(RATE * rng.uniform(0.8, 3))
    return window, " ".join(texts), spans


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint")
    p.add_argument("out")
    p.add_argument("--leave-out", nargs="*", default=[])
    p.add_argument("--count", type=int, default=60)
    a = p.parse_args()
    subject, rng, noise, figures = Subject(a.checkpoint), random.Random(17), np.random.default_rng(17), {}

    def note(name, figure):
        figures[name] = figure
        print(f"{name:28s} {figure}", flush=True)

    engines, held = {}, Synthetic(held=True)
    for voice, u in held.all():
        engines.setdefault(voice.split(":")[0], []).append(u)
    for engine, utterances in engines.items():
        note(f"synthetic {engine}", strings(subject, rng.sample(utterances, a.count)))
    for person in a.leave_out:
        people = People(only={person}, aside=None)
        note(f"unheard {person}", strings(subject, [people.string(random_digits(rng), rng) for _ in range(a.count)]))
    people = People(a.leave_out, aside=True)
    note("heard people", strings(subject, [people.string(random_digits(rng), rng) for _ in range(a.count)]))
    note("noisy room", noisy(subject, held, rng, noise, a.count))
    windows = [crowded(held, rng) for _ in range(a.count // 2)]
    note("several sentences", word_errors([w[1] for w in windows], subject([w[0] for w in windows])))
    note("timestamps", timed(subject, windows))
    empty = [np.zeros(WINDOW, np.float32)] + [augment.wordless(WINDOW, noise) for _ in range(a.count)]
    for timestamps in (False, True):
        results = subject(empty, timestamps)
        note("no words" + (", timestamps" if timestamps else ""), {
            "windows": len(empty), "empty when forced": sum(not r["text"] for r in results), "empty by the rule": sum(not rule(r) for r in results),
            "no-speech above 0.6": sum(r["no_speech"] > NO_SPEECH for r in results),
        })  # fmt: skip
    json.dump(figures, open(a.out, "w"), indent=1)


def noisy(subject, held, rng, noise, count):
    """Held-out voices in a room, with noise 10 to 20 dB below."""
    utterances = []
    for _ in range(count):
        u = held.draw(rng)
        x = augment.room(u.sound, noise)
        x = x + augment.coloured_noise(len(x), noise) * np.sqrt(np.mean(x**2)) * 10 ** (-rng.uniform(10, 20) / 20)
        u.sound = (x / np.abs(x).max()).astype(np.float32)
        utterances.append(u)
    return strings(subject, utterances)


def timed(subject, windows):
    """Words with timestamps on, and how far the sentences' times are off where their number is right."""
    results = subject([w[0] for w in windows], timestamps=True)
    figure, off = word_errors([w[1] for w in windows], results), []
    for (_, _, spans), r in zip(windows, results):
        times = [(t - subject.tokens.time) / 50 for t in r["tokens"] if t >= subject.tokens.time]
        if len(times) == 2 * len(spans):
            off += [abs(t - s) for t, s in zip(times, [x for span in spans for x in span])]
    return figure | {"sentences timed": len(off) // 2, "median seconds off": round(float(np.median(off)), 2) if off else None}


if __name__ == "__main__":
    main()
