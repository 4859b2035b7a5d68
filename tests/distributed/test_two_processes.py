"""Two processes learn what one learns from the same batches: every logged number agrees, to the last few bits of the sums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from curves import STEPS, assert_one_curve, settings_of
from launched import run_jobs, write_rewards

from rlllm.core.runs import Run

FIRST: dict[str, dict[str, Any]] = {
    "sft": {"verb": "sft", "rows": 4},
    "grpo": {"verb": "reason", "rows": 16, "settings": {"method": "grpo", "beta": 0.05}},
}
OTHERS: dict[str, dict[str, Any]] = {
    "bt": {"verb": "train-rm", "rows": 4},
    "dpo": {"verb": "align", "rows": 4},
    "kto": {"verb": "align", "rows": 8, "settings": {"method": "kto"}, "within": 0.1},
    "ppo": {"verb": "align", "rows": 16, "settings": {"method": "ppo", "steps_per_generation": 1}},
    "reinforce++": {"verb": "reason", "rows": 16, "settings": {"method": "reinforce++"}},
}
"""Two gloo processes take half of the rows each. `within` is the relative difference that TRL makes, where it makes one."""
UNEQUAL: dict[str, dict[str, Any]] = {
    "dapo": {"verb": "reason", "rows": 16, "settings": {"method": "dapo", "rewards": ["rarely"]}},
}
"""Each process fills up its own share of the groups: other groups than one process would take."""


def made(jobs: dict[str, dict[str, Any]], model: str, root: Path) -> dict[int, Path]:
    """Number of processes -> where they made the runs of all jobs."""
    jobs = {name: settings_of(job, model, write_rewards(root)) for name, job in jobs.items()}
    for processes in (1, 2):
        run_jobs(jobs, root / str(processes), processes)
    return {processes: root / str(processes) for processes in (1, 2)}


@pytest.fixture(scope="module")
def first(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return made(FIRST, tiny_model, tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def others(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return made(OTHERS | UNEQUAL, tiny_model, tmp_path_factory.mktemp("others"))


@pytest.mark.parametrize("name", FIRST)
def test_the_curves_are_those_of_one_process(first: dict[int, Path], name: str) -> None:
    assert_one_curve(*(Run(first[processes] / name) for processes in (1, 2)))


def test_the_samples_are_those_of_one_process(first: dict[int, Path]) -> None:
    alone, together = ([*Run(first[processes] / "grpo").samples()] for processes in (1, 2))
    assert len(alone) == 16 * STEPS
    assert [row["completion"] for row in alone[:32]] == [row["completion"] for row in together[:32]]
    assert [row["row"] for row in alone] == [row["row"] for row in together]


def test_one_directory_is_written_by_the_first_and_the_second_logs_into_it(first: dict[int, Path]) -> None:
    for name in FIRST:
        one, two = (Run(first[processes] / name) for processes in (1, 2))
        names = {path.name for path in two.path.iterdir()}
        assert names == {path.name for path in one.path.iterdir()} | {"logs"}
        assert {path.name for path in (two.path / "logs").iterdir()} == {
            "rank-0.json",
            "rank-1",
            "rank-1.json",
            "rank-1.log",
        }
        assert two.config["processes"] == {"number": 2, "rows_of_step": FIRST[name]["rows"]}
        assert len(two.results["measures"]) == len(one.results["measures"])


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_the_curves_of_other_methods_are_those_of_one_process(others: dict[int, Path], name: str) -> None:
    one, two = (Run(others[processes] / name) for processes in (1, 2))
    assert_one_curve(one, two, OTHERS[name].get("within", 2e-3))


@pytest.mark.slow
@pytest.mark.parametrize("name", UNEQUAL)
def test_what_differs_is_counted_over_both_processes(others: dict[int, Path], name: str) -> None:
    run = Run(others[2] / name)
    assert run.status["state"] == "done"
    rows = [*run.samples()]
    for step in range(1, STEPS + 1):
        kept = [row for row in rows if row["step"] == step and row.get("kept", True)]
        assert len(kept) in (0, run.config["trl"]["generation_batch_size"])
    tried = [row["sampling/prompts_tried"] for row in run.metrics() if "sampling/prompts_tried" in row]
    assert all(count % 2 == 0 for count in tried)
