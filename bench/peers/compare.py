"""Measures our server and its peers on one model, turn by turn, and adds the figures to a file.

    python compare.py SERVER MODELS RESULTS --size tiny --threads 1 --rounds 5 [--long] [--engines NAME ...] [--only THING ...]

In: `parlance-server`, the folder that `models.py` filled (one folder a size). Out: RESULTS, JSON: for each size and number of threads, each
thing measured, and each engine, the milliseconds of all rounds; memory in MiB; what this machine does at most.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
OURS = {"parlance f32": "f32", "parlance bf16": "bf16", "parlance int8": "int8"}
PEERS = {
    "faster-whisper f32": ("faster-whisper", "ct2-float32"), "faster-whisper int8": ("faster-whisper", "ct2-int8"),
    "ONNX Runtime f32": ("onnxruntime", "onnx"), "ONNX Runtime int8": ("onnxruntime", "onnx-int8"),
    "whisper.cpp f16": ("whisper.cpp", "ggml-f16.bin"), "whisper.cpp q8_0": ("whisper.cpp", "ggml-q8_0.bin"), "whisper.cpp q5_0": ("whisper.cpp", "ggml-q5_0.bin"),
}  # fmt: skip
SHORT = ["encoder", "step 10 1", "step 100 1", "step 200 1", "step 10 5", "step 200 5", "transcribe 30 60", "transcribe 5 12", "transcribe 5 12 2"]
LONG = ["transcribe 600 60", "clients 4 30 60", "clients 16 30 60"]


class Worker:
    """A process that answers a line with a figure."""

    def __init__(self, command):
        start = time.monotonic()
        # Each engine counts its threads itself.
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline().strip()
        if line != "ready":
            raise SystemExit(f"{' '.join(map(str, command))}: it did not start: {line}")
        self.ready = (time.monotonic() - start) * 1000

    def time(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{self.process.args}: it ended at {what}")
        return None if line == "-" else float(line)

    def memory(self):
        """The most that the process ever had in memory, in MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def command(name, a, workers=1):
    model = a.models / a.size
    if name in OURS:
        return [a.server, "bench", "--turns", "--model", model / "onnx", "--threads", str(a.threads), "--precision", OURS[name]]
    engine, folder = PEERS[name]
    return [sys.executable, HERE / "worker.py", engine, model / folder, str(a.threads), "--workers", str(workers)]


def prepack(name, a, figures):
    """Starts ours without its file of weights in order, then writes that, as the peers' files were converted before."""
    folder = a.models / a.size / "onnx"
    for kept in folder.glob(f".prepacked-*-{OURS[name]}-*"):
        kept.unlink()
    for _ in range(a.rounds):
        worker = Worker(command(name, a))
        figures.setdefault("first", {}).setdefault(name, []).append(worker.ready)
        worker.close()
    subprocess.run([a.server, "fetch", "--from", folder, "--prepack", OURS[name]], check=True, stdout=subprocess.DEVNULL)


def alone(name, a, figures):
    """What each needs when it is alone: until it is ready, and the most memory while it transcribes a window."""
    if name in OURS:
        prepack(name, a, figures)
    for _ in range(a.rounds):
        worker = Worker(command(name, a))
        figures.setdefault("ready", {}).setdefault(name, []).append(worker.ready)
        worker.time("transcribe 30 60")
        figures.setdefault("memory", {}).setdefault(name, []).append(worker.memory())
        worker.close()


def turns(what, engines, a, figures, workers=1):
    for thing in what:
        figures.pop(thing, None)
    running = {name: Worker(command(name, a, workers)) for name in engines}
    for round in range(a.rounds + 1):
        for thing in what:
            if round == 0 and thing in LONG:
                continue  # long enough not to need to be warmed up
            for name, worker in running.items():
                value = worker.time(thing)
                if round > 0 and value is not None:
                    figures.setdefault(thing, {}).setdefault(name, []).append(value)
        print(f"  {a.size}, {a.threads} thread(s): round {round} of {a.rounds}", file=sys.stderr)
    for worker in running.values():
        worker.close()


def machine(a):
    worker = Worker(command("parlance f32", a))
    peaks = {what: worker.time(what) for what in ("peak f32", "peak bf16", "peak int8", "bandwidth")}
    worker.close()
    names = [line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {"processor": names[0] if names else platform.machine(), "processors": os.cpu_count(), "peaks": peaks}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("server", type=pathlib.Path)
    p.add_argument("models", type=pathlib.Path)
    p.add_argument("results", type=pathlib.Path)
    p.add_argument("--size", default="tiny")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--long", action="store_true", help="ten minutes, and many clients, instead of single windows")
    p.add_argument("--engines", nargs="*", default=[*OURS, *PEERS])
    p.add_argument("--only", nargs="*", help="these alone again, such as encoder 'step 10 1'; whatever else was measured stays")
    a = p.parse_args()
    results = json.loads(a.results.read_text()) if a.results.exists() else {}
    results.setdefault("machine", {})[str(a.threads)] = machine(a)
    figures = results.setdefault(a.size, {}).setdefault(str(a.threads), {})
    if a.only:
        turns(a.only, a.engines, a, figures)
    elif a.long:
        for what, workers in ((LONG[:1], 1), (LONG[1:], a.threads)):
            turns(what, a.engines, a, figures, workers)
    else:
        for thing in ("first", "ready", "memory"):
            figures.pop(thing, None)
        for name in a.engines:
            alone(name, a, figures)
        turns(SHORT, a.engines, a, figures)
    a.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
