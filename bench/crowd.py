"""64 clients at once against one server: latencies of the answers, refusals by status, and the server's memory.

    crowd.py SERVER AUDIO [--clients 64] [--seconds 300]

First one client alone measures the capacity; then all of them ask without a pause, and wait as long as a refusal says. Anything
but 200 and 429 is a fault, and ends the run with exit code 1.
"""

import argparse
import asyncio
import collections
import pathlib
import socket
import statistics
import subprocess
import sys
import time

import httpx2 as httpx


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def resident(pid):
    """Memory of a process, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024


async def ask(client, url, name, audio):
    form = {"file": (name, audio)}
    return await client.post(f"{url}/v1/audio/transcriptions", files=form, data={"language": "en"})


async def crowd(client, url, name, audio, clients, seconds, pid):
    until = time.monotonic() + seconds
    took, statuses, memory = [], collections.Counter(), []

    async def one():
        while time.monotonic() < until:
            began = time.monotonic()
            answer = await ask(client, url, name, audio)
            statuses[answer.status_code] += 1
            if answer.status_code == 200:
                took.append(time.monotonic() - began)
            else:
                await asyncio.sleep(float(answer.headers.get("retry-after", 1)))

    async def watch():
        while time.monotonic() < until:
            memory.append(resident(pid))
            await asyncio.sleep(max(seconds / 30, 0.5))

    await asyncio.gather(watch(), *(one() for _ in range(clients)))
    return took, statuses, memory


async def run(options):
    http, grpc = free_port(), free_port()
    url = f"http://127.0.0.1:{http}"
    command = [options.server, "serve", f"--http-addr=127.0.0.1:{http}", f"--grpc-addr=127.0.0.1:{grpc}", "--log-level=error"]
    server = subprocess.Popen(command)
    try:
        limits = httpx.Limits(max_connections=options.clients)
        async with httpx.AsyncClient(timeout=120, limits=limits) as client:
            while True:
                try:
                    if (await client.get(f"{url}/health/ready")).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)
            audio = options.audio.read_bytes()
            alone = []
            for _ in range(20):
                began = time.monotonic()
                (await ask(client, url, options.audio.name, audio)).raise_for_status()
                alone.append(time.monotonic() - began)
            capacity = 1 / statistics.median(alone)
            print(f"alone: {statistics.median(alone):.3f} s an answer, {capacity:.1f} a second; {resident(server.pid):.0f} MiB")
            took, statuses, memory = await crowd(
                client, url, options.audio.name, audio, options.clients, options.seconds, server.pid
            )
    finally:
        server.terminate()
        server.wait()
    took.sort()
    asked = sum(statuses.values()) / options.seconds
    p = lambda share: took[min(len(took) - 1, int(share * len(took)))]
    print(f"{options.clients} clients, {options.seconds:.0f} s: asked {asked:.1f} times a second ({asked / capacity:.1f} x capacity)")
    print(f"answers: {len(took)} ({len(took) / options.seconds:.1f} a second), p50 {p(0.5):.2f} s, p99 {p(0.99):.2f} s")
    print(f"by status: {dict(statuses)}")
    third = len(memory) // 3
    print(f"memory: {max(memory[:third]):.0f} MiB in the first third, {max(memory[-third:]):.0f} in the last")
    return 0 if set(statuses) <= {200, 429} else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("audio", type=pathlib.Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=300)
    sys.exit(asyncio.run(run(parser.parse_args())))
