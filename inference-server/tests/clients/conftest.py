"""What the tests share: the real server on loopback with the bundled model, recordings, and what is said in them."""

import array
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.request
import wave

import pytest

REPO = pathlib.Path(__file__).resolve().parents[3]
MODEL = REPO / "models/whisper-nano-digits"
SAMPLES = MODEL / "samples"
AUDIO = REPO / "inference-server/tests/audio"
TENSORS = REPO / "inference-server/tests/tensors"


class Server:
    """A server process on free ports."""

    def __init__(self, *flags, model=MODEL, format="whisper"):
        command = [os.environ["PARLANCE_SERVER"], "serve", "--model", str(model), "--log-format", "json"]
        command += ["--format", format]
        command += ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            said = json.loads(line)
            if said["message"] == "listening":
                self.address, self.grpc = said["http"], said["grpc"]
                self.url = f"http{'s' if said['tls'] else ''}://{self.address}"
            if said["message"] == "ready":
                break
        else:
            raise RuntimeError("the server ended before it was ready")
        # Nobody reads on, and a full pipe would stop it.
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def metric(self, name):
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[1])
        return 0.0

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.drain.wait()

    @contextlib.contextmanager
    def occupied(self):
        """An upload that never ends, and holds its place in the queue."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\n"
                b"content-type: multipart/form-data; boundary=XX\r\n\r\n--XX\r\n"
            )
            deadline = time.monotonic() + 30
            while self.metric("parlance_requests_running") + self.metric("parlance_requests_queued") < 1:
                assert time.monotonic() < deadline, "the upload never took its place"
                time.sleep(0.02)
            yield


@pytest.fixture(scope="session")
def server():
    """The server that most tests use."""
    started = Server()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def secure(tmp_path_factory):
    """A server with TLS, and the certificate to trust."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "tls.crt", folder / "tls.key"
    names = "subjectAltName=IP:127.0.0.1"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=parlance", "-addext", names, "-keyout", key, "-out", cert]
    subprocess.run(make, check=True, capture_output=True)
    started = Server("--tls-cert", str(cert), "--tls-key", str(key))
    started.certificate = cert
    yield started
    started.stop()


@pytest.fixture
def serve():
    """Starts servers with flags of their own."""
    started = []

    def start(*flags, **options):
        started.append(Server(*flags, **options))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def said_in(name):
    """What samples.jsonl says of a recording that the bundled model transcribes exactly."""
    for line in (SAMPLES / "samples.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["file"] == name:
            assert entry["clear"], f"{name} is not one that is transcribed exactly"
            return entry["text"]
    raise KeyError(name)


def pcm(name, rate):
    """A recording's samples as mono integers of 16 bits at another rate, straight lines drawn between them."""
    with wave.open(str(SAMPLES / name)) as file:
        assert file.getsampwidth() == 2
        channels, own = file.getnchannels(), file.getframerate()
        samples = array.array("h", file.readframes(file.getnframes()))
    mono = [sum(samples[at : at + channels]) / channels for at in range(0, len(samples), channels)]
    mono.append(mono[-1])
    out = array.array("h")
    for number in range(int((len(mono) - 1) * rate / own)):
        at, rest = divmod(number * own, rate)
        out.append(round(mono[at] + (mono[at + 1] - mono[at]) * rest / rate))
    return out


def pytest_terminal_summary(terminalreporter, config):
    """The line that e2e/cluster/test.sh counts."""
    counted = {name: len(terminalreporter.stats.get(name, [])) for name in ("passed", "failed", "error", "skipped")}
    failed = counted["failed"] + counted["error"]
    terminalreporter.write_line(f"clients: {counted['passed']} passed, {failed} failed, {counted['skipped']} skipped")
