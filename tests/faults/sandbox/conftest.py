"""One sandbox for the suite, and the things on the host that its programs are after."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlllm.sandbox import missing_layers, open_sandbox
from rlllm.sandbox.jobs import Sandbox

sys.path.insert(0, str(Path(__file__).parent))
from attacks import SECRET


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    lacking = missing_layers()
    if lacking:
        pytest.skip(f"full isolation is refused here: {lacking[0]}")
    os.environ["SECRET"] = SECRET
    opened = open_sandbox("full", workers=4)
    yield opened
    opened.close()
    del os.environ["SECRET"]


@pytest.fixture
def diagnostics(tmp_path: Path) -> Iterator[dict[str, object]]:
    """What the programs name: a secret file, a path to write, a port that listens, a process that lives."""
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    (tmp_path / "start").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        victim = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"], start_new_session=True
        )
        yield {
            "secret": str(secret),
            "target": str(tmp_path / "target"),
            "port": server.getsockname()[1],
            "victim": victim.pid,
        }
        assert victim.poll() is None, "the victim was ended"
        victim.kill()
        victim.wait()
