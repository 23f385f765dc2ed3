"""Endless training batches: speech from the corpus and the recordings, augmented, with their token targets.

In: CACHE/speech (speech.py), CACHE/recordings (the human digits), the tokenizer.
Out: dictionaries of tensors: sound [B, samples], inputs, labels, ctc targets, positions, warps and tempi.
"""

import dataclasses
import json
import random

import numpy as np
import torch
from torch.utils.data import IterableDataset
from transformers import WhisperTokenizerFast

import augment
from features import WARPS
from paths import CACHE, MODEL, SPEECH
from text import random_digits, sentence

RATE = 16000
WINDOW = 30 * RATE


class Tokens:
    """The tokenizer and the ids that the targets are made of."""

    def __init__(self, folder=MODEL):
        self.tokenizer = WhisperTokenizerFast.from_pretrained(folder)
        find = self.tokenizer.convert_tokens_to_ids
        self.end, self.start, self.english, self.transcribe = find("<|endoftext|>"), find("<|startoftranscript|>"), find("<|en|>"), find("<|transcribe|>")
        self.translate, self.previous, self.no_speech, self.no_timestamps = find("<|translate|>"), find("<|startofprev|>"), find("<|nospeech|>"), find("<|notimestamps|>")
        self.time = find("<|0.00|>")
        self._texts = {}

    def text(self, digits):
        if digits not in self._texts:
            self._texts[digits] = self.tokenizer.encode(" " + sentence(digits), add_special_tokens=False)
        return self._texts[digits]

    def at(self, seconds):
        return self.time + min(1500, max(0, round(seconds * 50)))


@dataclasses.dataclass
class Utterance:
    digits: str
    sound: np.ndarray


@dataclasses.dataclass
class Placed:
    """An utterance in a window, in samples."""

    digits: str
    start: int
    end: int


class Synthetic:
    """The synthesised utterances of every engine, training or held voices only. Engines are drawn by weight."""

    WEIGHTS = {"espeak": 4, "flite": 3, "festival": 1.5, "piper": 1.5, "kokoro": 4}

    def __init__(self, held=False):
        self.engines, self.single = {}, {}
        for path in sorted(SPEECH.glob("*.json")):
            sound = np.load(path.with_suffix(".npy"), mmap_mode="r")
            records = [r for r in json.loads(path.read_text()) if r["held"] == held]
            if records:
                self.engines[path.stem] = (sound, records)

    def __len__(self):
        return sum(len(records) for _, records in self.engines.values())

    def all(self):
        for sound, records in self.engines.values():
            for r in records:
                yield r["voice"], Utterance(r["digits"], sound[r["start"] : r["end"]].astype(np.float32) / 32768)

    def draw(self, rng, longest=8):
        names = list(self.engines)
        sound, records = self.engines[rng.choices(names, [self.WEIGHTS[n] for n in names])[0]]
        while True:
            r = rng.choice(records)
            if len(r["digits"]) <= longest:
                return Utterance(r["digits"], sound[r["start"] : r["end"]].astype(np.float32) / 32768)


class People:
    """Recordings of single digits by real people; strings are put together from one person's."""

    def __init__(self, leave_out=(), aside=False, only=None):
        """`aside`: False for the recordings to train on, True for those kept aside, None for both."""
        self.people = {}
        records = json.loads((CACHE / "people.json").read_text())
        sound = np.load(CACHE / "people.npy") if records else None
        for r in records:
            wanted = r["person"] not in leave_out and (not only or r["person"] in only) and aside in (None, r["aside"])
            if wanted:
                digits = self.people.setdefault(r["person"], {})
                digits.setdefault(r["digit"], []).append(sound[r["start"] : r["end"]].astype(np.float32) / 32768)

    def someone(self, rng):
        """A person to speak; one with few recordings is drawn less often."""
        names = list(self.people)
        return rng.choices(names, [1 if len(self.people[n]["0"]) > 5 else 0.4 for n in names])[0]

    def string(self, digits, rng, gap=None):
        person = self.someone(rng)
        gap = gap or rng.choice([(-0.02, 0.06), (0.0, 0.2), (0.0, 0.4), (0.1, 0.5), (0.3, 0.7)])
        same = rng.random() < 0.5
        pieces, r = [], rng.uniform(0.9, 1.1)
        for d in digits:
            x = rng.choice(self.people[person][d])
            if rng.random() < 0.5:
                f = r if same else rng.uniform(0.9, 1.1)
                n = int(len(x) / f)
                x = np.interp(np.arange(n) * f, np.arange(len(x)), x).astype(np.float32)
            x = x * rng.uniform(0.4, 1.0)
            silence = rng.uniform(*gap)
            if pieces and silence > 0:
                pieces.append(np.zeros(int(silence * RATE), np.float32))
            elif pieces and silence < 0:
                pieces[-1] = pieces[-1][: int(silence * RATE)]
            pieces.append(x)
        return Utterance(digits, np.concatenate(pieces))


class Batches(IterableDataset):
    """`short`: one utterance in a window as long as the batch needs. `full`: 30-second windows of all kinds, a quarter as
    many. `mix`: half of it short, half of it windows of 8 to 30 seconds, as many as make the same length together."""

    def __init__(self, mode, size, seed, leave_out=()):
        self.mode, self.size, self.seed, self.leave_out = mode, size, seed, leave_out

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        seed = self.seed * 1000 + (info.id if info else 0)
        self.rng, self.noise = random.Random(seed), np.random.default_rng(seed)
        self.synthetic, self.people, self.tokens = Synthetic(), People(self.leave_out), Tokens()
        torch.set_num_threads(1)
        while True:
            if self.mode == "full":
                yield self.full(30)
            elif self.mode == "mix" and self.rng.random() < 0.5:
                yield self.full(self.rng.choice([8, 8, 12, 12, 12, 20, 20, 30]))
            else:
                yield self.short()

    def speech(self, longest):
        rng = self.rng
        if self.people.people and rng.random() < 0.5:
            said = self.people.string(random_digits(rng, longest), rng)
        else:
            said = self.synthetic.draw(rng, longest)
        x = said.sound
        if rng.random() < 0.7:
            x, _ = augment.speed(x, self.noise)
        return Utterance(said.digits, augment.utterance(x, self.noise).astype(np.float32))

    def finish(self, window, placed):
        """Background noise over the whole window, or only under the speech."""
        rng = self.rng
        if placed and rng.random() < 0.75:
            power = np.mean([np.mean(window[p.start : p.end] ** 2) for p in placed])
            end = len(window) if rng.random() < 0.6 else placed[-1].end
            window[:end] = augment.background(window[:end], power, self.noise)
        top = np.abs(window).max()
        return window / top if top > 1 else window

    def short(self):
        rng = self.rng
        longest, size = rng.choice([(2, 2 * self.size), (4, self.size * 4 // 3), (8, self.size)])
        said = [self.speech(longest) if rng.random() > 0.05 else None for _ in range(size)]
        leads = [int(RATE * rng.choice([0, 0.1, rng.uniform(0, 0.8)])) for _ in said]
        tails = [int(RATE * rng.choice([0, 0.1, 0.3, rng.uniform(0, 1.2)])) for _ in said]
        length = max((lead + len(u.sound) + tail if u else 16000) for u, lead, tail in zip(said, leads, tails))
        length = min(WINDOW, (length // 640 + 1) * 640)
        windows, places = np.zeros((size, length), np.float32), []
        for row, u, lead in zip(windows, said, leads):
            if u is None:
                row[:] = augment.wordless(length, self.noise)
                places.append([])
                continue
            x = u.sound[: length - lead]
            row[lead : lead + len(x)] = x
            places.append([Placed(u.digits, lead, lead + len(x))])
            row[:] = self.finish(row, places[-1])
        offsets = [rng.randrange(0, 1500 - length // 320) if rng.random() < 0.5 else 0 for _ in said]
        return self.pack(windows, places, offsets)

    def full(self, seconds):
        rng, length, size = self.rng, seconds * RATE, self.size * 30 // (4 * seconds)
        windows, places = np.zeros((size, length), np.float32), []
        for row in windows:
            placed = []
            kind = rng.random()
            if kind < 0.12:
                row[:] = augment.wordless(length, self.noise)
            else:
                at = int(RATE * rng.choice([0, rng.uniform(0, 1), rng.uniform(0, 3), rng.uniform(0, 0.8 * seconds)]))
                if kind < 0.24 and self.people.people:  # a digit cut off by the window's edge: not to be written
                    piece = self.people.string(random_digits(rng, 1)[:1], rng).sound
                    piece = piece[-int(len(piece) * rng.uniform(0.05, 0.3)) :]
                    row[: len(piece)] = piece * rng.uniform(0.1, 0.8)
                    at = max(at, len(piece) + int(RATE * rng.uniform(0.05, 0.5)))
                sentences = 1 if rng.random() < 0.4 else rng.randint(2, 8)
                for _ in range(sentences):
                    u = self.speech(8) if rng.random() < 0.9 or not self.people.people else self.long()
                    if at + len(u.sound) > length:
                        if placed:
                            break
                        at, u = 0, u if len(u.sound) <= length else self.synthetic.draw(rng, 3)
                        u.sound = u.sound[:length]
                    row[at : at + len(u.sound)] = u.sound
                    placed.append(Placed(u.digits, at, at + len(u.sound)))
                    at += len(u.sound) + int(RATE * rng.choice([rng.uniform(0.8, 1.5), rng.uniform(0.8, 4)]))
                row[:] = self.finish(row, placed)
            places.append(placed)
        offsets = [rng.randrange(0, 1501 - seconds * 50) if rng.random() < 0.5 else 0 for _ in places]
        return self.pack(windows, places, offsets, tempo=False)

    def long(self):
        """Nine to sixteen digits in one breath."""
        u = self.people.string("".join(self.rng.choice("0123456789") for _ in range(self.rng.randint(9, 16))), self.rng, gap=(0.0, 0.3))
        return Utterance(u.digits, augment.utterance(u.sound, self.noise).astype(np.float32))

    def pack(self, windows, places, offsets, tempo=True):
        rng, k = self.rng, self.tokens
        tempi = [rng.uniform(0.85, 1.0) if tempo and rng.random() < 0.4 else 1.0 for _ in places]
        inputs, labels, ctc = [], [], []
        for placed, offset, factor in zip(places, offsets, tempi):
            timed = rng.random() < 0.4
            task = k.transcribe if rng.random() < 0.97 else k.translate
            language = k.english if rng.random() < 0.95 else k.english + rng.randrange(99)
            prompt = []
            if rng.random() < 0.12:
                prompt = [k.previous] + [t for _ in range(rng.randint(1, 2)) for t in k.text(random_digits(rng))]
            text, seconds = [], lambda samples: (samples * factor) / RATE + offset / 50
            for p in placed:
                text += [k.at(seconds(p.start)), *k.text(p.digits), k.at(seconds(p.end))] if timed else k.text(p.digits)
            if timed and not placed:
                text = [k.at(0)]
            tokens = [*prompt, k.start, language, task, *([] if timed else [k.no_timestamps]), *text, k.end]
            target = [-100] * len(prompt) + [k.english if placed else k.no_speech, -100] + tokens[len(prompt) + 3 :]
            if not timed:
                target[len(prompt) + 2] = -100
            if timed and placed and rng.random() < 0.25:  # a decoder may be held to a first timestamp of at most 1.0 s
                at = len(prompt) + 3
                tokens[at] = min(tokens[at], k.time + rng.randint(0, 50))
            inputs.append(tokens[:-1])
            labels.append(target)
            ctc.append("".join(p.digits for p in placed))
        width = max(map(len, inputs))
        return {
            "sound": torch.from_numpy(windows),
            "inputs": torch.tensor([i + [k.end] * (width - len(i)) for i in inputs]),
            "labels": torch.tensor([t + [-100] * (width - len(t)) for t in labels]),
            "ctc": ctc,
            "offsets": torch.tensor(offsets),
            "warps": torch.tensor([self.noise.integers(0, len(WARPS)) if rng.random() < 0.75 else len(WARPS) * 4 // 9 for _ in places]),
            "tempi": tempi,
        }
