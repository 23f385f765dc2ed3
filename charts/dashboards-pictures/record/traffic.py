#!/usr/bin/env python3
"""Plays the callers of the services in services.yaml, the web server of their models, and the GPUs that no machine here has.

traffic.py SAMPLES MODEL ADDRESS MINUTES

Recordings of SAMPLES are sent over HTTP and gRPC at rates that rise and fall. On ADDRESS (host:port) the files of MODEL are served slowly,
and /metrics gives dcgm-exporter's gauges for the pods of `calls`: numbers made up here, nothing else of the pictures is.
"""

import base64
import collections
import functools
import http.server
import json
import math
import pathlib
import random
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid

SAMPLES, MODEL, ADDRESS, MINUTES = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
BEGAN = time.monotonic()
SHORT = ["three-digits-16k.wav", "four-digits-8k.wav", "eight-digits-16k.flac", "two-digits-48k-stereo.wav", "late-start-16k.flac"]
LONG = ["long-16k.flac"]
METHOD = "parlance.v1.Transcription/"
counts = collections.Counter()


def minutes():
    return (time.monotonic() - BEGAN) / 60


def kubectl(*arguments):
    return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=False).stdout


@functools.cache
def address(service, port):
    path = f'jsonpath={{.spec.clusterIP}}:{{.spec.ports[?(@.name=="{port}")].port}}'
    namespace, name = service.split("/")
    found = kubectl("--namespace", namespace, "get", "service", name, "--output", path)
    if not found:
        raise OSError(f"{service} is not there yet")
    return found


@functools.lru_cache(maxsize=1)
def pods_of_calls(_when):
    return sorted(kubectl("--namespace", "speech", "get", "pods", "--selector", "parlance.dev/name=calls", "--output", "name").split())


def audio(name):
    return b"this is no audio" if name == "broken.wav" else (SAMPLES / name).read_bytes()


def over_http(service, name):
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = head.encode() + audio(name) + f"\r\n--{boundary}--\r\n".encode()
    url = f"http://{address(service, 'http')}/v1/audio/transcriptions"
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=120) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def over_grpc(service, method, messages, patience=60):
    text = "\n".join(json.dumps(message) for message in messages)
    command = ["grpcurl", "-plaintext", "-max-time", str(patience), "-d", "@", address(service, "grpc"), METHOD + method]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).returncode


def encoded(name):
    return base64.b64encode(audio(name)).decode()


def stream(service, name):
    whole = audio(name)
    pieces = [base64.b64encode(whole[at : at + 16384]).decode() for at in range(0, len(whole), 16384)]
    return over_grpc(service, "StreamingTranscribe", [{"config": {"interim_results": True}}, *({"audio": piece} for piece in pieces)])


def one(what, service, names):
    name = random.choice(names)
    try:
        if what == "http":
            code = over_http(service, name)
        elif what == "stream":
            code = stream(service, name)
        elif what == "hasty":
            code = over_grpc(service, "Transcribe", [{"audio": encoded(name)}], 0.5)
        else:
            code = over_grpc(service, what, [{"audio": encoded(name)}])
    except OSError as error:
        code = type(error).__name__
    counts[f"{service} {what} {code}"] += 1


def callers(rate, *request):
    """Requests that come by chance, `rate(minute)` a second."""
    while minutes() < MINUTES:
        wanted = max(rate(minutes()), 0)
        time.sleep(random.expovariate(wanted) if wanted > 0.02 else 1)
        if wanted > 0.02 and threading.active_count() < 80:
            threading.Thread(target=one, args=request, daemon=True).start()


def wave(mean, swing, period, since=0.0, until=math.inf):
    return lambda now: mean + swing * math.sin(2 * math.pi * now / period) if since <= now < until else 0


class Web(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def gpus(self):
        pods = pods_of_calls(int(minutes() * 3))
        lines = []
        for number, pod in enumerate(pods):
            labels = f'{{gpu="{number}",modelName="Tesla T4",namespace="speech",pod="{pod.removeprefix("pod/")}",container="server"}}'
            used = 15360 * (0.42 + 0.11 * number + 0.05 * math.sin(minutes() * 1.3 + number) + min(minutes(), 8) * 0.025)
            use = 55 + 12 * number + 25 * math.sin(2 * math.pi * minutes() / 5 + number) + random.uniform(-6, 6)
            lines += [f"DCGM_FI_DEV_FB_USED{labels} {used:.0f}", f"DCGM_FI_DEV_FB_FREE{labels} {15360 - used:.0f}"]
            lines.append(f"DCGM_FI_DEV_GPU_UTIL{labels} {min(max(use, 0), 100):.0f}")
        return "\n".join(lines) + "\n"

    def do_GET(self):
        if self.path == "/metrics":
            content = self.gpus().encode()
        elif (MODEL / self.path.lstrip("/")).is_file():
            content = (MODEL / self.path.lstrip("/")).read_bytes()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain" if self.path == "/metrics" else "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            for at in range(0, len(content), 65536):
                self.wfile.write(content[at : at + 65536])
                if self.path != "/metrics":
                    time.sleep(0.4)
        except OSError:
            pass


def main():
    host, port = ADDRESS.rsplit(":", 1)
    web = http.server.ThreadingHTTPServer((host, int(port)), Web)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    crowd = [
        (wave(1.2, 0.8, 6), "http", "speech/calls", SHORT),
        (wave(0.3, 0.2, 4), "Transcribe", "speech/calls", SHORT),
        (wave(0.15, 0.05, 3), "stream", "speech/calls", SHORT),
        (wave(0.1, 0.05, 5), "DetectLanguage", "speech/calls", SHORT),
        (wave(0.05, 0.03, 5), "http", "speech/calls", ["broken.wav"]),
        (wave(0.08, 0.05, 5), "http", "speech/archive", LONG),
        (wave(0.5, 0.0, 5, 9, 11), "http", "speech/archive", LONG),
        (wave(0.15, 0.1, 5), "Transcribe", "speech/archive", SHORT),
        (wave(0.6, 0.3, 5, 2.5), "http", "speech/front-desk", SHORT),
        (wave(2.5, 0.0, 5, 6, 10), "http", "speech/front-desk", SHORT),
        (wave(0.3, 0.1, 4, 1.5), "http", "lab/digits-model", SHORT),
        (wave(0.05, 0.0, 4, 6), "hasty", "speech/archive", LONG),
    ]
    threads = [threading.Thread(target=callers, args=each, daemon=True) for each in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(f"{count:6} {what}" for what, count in sorted(counts.items())))


main()
