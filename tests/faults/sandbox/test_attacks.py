"""Escapes: every program is refused under full isolation, and got what it wanted without it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from attacks import ATTACKS, SECRET, Attack
from harness import filled, run_plainly

from rlllm.sandbox.jobs import Limits, Program, Sandbox

_LIMITS = Limits(wall_seconds=5.0)
_BITING = [one for one in ATTACKS if one.bites == "anybody" or (one.bites == "root" and os.geteuid() == 0)]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_isolated_program_does_not_break_out(
    attack: Attack, sandbox: Sandbox, diagnostics: dict[str, object]
) -> None:
    outcome = sandbox.run([Program(filled(attack.source, diagnostics), limits=_LIMITS)])[0]
    assert outcome.ended in ("exit", "signal"), outcome
    assert b"SyntaxError" not in outcome.stderr
    assert b"BROKE" not in outcome.stdout
    assert SECRET.encode() not in outcome.stdout + outcome.stderr
    assert not Path(str(diagnostics["target"])).exists()


@pytest.mark.parametrize("attack", _BITING, ids=lambda attack: attack.name)
def test_the_same_program_breaks_a_plain_harness(
    attack: Attack, diagnostics: dict[str, object], tmp_path: Path
) -> None:
    assert "BROKE" in run_plainly(filled(attack.source, diagnostics), tmp_path / "start")


class _Touch:
    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path(self.target),)


def _sends(payload: bytes) -> str:
    return f"import os, sys\nos.write(3, {payload!r})\nsys.stdout.buffer.write({payload!r})"


def test_a_pickle_that_a_program_sends_is_bytes_to_the_host(sandbox: Sandbox, diagnostics: dict[str, object]) -> None:
    target = Path(str(diagnostics["target"]))
    payload = pickle.dumps(_Touch(str(target)))
    job = sandbox.start(Program(_sends(payload)))
    outcome = job.wait()
    assert outcome.stdout == payload
    assert job.channel.recv(4096) == payload
    assert not target.exists()
    pickle.loads(payload)  # what a harness does that unpickles what comes back
    assert target.exists()


def test_descriptors_that_a_program_sends_are_dropped(sandbox: Sandbox) -> None:
    before = len(os.listdir("/proc/self/fd"))
    source = "import socket, os\nsocket.send_fds(socket.socket(fileno=3), [b'x'], [os.open('/dev/null', 0)] * 9)"
    job = sandbox.start(Program(source))
    assert job.wait().code == 0
    assert job.channel.recv(10) == b"x"
    job.channel.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("target", [0, -1])
def test_a_program_that_kills_all_it_can_reach_ends_only_itself(sandbox: Sandbox, target: int) -> None:
    outcome = sandbox.run([Program(f"import os, signal\nos.kill({target}, signal.SIGKILL)")])[0]
    assert outcome.ended in ("signal", "exit")
    assert [one.stdout for one in sandbox.run([Program("print(1)")] * 4)] == [b"1\n"] * 4


def test_a_program_starts_as_if_it_were_the_first(sandbox: Sandbox) -> None:
    spoil = (
        "import builtins, json, random\nopen('left', 'w').write('x')\nrandom.seed(1)\njson.loads = builtins.len = None"
    )
    look = "import json, os, random\nprint(len(os.listdir('.')), json.loads('7'), random.random())"
    sandbox.run([Program(spoil)] * 4)
    words = [outcome.stdout.split() for outcome in sandbox.run([Program(look)] * 4)]
    assert [one[:2] for one in words] == [[b"0", b"7"]] * 4
    assert len({one[2] for one in words}) == 4
