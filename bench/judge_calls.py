"""Calls of a judge at once: an endpoint of rlllm beside one connection a call in a thread, over urllib; plain and over TLS.

    python bench/judge_calls.py [--calls 512] [--parallel 256] [--seconds 0.5] [--rounds 3]

The server is a process of its own that answers each call after some time, as a judge does, and counts the connections. Its
certificate is made for the run (`openssl` has to be there). Both ways send the same prompts and check every reply. They take
turns, so that what else the machine does hits both; the table has the best round of each. `urllib` is how judges were asked
before: a thread and a new connection for each call, and a thread that ends it at its deadline.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from results_file import add_output, write_results

from rlllm.rewards.http.endpoint import Endpoint

Way = Callable[[str, Sequence[str], int], list[Any]]


def over_urllib(url: str, prompts: Sequence[str], parallel: int) -> list[Any]:
    """A thread for each call under way, and a connection for each call."""

    def ask(prompt: str) -> str:
        body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
        request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), method="POST")
        clock = threading.Timer(60, lambda: None)
        clock.start()
        with urllib.request.urlopen(request, timeout=60) as response:
            content = response.read()
        clock.cancel()
        return str(json.loads(content)["choices"][0]["message"]["content"])

    with ThreadPoolExecutor(parallel) as threads:
        return list(threads.map(ask, prompts))


def over_endpoint(url: str, prompts: Sequence[str], parallel: int) -> list[Any]:
    """rlllm's endpoint: connections that are kept, on one event loop."""
    return list(Endpoint(url, "m", parallel=parallel, retries=0).complete(prompts))


class Judge:
    """The server, as the child process runs it: replies with the prompt after a pause. `GET` tells the connections so far."""

    def __init__(self, seconds: float, certificate: str | None) -> None:
        self.seconds, self.certificate, self.connections = seconds, certificate, 0

    async def serve(self) -> None:
        """Print the port, then serve for ever."""
        context = None
        if self.certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self.certificate)
        server = await asyncio.start_server(self.connected, "127.0.0.1", 0, backlog=1024, ssl=context)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            is_counted = False
            while head := await reader.readuntil(b"\r\n\r\n"):
                if head.startswith(b"GET"):
                    content, closing = str(self.connections).encode(), True
                else:
                    self.connections += not is_counted
                    is_counted = True
                    content, closing = await self.reply(reader, head), b"connection: close" in head.lower()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content))
                await writer.drain()
                if closing:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def reply(self, reader: asyncio.StreamReader, head: bytes) -> bytes:
        """The prompt as the judge's reply."""
        size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        prompt = json.loads(await reader.readexactly(size))["messages"][0]["content"]
        await asyncio.sleep(self.seconds)
        return json.dumps({"choices": [{"message": {"content": prompt}}]}).encode()


def measured(way: Way, url: str, prompts: Sequence[str], parallel: int) -> dict[str, float]:
    """Wall and processor seconds of one round, and the connections that the server counted."""
    connections, used = connected(url), processor_seconds()
    start = time.perf_counter()
    replies = way(url, prompts, parallel)
    seconds = time.perf_counter() - start
    assert replies == list(prompts)
    return {
        "seconds": seconds,
        "calls_per_second": len(prompts) / seconds,
        "processor_seconds": processor_seconds() - used,
        "connections": connected(url) - connections,
    }


def connected(url: str) -> int:
    """Connections that the server has had."""
    with urllib.request.urlopen(url, timeout=60) as response:
        return int(response.read())


def processor_seconds() -> float:
    """Of this process, the server not included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def new_certificate(folder: str) -> str:
    """A file with a key and a certificate for 127.0.0.1, which this process trusts from now on."""
    place = os.path.join(folder, "server.pem")
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", place, "-out", f"{place}.crt"], check=True, capture_output=True)
    with open(place, "a") as file, open(f"{place}.crt") as certificate:
        file.write(certificate.read())
    os.environ["SSL_CERT_FILE"] = f"{place}.crt"
    return place


def compared(given: argparse.Namespace, certificate: str | None) -> list[dict[str, Any]]:
    """The best round of each way, over TLS where there is a certificate."""
    ways: dict[str, Way] = {"urllib, before": over_urllib, "httpx, now": over_endpoint}
    words = [sys.executable, __file__, "--serve", "--seconds", str(given.seconds), "--certificate", certificate or ""]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url = f"http{'s' if certificate else ''}://127.0.0.1:{int(server.stdout.readline())}"
            for number in range(given.rounds):
                for name, way in ways.items():
                    prompts = [f"round {number}, prompt {index}: {'x' * 1000}" for index in range(given.calls)]
                    found[name].append(measured(way, url, prompts, given.parallel))
        finally:
            server.kill()
    rows = []
    for name, rounds in found.items():
        best = min(rounds, key=lambda one: one["seconds"])
        cost = 1000 * min(one["processor_seconds"] for one in rounds) / given.calls
        most = max(one["connections"] for one in rounds)
        row = {"way": name, "over": "TLS" if certificate else "plain", "processor_ms": cost, "connections": most}
        rows.append({**row, "calls_per_second": best["calls_per_second"]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=512)
    parser.add_argument("--parallel", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=0.5, help="the judge's time for one reply")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--certificate", help=argparse.SUPPRESS)
    add_output(parser)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(Judge(given.seconds, given.certificate).serve())
    with tempfile.TemporaryDirectory() as folder:
        certificate = new_certificate(folder)
        rows = [*compared(given, None), *compared(given, certificate)]
    print("| way | over | calls/s | processor ms a call | connections |\n|---|---|---|---|---|")
    for row in rows:
        print("| {way} | {over} | {calls_per_second:.0f} | {processor_ms:.2f} | {connections:.0f} |".format(**row))
    results = {"calls": given.calls, "parallel": given.parallel, "reply_seconds": given.seconds, "ways": rows}
    write_results(
        given.output, results, sources=["src/rlllm/rewards/http", "src/rlllm/rewards/isolation/concurrency.py"]
    )


if __name__ == "__main__":
    main()
