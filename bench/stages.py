"""Times encoder and decoder step of one model in our engine and in ONNX Runtime, turn by turn, and prints the ratios.

    python stages.py PROGRAM MODEL_DIR AUDIO_FILE --threads 1 --rounds 10

In: the built example `stages`, a model directory in our layout, any recording that the example reads.
Out: a table on standard output; the same as JSON with --json FILE.
The engines take turns, so that what else the machine does hits both; the least and the median of the rounds are given.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import time

import numpy as np
import onnxruntime

STEPS = 32  # as in the example


class Ours:
    def __init__(self, program, model, audio, threads):
        self.process = subprocess.Popen([program, model, str(threads), audio], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{program} did not start")

    def time(self, stage):
        self.process.stdin.write(stage + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


class Onnx:
    """The same graphs in ONNX Runtime, as optimum runs them."""

    def __init__(self, model, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        folder = next(f for f in (model, model / "onnx") if (f / "encoder_model.onnx").exists())
        load = lambda name: onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])  # noqa: E731
        self.encoder, self.first, self.following = (load(n) for n in ("encoder_model", "decoder_model", "decoder_with_past_model"))
        config = json.loads((model / "config.json").read_text())
        self.start, bins = config["decoder_start_token_id"], config["num_mel_bins"]
        self.mel = np.random.default_rng(1).normal(-0.5, 0.3, (1, bins, 2 * config["max_source_positions"])).astype(np.float32)
        self.encoded = self.encoder.run(None, {"input_features": self.mel})[0]

    def time(self, stage):
        if stage == "encoder":
            start = time.perf_counter()
            self.encoder.run(None, {"input_features": self.mel})
            return (time.perf_counter() - start) * 1000
        names = [o.name.replace("present", "past_key_values") for o in self.following.get_outputs()]
        first = [o.name.replace("present", "past_key_values") for o in self.first.get_outputs()]
        prompt = np.array([[self.start] * 4])
        past = dict(zip(first, self.first.run(None, {"input_ids": prompt, "encoder_hidden_states": self.encoded})))
        past.pop("logits")
        start = time.perf_counter()
        for _ in range(STEPS):
            past |= zip(names, self.following.run(None, {"input_ids": np.array([[self.start]]), **past}))
            past.pop("logits")
        return (time.perf_counter() - start) * 1000 / STEPS


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("audio")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--rounds", type=int, default=10)
    p.add_argument("--json", type=pathlib.Path)
    a = p.parse_args()
    engines = {"ours": Ours(a.program, str(a.model), a.audio, a.threads), "onnxruntime": Onnx(a.model, a.threads)}
    times = {(stage, engine): [] for stage in ("encoder", "decoder") for engine in engines}
    for round in range(a.rounds + 1):
        for (stage, engine), values in times.items():
            value = engines[engine].time(stage)
            if round > 0:  # the first warms up
                values.append(value)
    result = {"model": str(a.model), "threads": a.threads, "rounds": a.rounds, "milliseconds": {}, "ratio": {}}
    name = "/".join(a.model.resolve().parts[-2:])
    print(f"{name}, {a.threads} thread(s), {a.rounds} rounds; ms; decoder: one step, past 4 to {4 + STEPS}")
    for stage in ("encoder", "decoder"):
        ours, theirs = times[stage, "ours"], times[stage, "onnxruntime"]
        ratio = statistics.median(o / t for o, t in zip(ours, theirs))
        result["milliseconds"][stage] = {e: {"least": min(v), "median": statistics.median(v)} for e, v in (("ours", ours), ("onnxruntime", theirs))}
        result["ratio"][stage] = ratio
        print(f"{stage:8} ours {min(ours):8.2f} least {statistics.median(ours):8.2f} median | "
              f"onnxruntime {min(theirs):8.2f} least {statistics.median(theirs):8.2f} median | ours / onnxruntime {ratio:.2f}")  # fmt: skip
    if a.json:
        a.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
