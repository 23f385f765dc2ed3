"""One engine, one model, so many threads: a line on standard input names what to do, a line on standard output tells its milliseconds.

    python worker.py ENGINE MODEL THREADS [--workers N]

The lines are those of `parlance-server bench --turns`: `encoder`, `step CONTEXT BEAMS`, `transcribe SECONDS TOKENS`,
`clients COUNT SECONDS TOKENS`; `-` where an engine has no such thing. It begins with `ready`. Each engine is used as its own users use it; a
window has as many tokens as are asked for, because the end of the text is forbidden before.
"""

import argparse
import concurrent.futures
import ctypes
import pathlib
import sys
import time

import numpy as np

RATE, WINDOW, STEPS = 16000, 30, 32
END, START, ENGLISH, TRANSCRIBE, PREVIOUS, NO_TIMESTAMPS = 50257, 50258, 50259, 50359, 50361, 50363
PROMPT = [START, ENGLISH, TRANSCRIBE, NO_TIMESTAMPS]


def noise(seconds):
    return np.random.default_rng(1).uniform(-0.1, 0.1, int(seconds * RATE)).astype(np.float32)


def prompt_of(context):
    """As many tokens as are asked for, the last of them to be read with the first step."""
    before = context - len(PROMPT) - 1
    return ([PREVIOUS] + [i % 100 for i in range(before - 1)] if before > 0 else []) + PROMPT


def likeliest(logits):
    logits[END:] = -np.inf
    return int(logits.argmax())


class Engine:
    """What every engine does the same way: a recording is windows of 30 s, one after another."""

    def clients(self, count, seconds, tokens):
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda _: self.transcribe(seconds, tokens), range(count)))

    def transcribe(self, seconds, tokens):
        sound = noise(seconds)
        for begin in range(0, len(sound), WINDOW * RATE):
            self.window(sound[begin : begin + WINDOW * RATE], tokens)


class FasterWhisper(Engine):
    """faster-whisper over CTranslate2; long recordings by its batched pipeline."""

    def __init__(self, model, threads, workers):
        import ctranslate2
        import faster_whisper

        kind = model.name.removeprefix("ct2-")
        each = max(1, threads // workers)
        self.model = faster_whisper.WhisperModel(str(model), "cpu", compute_type=kind, cpu_threads=each, num_workers=workers, local_files_only=True)
        self.batched = faster_whisper.BatchedInferencePipeline(self.model)
        self.features = lambda sound: self.model.feature_extractor(sound)
        self.view = ctranslate2.StorageView.from_array
        self.encoded = None

    def mel(self, seconds):
        from faster_whisper.audio import pad_or_trim

        return self.view(np.ascontiguousarray(pad_or_trim(self.features(noise(seconds)))[None]))

    def encoder(self):
        mel = self.mel(WINDOW)
        start = time.perf_counter()
        self.model.model.encode(mel, to_cpu=True)
        return time.perf_counter() - start

    def step(self, context, beams):
        self.encoded = self.encoded or self.model.model.encode(self.mel(5))
        prompt, took, counts = prompt_of(context), [], []
        for tokens in (1, 1 + STEPS):
            start = time.perf_counter()
            found = self.model.model.generate(self.encoded, [prompt], beam_size=beams, max_length=len(prompt) + tokens, suppress_tokens=[END], suppress_blank=False)
            took.append(time.perf_counter() - start)
            counts.append(len(found[0].sequences_ids[0]))
        return (took[1] - took[0]) / (counts[1] - counts[0])

    def transcribe(self, seconds, tokens):
        sound = noise(seconds)
        how = dict(language="en", beam_size=1, temperature=0.0, without_timestamps=True, suppress_tokens=[END], suppress_blank=False, max_new_tokens=tokens,
                   compression_ratio_threshold=None, log_prob_threshold=None, no_speech_threshold=None)  # fmt: skip
        if seconds > WINDOW:
            clips = [{"start": s, "end": min(s + WINDOW, seconds)} for s in range(0, int(seconds), WINDOW)]
            segments, _ = self.batched.transcribe(sound, batch_size=8, vad_filter=False, clip_timestamps=clips, **how)
        else:
            segments, _ = self.model.transcribe(sound, condition_on_previous_text=False, **how)
        list(segments)


class OnnxRuntime(Engine):
    """Optimum's export in ONNX Runtime, driven as optimum drives it."""

    def __init__(self, model, threads, workers):
        import onnxruntime
        from faster_whisper.feature_extractor import FeatureExtractor

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = max(1, threads // workers), 1
        folder = next(f for f in (model, model / "onnx") if (f / "encoder_model.onnx").exists())
        load = lambda name: onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])  # noqa: E731
        self.encode, self.first, self.following = (load(n) for n in ("encoder_model", "decoder_model", "decoder_with_past_model"))
        name = lambda session: [o.name.replace("present", "past_key_values") for o in session.get_outputs()]  # noqa: E731
        self.first_names, self.names = name(self.first), name(self.following)
        self.features, self.encoded = FeatureExtractor(), None
        self.workers = concurrent.futures.ThreadPoolExecutor(workers)

    def mel(self, sound):
        padded = np.zeros(WINDOW * RATE, np.float32)
        padded[: len(sound)] = sound
        return self.features(padded, padding=0)[None, :, :3000].astype(np.float32)

    def encoder(self):
        mel = self.mel(noise(WINDOW))
        start = time.perf_counter()
        self.encode.run(None, {"input_features": mel})
        return time.perf_counter() - start

    def read(self, encoded, prompt):
        past = dict(zip(self.first_names, self.first.run(None, {"input_ids": np.array([prompt]), "encoder_hidden_states": encoded})))
        return past.pop("logits")[0, -1], past

    def advance(self, ids, past):
        past |= zip(self.names, self.following.run(None, {"input_ids": ids, **past}))
        return past.pop("logits")[:, -1]

    def greedy(self, logits, past, steps):
        token = likeliest(logits)
        for _ in range(steps):
            token = likeliest(self.advance(np.array([[token]]), past)[0])

    def beams(self, logits, past, steps, beams):
        past = {name: np.repeat(value, beams, 0) for name, value in past.items()}
        scores, ids = np.zeros((beams, 1)), np.argsort(logits[:END])[-beams:, None]
        for _ in range(steps):
            logits = self.advance(ids.astype(np.int64), past)[:, :END]
            most = logits.max(1, keepdims=True)
            all_ = scores + logits - most - np.log(np.exp(logits - most).sum(1, keepdims=True))
            best = np.argpartition(all_.ravel(), -beams)[-beams:]
            beam, ids, scores = best // END, best % END, all_.ravel()[best][:, None]
            ids = ids[:, None]
            past = {name: value if "encoder" in name else value[beam] for name, value in past.items()}

    def step(self, context, beams):
        if self.encoded is None:
            self.encoded = self.encode.run(None, {"input_features": self.mel(noise(5))})[0]
        logits, past = self.read(self.encoded, prompt_of(context))
        start = time.perf_counter()
        self.greedy(logits, past, STEPS) if beams == 1 else self.beams(logits, past, STEPS, beams)
        return (time.perf_counter() - start) / STEPS

    def window(self, sound, tokens):
        encoded = self.encode.run(None, {"input_features": self.mel(sound)})[0]
        self.greedy(*self.read(encoded, PROMPT), tokens - 1)

    def clients(self, count, seconds, tokens):
        list(self.workers.map(lambda _: self.transcribe(seconds, tokens), range(count)))


class WhisperCpp(Engine):
    """whisper.cpp's library, built for this machine; greedy, by its own functions for a window's features, encoder and steps."""

    def __init__(self, model, threads, _):
        import _pywhispercpp  # noqa: F401  # loads the libraries

        self.lib = ctypes.CDLL("libwhisper.so.1")
        self.lib.whisper_init_from_file.restype = ctypes.c_void_p
        self.lib.whisper_get_logits.restype = ctypes.POINTER(ctypes.c_float)
        self.lib.whisper_get_logits.argtypes = [ctypes.c_void_p]
        self.lib.whisper_pcm_to_mel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
        self.lib.whisper_encode.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
        self.lib.whisper_decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
        self.context = self.lib.whisper_init_from_file(str(model).encode())
        if not self.context:
            raise SystemExit(f"whisper.cpp does not load {model}")
        self.vocabulary = self.lib.whisper_n_vocab(ctypes.c_void_p(self.context))
        self.threads, self.last = threads, None

    def listen(self, sound):
        self.last = None
        assert self.lib.whisper_pcm_to_mel(self.context, sound.ctypes.data, len(sound), self.threads) == 0

    def encode(self):
        assert self.lib.whisper_encode(self.context, 0, self.threads) == 0

    def decode(self, tokens, past):
        ids = np.array(tokens, np.int32)
        assert self.lib.whisper_decode(self.context, ids.ctypes.data, len(ids), past, self.threads) == 0
        rows = np.ctypeslib.as_array(self.lib.whisper_get_logits(self.context), (len(ids), self.vocabulary))
        return likeliest(rows[-1])

    def encoder(self):
        self.listen(noise(WINDOW))
        start = time.perf_counter()
        self.encode()
        return time.perf_counter() - start

    def step(self, context, beams):
        if beams > 1:
            return None  # its beam search cannot be stepped from outside
        if self.last != 5:
            self.listen(noise(5))
            self.encode()
            self.last = 5
        prompt = prompt_of(context)
        token = self.decode(prompt, 0)
        start = time.perf_counter()
        for i in range(STEPS):
            token = self.decode([token], len(prompt) + i)
        return (time.perf_counter() - start) / STEPS

    def window(self, sound, tokens):
        self.listen(sound)
        self.encode()
        token = self.decode(PROMPT, 0)
        for i in range(tokens - 1):
            token = self.decode([token], len(PROMPT) + i)

    def clients(self, count, seconds, tokens):
        for _ in range(count):
            self.transcribe(seconds, tokens)


ENGINES = {"faster-whisper": FasterWhisper, "onnxruntime": OnnxRuntime, "whisper.cpp": WhisperCpp}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("engine", choices=ENGINES)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("threads", type=int)
    p.add_argument("--workers", type=int, default=1)
    a = p.parse_args()
    engine = ENGINES[a.engine](a.model, a.threads, a.workers)
    print("ready", flush=True)
    for line in sys.stdin:
        name, *numbers = line.split()
        numbers = [float(n) if "." in n else int(n) for n in numbers]
        start = time.perf_counter()
        if name == "transcribe" and len(numbers) > 2:
            print("-", flush=True)  # no engine but ours has a tail
            continue
        own = getattr(engine, name)(*numbers)
        whole = time.perf_counter() - start
        if name in ("encoder", "step"):
            whole = own
        print("-" if whole is None else whole * 1000, flush=True)


if __name__ == "__main__":
    main()
