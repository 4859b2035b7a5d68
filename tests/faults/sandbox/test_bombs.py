"""Bombs: each is ended by the limit it runs into and harms nobody; without the limit its bounded form gets past it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bombs import BOMBS, LIMITS, Bomb
from harness import run_plainly

from rlllm.sandbox.jobs import Program, Sandbox


def test_every_bomb_is_ended_by_its_limit(sandbox: Sandbox) -> None:
    outcomes = sandbox.run([Program(bomb.source, limits=LIMITS) for bomb in BOMBS])
    found = {bomb.name: outcome.ended for bomb, outcome in zip(BOMBS, outcomes, strict=True)}
    assert [name for bomb in BOMBS if found[name := bomb.name] not in bomb.endings] == [], found
    assert not any(b"BROKE" in outcome.stdout for outcome in outcomes)
    assert max(outcome.seconds for outcome in outcomes) < LIMITS.wall_seconds + 1.5
    assert max(len(outcome.stdout) + len(outcome.stderr) for outcome in outcomes) <= LIMITS.output_kb * 1024
    assert sandbox.run([Program("print(1)")])[0].stdout == b"1\n"


def test_the_bounded_forms_pass_the_limits_in_a_plain_harness(tmp_path: Path) -> None:
    def broke(bomb: Bomb) -> bool:
        folder = tmp_path / bomb.name
        folder.mkdir()
        return "BROKE" in run_plainly(bomb.bounded, folder)

    with ThreadPoolExecutor(6) as threads:
        held = [bomb.name for bomb, done in zip(BOMBS, threads.map(broke, BOMBS), strict=True) if not done]
    assert held == []
