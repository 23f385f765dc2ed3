"""What the server holds of models of Whisper's sizes: the table of docs/scaling.md.

    python memory.py SERVER MODELS RESULTS PAGE SIZE...

In: the program, a folder with SIZE/onnx for each size, earlier results, and the page whose table is written again. For each size the server
is started with two threads, in single precision and in 8 bits, and asked to transcribe 65 s of noise, once and four times at once. Memory is
resident memory, in MiB, from /proc.
"""

import concurrent.futures
import json
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import wave

# Millions of parameters. Source: openai/whisper's `model-card.md`.
PARAMETERS = {"tiny": 39, "base": 74, "small": 244, "medium": 769, "large-v3": 1550, "large-v3-turbo": 809}
TABLE = re.compile(r"(<!-- memory: written by make bench-memory -->\n).*?(<!-- end of the table -->)", re.DOTALL)
# As many tokens as people say in 30 s; random weights know no end.
FLAGS = ["--threads", "2", "--max-concurrent", "4", "--max-new-tokens", "100", "--temperatures", "0", "--vad", "false", "--language", "en"]
FLAGS += ["--timeout", "1h"]


def noise(path, seconds=65):
    rng = random.Random(1)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(rng.randbytes(2 * 16000 * seconds))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def memory(pid, what):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return round(int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) / 1024)


def until_ready(server, port):
    while True:
        if server.poll() is not None:
            raise SystemExit(f"the server ended: {server.returncode}")
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)


def measured(program, model, precision, sound):
    port = free_port()
    command = [program, "serve", "--model", model, "--model-name", "any", "--precision", precision, *FLAGS]
    command += ["--http-addr", f"127.0.0.1:{port}", "--grpc-addr", f"127.0.0.1:{free_port()}", "--log-level", "warn"]
    server = subprocess.Popen(command)
    try:
        until_ready(server, port)
        found = {"loading": memory(server.pid, "VmHWM")}
        url = f"http://127.0.0.1:{port}/v1/audio/transcriptions"
        ask = ["curl", "-sS", "--fail-with-body", "-o", "/dev/null", "-F", f"file=@{sound}", "-F", "model=any", url]
        subprocess.run(ask, check=True)
        found["one"] = memory(server.pid, "VmRSS")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: subprocess.run(ask, check=True), range(4)))
        found["four"] = memory(server.pid, "VmRSS")
        return found
    finally:
        server.terminate()
        server.wait()


def row(size, precision, found):
    name = size if precision == "f32" else f"{size}, `precision: {precision}`"
    return f"| {name} | {PARAMETERS[size]} M | {found['files']} | {found['loading']} | {found['one']} | {found['four']} |\n"


def main(program, models, results, page, *sizes):
    results, page = pathlib.Path(results), pathlib.Path(page)
    known = json.loads(results.read_text()) if results.exists() else {}
    with tempfile.NamedTemporaryFile(suffix=".wav") as sound:
        noise(sound.name)
        for size in sizes:
            model = pathlib.Path(models) / size / "onnx"
            for kept in model.glob(".prepacked-*"):
                kept.unlink()  # of make bench: what loading the graphs needs is measured
            files = sum(file.stat().st_size for file in model.rglob("*") if file.is_file()) >> 20
            known[size] = {p: {"files": files, **measured(program, model, p, sound.name)} for p in ("f32", "int8")}
            print(size, known[size], flush=True)
            results.write_text(json.dumps(known, indent=1))
    head = "| model | parameters | files | most, while it loads | after transcribing | four at once |\n| --- | --- | --- | --- | --- | --- |\n"
    rows = "".join(row(size, p, found) for size in PARAMETERS if size in known for p, found in known[size].items())
    page.write_text(TABLE.sub(rf"\g<1>\n{head}{rows}\n\g<2>", page.read_text()))


if __name__ == "__main__":
    main(*sys.argv[1:])
