"""Writes what the server is compared with: features, encoder output, logits and greedy tokens of one model.

    python reference.py MODEL_DIR AUDIO_DIR OUT_DIR [--checkpoint HF_DIR] [--rows 8] [--max-new-tokens 32] [--only NAME...]

In: an exported model; the committed samples (those that need no resampling) beside three generated sounds.
Out: OUT_DIR/NAME/*, laid out as README.md says. It fails when ONNX Runtime's greedy path and transformers' differ, so a
reference is never one implementation's opinion. `--checkpoint` is the same model for transformers; without it the
exported decoder is run through optimum's own generate.
"""

import argparse
import json
import pathlib

import numpy as np
import onnxruntime
import soundfile
import torch
from transformers import GenerationConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast
from transformers.generation.logits_process import (
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)

RATE, WINDOW = 16000, 30 * 16000
TIE = 0.0025  # logits closer than this may change places within the tolerance


def generated():
    """A tone, noise and a sweep: inputs that exercise all mel bins."""
    t = np.arange(3 * RATE) / RATE
    yield "sine", 0.3 * np.sin(2 * np.pi * 440 * t)
    yield "noise", 0.1 * np.random.default_rng(7).standard_normal(5 * RATE)
    yield "chirp", 0.5 * np.sin(2 * np.pi * (100 * t + (7000 - 100) / (2 * 3) * t**2))


def samples(folder):
    """The committed recordings at 16 kHz mono: the server resamples the others by a method of its own."""
    for path in sorted(folder.iterdir()):
        if path.suffix in (".wav", ".flac"):
            info = soundfile.info(path)
            if info.samplerate == RATE and info.channels == 1:
                yield path.name.replace(".", "-"), soundfile.read(path, dtype="float32")[0][:WINDOW]


class Onnx:
    def __init__(self, folder):
        files = ("encoder_model", "decoder_model", "decoder_with_past_model")
        self.encoder, self.first, self.following = (onnxruntime.InferenceSession(str(folder / f"{n}.onnx"), providers=["CPUExecutionProvider"]) for n in files)
        self.generation = json.loads((folder / "generation_config.json").read_text())

    def encode(self, mel):
        return self.encoder.run(None, {"input_features": mel[None]})[0]

    def greedy(self, encoded, prompt, limit):
        """The raw logits of every step, the tokens that they choose, and the first position's logits."""
        config = self.generation
        names = [o.name for o in self.first.get_outputs()]
        out = dict(zip(names, self.first.run(None, {"input_ids": np.array([prompt]), "encoder_hidden_states": encoded})))
        at_start, past = out["logits"][0, 0], {k.replace("present", "past_key_values"): v for k, v in out.items() if k != "logits"}
        rows, tokens, names = [out["logits"][0, -1]], [], [o.name for o in self.following.get_outputs()]
        total = 0.0
        while True:
            scores = rows[-1].astype(np.float64)
            scores[config.get("suppress_tokens") or []] = -np.inf
            if not tokens:
                scores[config.get("begin_suppress_tokens") or []] = -np.inf
            tokens.append(int(scores.argmax()))
            total += log_softmax(scores)[tokens[-1]]
            if tokens[-1] == config["eos_token_id"] or len(tokens) == limit:
                return np.stack(rows), tokens, at_start, total / (len(tokens) + (tokens[-1] != config["eos_token_id"]))
            out = dict(zip(names, self.following.run(None, {"input_ids": np.array([[tokens[-1]]]), **past})))
            rows.append(out.pop("logits")[0, -1])
            past |= {k.replace("present", "past_key_values"): v for k, v in out.items()}


def margin(row):
    """How far the best logit is above the second."""
    second, best = np.partition(row, -2)[-2:]
    return best - second


def log_softmax(x):
    x = x - x[np.isfinite(x)].max()
    return x - np.log(np.exp(x).sum())


class Transformers:
    def __init__(self, folder, checkpoint):
        if checkpoint:
            self.model = WhisperForConditionalGeneration.from_pretrained(checkpoint).eval()
        else:
            from optimum.onnxruntime import ORTModelForSpeechSeq2Seq

            self.model = ORTModelForSpeechSeq2Seq.from_pretrained(folder)
        self.model.generation_config = GenerationConfig.from_pretrained(folder)

    @torch.no_grad()
    def greedy(self, mel, prompt, limit):
        features = torch.from_numpy(mel[None])
        spoken = {"language": "en", "task": "transcribe"} if self.model.generation_config.is_multilingual else {}
        ids = self.model.generate(features, do_sample=False, num_beams=1, return_timestamps=False, max_new_tokens=limit, **spoken)
        ids = ids[0].tolist()
        if ids[: len(prompt)] == prompt:  # some versions leave the prompt out
            ids = ids[len(prompt) :]
        end = self.model.generation_config.eos_token_id
        if end not in ids and len(ids) < limit:  # and the end token
            ids.append(end)
        ids = ids[: ids.index(end) + 1] if end in ids else ids
        return ids[:limit]  # after a pair of timestamps, unasked for, it goes on with what follows the latter in the window


def filtered(config, scores, tokens):
    """What the rules leave of one step's logits after some tokens, without and with timestamps."""
    step = config.no_timestamps_token_id + 1  # 0.00 s
    text = tokens[0]
    cases = [(tokens[:i], False) for i in (0, 1)]
    cases += [(before, True) for before in ([], [step + 5], [step + 5, text], [step + 5, text, step + 50], [step + 5, text, step + 50, step + 50])]
    rows = []
    for before, timestamps in cases:
        # Begin index 0: no prompt is given to the rules. Their order is that of transformers' Whisper.
        rules = [SuppressTokensAtBeginLogitsProcessor(config.begin_suppress_tokens, 0)] if config.begin_suppress_tokens else []
        rules += [SuppressTokensLogitsProcessor(config.suppress_tokens)] if config.suppress_tokens else []
        rules += [WhisperTimeStampLogitsProcessor(config, begin_index=0)] if timestamps else []
        row = torch.from_numpy(scores[None])
        for rule in rules:
            row = rule(torch.tensor([before], dtype=torch.long), row)
        rows.append(row[0].numpy())
    return [{"after": before, "timestamps": timestamps} for before, timestamps in cases], np.stack(rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("audio", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--checkpoint")
    p.add_argument("--rows", type=int, default=1000)
    p.add_argument("--max-new-tokens", type=int, default=32)
    p.add_argument("--only", nargs="*", help="the inputs to take, of those there are")
    a = p.parse_args()
    onnx, torch_model = Onnx(a.model), Transformers(a.model, a.checkpoint)
    tokenizer, extractor = WhisperTokenizerFast.from_pretrained(a.model), WhisperFeatureExtractor.from_pretrained(a.model)
    find, names = tokenizer.convert_tokens_to_ids, []
    config = GenerationConfig.from_pretrained(a.model)
    multilingual = config.is_multilingual
    prompt = find(["<|startoftranscript|>", *(["<|en|>", "<|transcribe|>"] if multilingual else []), "<|notimestamps|>"])
    no_speech_id = find("<|nospeech|>")
    for name, pcm in [*generated(), *samples(a.audio)]:
        if a.only and name not in a.only:
            continue
        pcm = pcm.astype(np.float32)
        mel = extractor(pcm, sampling_rate=RATE, return_tensors="np").input_features[0].astype(np.float32)
        encoded = onnx.encode(mel)
        rows, tokens, at_start, mean = onnx.greedy(encoded, prompt, a.max_new_tokens)
        margins = [margin(r) for r in rows]
        limit = next((i for i, m in enumerate(margins) if m < TIE), a.max_new_tokens)
        if limit == 0:
            print(f"{name}: left out, its first two choices are as good as equal")
            continue
        if limit < len(tokens):  # two tokens are as good as equal here: any reference would be arbitrary from now on
            rows, tokens, at_start, mean = onnx.greedy(encoded, prompt, limit)
        expected = torch_model.greedy(mel, prompt, limit)
        if tokens != expected:
            raise SystemExit(f"{name}: ONNX Runtime decodes {tokens}, transformers {expected}")
        folder = a.out / name
        folder.mkdir(parents=True, exist_ok=True)
        for key, array in (("pcm", pcm), ("mel", mel), ("encoder", encoded[0]), ("logits", rows[: a.rows])):
            np.save(folder / f"{key}.npy", np.ascontiguousarray(array, np.float32))
        start = log_softmax(at_start.astype(np.float64))
        heard = np.array([start[i] for i in config.lang_to_id.values()]) if multilingual else np.zeros(0)
        languages = dict(zip(config.lang_to_id, np.exp(heard - np.log(np.exp(heard).sum())).tolist())) if multilingual else {}
        cases, left = filtered(config, rows[0], tokens)
        np.save(folder / "filtered.npy", left.astype(np.float32))
        text = tokenizer.decode([t for t in tokens if t < find("<|endoftext|>")]).strip()
        (folder / "tokens.json").write_text(json.dumps({
            "prompt": prompt, "generated": tokens, "text": text, "max_new_tokens": limit,
            "no_speech_prob": float(np.exp(start)[no_speech_id]), "avg_logprob": float(mean),
            "languages": {code.strip("<|>"): p for code, p in languages.items()}, "filtered": cases,
        }, indent=1))  # fmt: skip
        names.append(name)
        print(f"{name}: {len(tokens)} tokens, {len(set(tokens))} different, least margin {min(margins[: len(tokens)]):.4f}: {text[:80]!r}")
    (a.out / "inputs.json").write_text(json.dumps(names))


if __name__ == "__main__":
    main()
