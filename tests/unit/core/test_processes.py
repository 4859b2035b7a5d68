"""Which process this is follows from the launcher's environment alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rlllm.core import processes
from rlllm.core.errors import ConfigError

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@pytest.mark.parametrize(
    ("environment", "launched", "rank", "size", "local", "main"),
    [
        ({}, False, 0, 1, 0, True),
        ({"WORLD_SIZE": "8"}, False, 0, 1, 0, True),
        ({"RANK": "3"}, False, 0, 1, 0, True),
        ({"RANK": "", "WORLD_SIZE": ""}, False, 0, 1, 0, True),
        ({"RANK": "0", "WORLD_SIZE": "1"}, True, 0, 1, 0, True),
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, True, 0, 2, 0, True),
        ({"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1"}, True, 9, 16, 1, False),
        ({"RANK": "1", "WORLD_SIZE": "2"}, True, 1, 2, 1, False),
    ],
)
def test_a_process_knows_its_place(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    launched: bool,
    rank: int,
    size: int,
    local: int,
    main: bool,
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processes.launched() is launched
    assert (processes.rank(), processes.world_size(), processes.local_rank()) == (rank, size, local)
    assert processes.is_main() is main


@pytest.mark.parametrize(
    ("rank", "size", "words"),
    [("2", "2", "smaller than WORLD_SIZE"), ("-1", "2", "RANK is no whole number"), ("0", "two", "WORLD_SIZE is no")],
)
def test_an_environment_that_contradicts_itself_is_refused(
    monkeypatch: pytest.MonkeyPatch, rank: str, size: str, words: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(ConfigError, match=words):
        processes.world_size()


def test_it_is_known_without_torch() -> None:
    code = "import sys, rlllm.core.processes as p; p.rank(); print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "False\n"
