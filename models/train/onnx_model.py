"""The exported model as a server runs it: the three ONNX files, the tokenizer, and nothing of torch.

Greedy decoding with the suppression lists of generation_config.json and Whisper's no-speech rule.
"""

import json
import pathlib

import numpy as np
import onnxruntime
from transformers import WhisperFeatureExtractor, WhisperTokenizerFast

NO_SPEECH, LOW = 0.6, -1.0


class OnnxWhisper:
    def __init__(self, folder, threads=2):
        folder = pathlib.Path(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.encoder, self.first, self.next = (
            onnxruntime.InferenceSession(str(folder / f"{n}_model.onnx"), options, ["CPUExecutionProvider"]) for n in ("encoder", "decoder", "decoder_with_past")
        )
        self.tokenizer = WhisperTokenizerFast.from_pretrained(folder)
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)
        self.config = json.loads((folder / "generation_config.json").read_text())

    def encode(self, sound):
        mel = self.extractor(sound, sampling_rate=16000, return_tensors="np").input_features
        return self.encoder.run(None, {"input_features": mel})[0]

    def decode(self, encoded, prompt, limit=220):
        """The tokens after the prompt, their mean log-probability, and the no-speech probability at the start token."""
        c, no_speech_id = self.config, self.tokenizer.convert_tokens_to_ids("<|nospeech|>")
        outputs = [o.name for o in self.first.get_outputs()]
        result = dict(zip(outputs, self.first.run(None, {"input_ids": np.array([prompt]), "encoder_hidden_states": encoded})))
        no_speech = float(np.exp(log_softmax(result["logits"][0, 0]))[no_speech_id])
        past = {n.replace("present", "past_key_values"): v for n, v in result.items() if n != "logits"}
        logits, tokens, total = result["logits"][0, -1], [], 0.0
        names = [o.name for o in self.next.get_outputs()]
        while True:
            banned = list(c.get("suppress_tokens") or []) + (list(c.get("begin_suppress_tokens") or []) if not tokens else [])
            scores = logits.copy()
            scores[banned] = -np.inf
            token = int(scores.argmax())
            total += float(log_softmax(scores)[token])
            if token == c["eos_token_id"] or len(tokens) == limit:
                return tokens, total / (len(tokens) + 1), no_speech
            tokens.append(token)
            result = dict(zip(names, self.next.run(None, {"input_ids": np.array([[token]]), **past})))
            logits = result.pop("logits")[0, -1]
            past.update({n.replace("present", "past_key_values"): v for n, v in result.items()})

    def prompt(self, language="en", task="transcribe", timestamps=False):
        tail = [] if timestamps else ["<|notimestamps|>"]
        return self.tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", f"<|{language}|>", f"<|{task}|>", *tail])

    def transcribe(self, sound):
        tokens, mean, no_speech = self.decode(self.encode(sound), self.prompt())
        if no_speech > NO_SPEECH and mean < LOW:
            return ""
        return self.tokenizer.decode(tokens, skip_special_tokens=True).strip()


def log_softmax(x):
    x = x.astype(np.float64) - x.max()
    return x - np.log(np.exp(x).sum())
