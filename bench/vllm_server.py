"""A real `vllm serve` on this processor, for benchmarks and for the slow tests of servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rlllm.network.event_loop import run_on
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rollouts.config import ServingConfig
from rlllm.rollouts.engines.served.client import VLLMServer

_START = 1200.0
"""Seconds that a start may take, on a machine however busy."""


def vllm_venv() -> Path:
    """The virtual environment with a vLLM that RLLLM_TEST_VLLM names; without it the process ends."""
    if not os.environ.get("RLLLM_TEST_VLLM"):
        sys.exit("name the virtual environment of a vLLM: RLLLM_TEST_VLLM=/path/to/venv")
    return Path(os.environ["RLLLM_TEST_VLLM"])


def untied(folder: Path, reference: str) -> Path:
    """A copy of a model whose head is a weight of its own: vLLM 0.32's build for processors keeps an own copy of a tied one
    through a reload."""
    source = resolve_model(reference)
    model, tokenizer = load_policy(source), load_tokenizer(source)
    weights = {name: weight.detach().clone() for name, weight in model.state_dict().items()}
    model.config.tie_word_embeddings = False
    model.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)
    return folder


class VLLMServe:
    """A running `vllm serve`, with all its processes in a group of their own.

    Args:
        venv: a virtual environment with vLLM.
        model: folder of the model; what the server says is left beside it.
        port: of 127.0.0.1.
        options: of `vllm serve`.
    """

    def __init__(self, venv: Path, model: Path, port: int, *options: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            "VLLM_SERVER_DEV_MODE": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [venv / "bin/vllm", "serve", model, "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
        given = ["--max-model-len", "512", "--max-num-seqs", "64", "--logprobs-mode", "processed_logprobs", *options]
        self.log = model.with_name(f"{model.name}-{port}.log")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*map(str, command), *given], env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        """Until it answers.

        Raises:
            RuntimeError: it ended, or takes too long.
        """
        server, deadline = VLLMServer(self.url, ServingConfig()), time.monotonic() + _START
        while not run_on("http", server.alive()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"vllm serve did not start:\n{said}")
            time.sleep(2)

    def kill(self) -> None:
        """Send SIGKILL to all its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End it, and what is left of it."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
        self.kill()


@contextmanager
def vllm_serve(venv: Path, model: Path, port: int, *options: str) -> Iterator[str]:
    """One for as long as the block lasts; gives its URL."""
    server = VLLMServe(venv, model, port, *options)
    try:
        server.wait()
        yield server.url
    finally:
        server.close()
