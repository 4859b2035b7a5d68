"""A small server of the SandboxFusion protocol: `POST /run_code` runs a Python program in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class RunCode(ThreadingHTTPServer):
    """Runs what it is sent, and keeps it: `programs` holds the source and the standard input of each request."""

    request_queue_size = 64
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.programs: list[tuple[str, str]] = []
        self.failures = 0
        """Requests that are still to be answered with `SandboxError`."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: RunCode

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/run_code"
        assert body["language"] == "python"
        reply: dict[str, Any]
        if self.server.failures:
            self.server.failures -= 1
            reply = {
                "status": "SandboxError",
                "message": "no room",
                "compile_result": None,
                "run_result": None,
                "files": {},
            }
        else:
            self.server.programs.append((body["code"], body["stdin"]))
            reply = _run(body)
        raw = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


def _run(body: dict[str, Any]) -> dict[str, Any]:
    start = time.monotonic()
    result: dict[str, Any] = {"status": "Finished", "return_code": None, "stdout": "", "stderr": ""}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "program.py"
        place.write_text(body["code"], encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, place],
                input=body["stdin"] or "",
                capture_output=True,
                text=True,
                errors="replace",
                timeout=body["run_timeout"],
                cwd=folder,
            )
            result |= {"return_code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
        except subprocess.TimeoutExpired:
            result |= {"status": "TimeLimitExceeded"}
    result["execution_time"] = time.monotonic() - start
    status = "Success" if result["return_code"] == 0 else "Failed"
    return {"status": status, "message": "", "compile_result": None, "run_result": result, "files": {}}


@contextmanager
def serving() -> Iterator[RunCode]:
    """The server, for as long as the block lasts."""
    server = RunCode()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
