"""No silent success: every verb, run for real on a tiny model, ends in the verdict its data and rewards deserve."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.events import NullProgress
from rlllm.core.outcome import NOT_MEASURED
from rlllm.core.records import PromptTask
from rlllm.core.runs import Run, read_json
from rlllm.data.config import DataConfig
from rlllm.data.load import load

VERBS: dict[str, Callable[..., Run]] = {
    "sft": rlllm.sft,
    "train_rm": rlllm.train_rm,
    "align": rlllm.align,
    "reason": rlllm.reason,
}
REWARDS = """
import json
from pathlib import Path

def vowels(sample):
    return float(sum(letter in "aeiou" for letter in sample.completion)) + 0.01 * len(sample.completion)
def constant(sample): return 1.0
def by_prompt(sample): return float(len(str(sample.prompt)))
def nan(sample): return float("nan")
def none(sample): return None
def only_of_training_rows(sample):
    held = json.loads(Path(__file__).with_name("held.json").read_text())
    return None if str(sample.prompt) in held else vowels(sample)
def raises(sample): return sample.answer.no_such_field
calls = []
def fails_once(sample):
    calls.append(sample)
    if len(calls) == 5:
        raise ValueError("once")
    return 0.0
def sometimes_none(sample): return float(ord(sample.completion[0])) if len(sample.completion) % 2 else None
"""


@pytest.fixture
def train(tiny_model: str, tmp_path: Path) -> Callable[..., Run]:
    """Runs a verb for three quick steps; settings override."""
    (tmp_path / "rewards.py").write_text(REWARDS)

    def call(verb: str, progress: Any = None, **settings: Any) -> Run:
        common = {
            "model": tiny_model,
            "data": {"name": "arithmetic", "rows": 16, "holdout": 0},
            "max_steps": 3,
            "learning_rate": 1e-3,
            "defaults": "trl",
        }
        if verb == "reason":
            common |= {"max_completion_length": 6, "rewards": "vowels"}
        settings = common | settings
        if isinstance(settings.get("rewards"), str):
            settings["rewards"] = {settings["rewards"]: 1.0}
        if "rewards" in settings:
            weighted = settings["rewards"].items()
            settings["rewards"] = [{"name": f"{tmp_path / 'rewards.py'}:{n}", "weight": w} for n, w in weighted]
        return VERBS[verb](output_dir=tmp_path / "run", progress=progress, **settings)

    return call


def codes(run: Run) -> list[str]:
    return [reason["code"] for reason in run.verdict["reasons"]]


def fatal(run: Run) -> list[str]:
    return [reason["code"] for reason in run.verdict["reasons"] if reason["fatal"]]


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_that_learned_is_a_success(train: Callable[..., Run], verb: str) -> None:
    run = train(verb)
    cut = ["truncation"] if verb == "reason" else []  # six tokens of a random model
    assert (run.ok, codes(run), run.status["state"]) == (True, [*cut, "not_measured"], "done")
    diagnostics = run.verdict["diagnostics"]
    assert (diagnostics["steps_done"], diagnostics["steps_requested"], diagnostics["weights_changed"]) == (3, 3, True)
    assert diagnostics["largest_gradient"] > 0
    assert [row["step"] for row in run.metrics()] == [1, 2, 3]
    written = {path.name for path in run.path.iterdir()}
    assert {"config.json", "recipe.yaml", "env.json", "lineage.json", "report.html", "model"} <= written


@pytest.mark.parametrize("verb", VERBS)
def test_a_learning_rate_of_zero_is_no_success(train: Callable[..., Run], verb: str) -> None:
    run = train(verb, learning_rate=0.0)
    assert (run.ok, fatal(run), run.status["state"]) == (False, ["weights_unchanged"], "failed")


@pytest.mark.parametrize("verb", ["sft", "train_rm", "align"])
def test_a_run_that_diverges_is_no_success(train: Callable[..., Run], verb: str) -> None:
    run = train(verb, learning_rate=1e20, max_steps=4, max_grad_norm=0.0)
    assert not run.ok
    assert "non_finite" in codes(run)


def test_a_policy_that_diverges_until_nothing_can_be_sampled_is_no_success(train: Callable[..., Run]) -> None:
    run = train("reason", learning_rate=1e20, max_steps=6)
    assert not run.ok
    assert codes(run)[0] == "non_finite"


@pytest.mark.parametrize("reward", ["constant", "by_prompt"])
def test_a_reward_without_differences_in_any_group_is_no_success(train: Callable[..., Run], reward: str) -> None:
    run = train("reason", rewards=reward)
    assert not run.ok
    assert fatal(run) == ["constant_reward", "no_gradient", "weights_unchanged"]


def test_a_flat_reward_stops_the_run_early(train: Callable[..., Run]) -> None:
    run = train("reason", rewards="constant", stop_when_flat=2, max_steps=6)
    assert run.verdict["diagnostics"]["steps_done"] == 2
    assert (fatal(run)[0], fatal(run)[-1]) == ("constant_reward", "steps_missing")


@pytest.mark.parametrize("masked", [False, True])
def test_a_run_that_never_ends_a_completion_and_cannot_learn_stops_after_five_steps(
    train: Callable[..., Run], masked: bool
) -> None:
    rewards = "vowels" if masked else "constant"
    settings = {"mask_truncated_completions": masked, "max_completion_length": 2, "model": "nano"}
    run = train("reason", rewards=rewards, max_steps=9, **settings)
    steps = run.verdict["diagnostics"]["steps_done"]
    hints = {reason["code"]: reason["hint"] for reason in run.verdict["reasons"]}
    assert (run.ok, steps) == (False, 9 if masked else 5)
    assert "raise rollout.max_new_tokens" in hints["no_gradient" if masked else "constant_reward"]
    assert "truncation" in hints


def test_a_flat_reward_does_not_stop_the_run_if_nobody_wants_that(train: Callable[..., Run]) -> None:
    run = train("reason", rewards="constant", stop_when_flat=0)
    assert run.verdict["diagnostics"]["steps_done"] == 3


BROKEN_REWARDS = [
    ("nan", "the reward nan returned NaN for all 8 completions"),
    ("raises", "the reward raises raised AttributeError"),
]


@pytest.mark.parametrize(("reward", "text"), BROKEN_REWARDS)
def test_a_broken_reward_is_named_first(train: Callable[..., Run], reward: str, text: str) -> None:
    run = train("reason", rewards=reward)
    assert not run.ok
    assert codes(run)[0] == "error"
    assert run.verdict["reasons"][0]["text"].startswith(text)
    assert not run.model.exists()


def test_a_reward_that_never_judges_is_no_success(train: Callable[..., Run]) -> None:
    run = train("reason", rewards="none")
    assert codes(run)[0] == "reward_undefined"
    assert {row["reward"] for row in run.samples()} == {None}
    assert {row["advantage"] for row in run.samples()} == {0.0}


def test_a_reward_that_sometimes_cannot_judge_teaches_from_the_rest(train: Callable[..., Run]) -> None:
    run = train("reason", rewards="sometimes_none")
    diagnostics = run.verdict["diagnostics"]
    assert run.ok
    assert 0 < diagnostics["reward_undefined"] < diagnostics["reward_rows"] == 24
    assert {row["advantage"] for row in run.samples() if row["reward"] is None} == {0.0}


def test_a_reward_that_only_logs_does_not_judge(train: Callable[..., Run]) -> None:
    run = train("reason", rewards={"none": 1.0, "vowels": 0.0})
    assert codes(run)[0] == "reward_undefined"
    assert {row["reward"] for row in run.samples()} == {None}
    assert all(row["rewards"]["vowels"]["value"] is not None for row in run.samples())


def test_a_completion_one_reward_failed_on_is_left_out_whole(train: Callable[..., Run]) -> None:
    """The others alone would misjudge it: it gets no reward and no advantage, and is no 0.0 in any baseline."""
    run = train("reason", rewards={"fails_once": 1.0, "vowels": 1.0}, per_device_train_batch_size=32, max_steps=2)
    failed = [row for row in run.samples() if "error" in row["rewards"]["fails_once"]]
    assert run.ok
    assert [(row["reward"], row["advantage"]) for row in failed] == [(None, 0.0)]
    assert "raised ValueError: once" in failed[0]["rewards"]["fails_once"]["error"]
    assert run.verdict["diagnostics"]["reward_undefined"] == 1


@pytest.fixture
def pairs(tmp_path: Path) -> Callable[[list[tuple[str, str]]], str]:
    def write(given: list[tuple[str, str]]) -> str:
        path = tmp_path / "pairs.jsonl"
        rows = [{"prompt": f"say {i}", "chosen": chosen, "rejected": no} for i, (chosen, no) in enumerate(given)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


@pytest.mark.parametrize("verb", ["train_rm", "align"])
def test_pairs_that_are_all_identical_are_no_success(
    train: Callable[..., Run], pairs: Callable[[list[tuple[str, str]]], str], verb: str
) -> None:
    run = train(verb, data=pairs([("x", "x")] * 8))
    assert not run.ok
    assert codes(run)[0] == "identical_pairs"
    assert "8 of 8 pairs" in run.verdict["reasons"][0]["text"]


@pytest.mark.parametrize("verb", ["train_rm", "align"])
def test_some_identical_pairs_are_a_warning(
    train: Callable[..., Run], pairs: Callable[[list[tuple[str, str]]], str], verb: str
) -> None:
    run = train(verb, data=pairs([("x", "x"), *[("yes", "no")] * 7]))
    assert run.ok
    assert [(reason["code"], reason["fatal"]) for reason in run.verdict["reasons"]] == [
        ("identical_pairs", False),
        ("not_measured", False),
    ]


def test_pairs_that_are_all_too_long_leave_too_little_data(
    train: Callable[..., Run], pairs: Callable[[list[tuple[str, str]]], str]
) -> None:
    run = train("train_rm", data=pairs([("x" * 50, "y" * 50)] * 8), max_length=20)
    assert codes(run) == ["too_little_data"]


def test_too_little_data_is_found_before_the_model_is_loaded(
    train: Callable[..., Run], tiny_model: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    (broken / "model.safetensors").write_bytes(b"no weights at all")
    run = train("reason", model=str(broken), per_device_train_batch_size=256)
    assert (run.ok, codes(run)) == (False, ["too_little_data"])
    assert "16 training rows, but one optimizer step takes 32" in run.verdict["reasons"][0]["text"]


class Witness:
    """A listener that remembers what it heard, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def started(self, stage: str, total_steps: int, run: Path) -> None:
        self.heard.append(f"started {stage} {total_steps}")

    def phase(self, name: str) -> None:
        self.heard.append(name)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        self.heard.append(f"step {step}")

    def note(self, text: str) -> None:
        self.heard.append(f"note: {text}")

    def finished(self, run: Path) -> None:
        self.heard.append("finished")


def test_a_listener_hears_a_run_from_its_start_to_its_end(train: Callable[..., Run]) -> None:
    witness = Witness()
    train("sft", progress=witness, data={"name": "arithmetic", "rows": 16, "holdout": 2})
    told = [word for word in witness.heard if not word.startswith("note")]
    assert told.index("started sft 3") < told.index("step 1")
    assert [word for word in told if word.startswith("step")] == ["step 1", "step 2", "step 3"]
    parts = ["loading", "measuring before", "training", "saving", "measuring after", "finished"]
    assert [word for word in told if word in parts] == parts


def test_lineage_names_data_rewards_weights_and_template(train: Callable[..., Run]) -> None:
    run = train("reason")
    lineage = read_json(run.path / "lineage.json")
    assert lineage["data"]["train"] == 16
    assert lineage["rewards"]["names"] == ["vowels"]
    assert len(lineage["data"]["hash"]) == len(lineage["template"]) == len(lineage["model"]["weights"]) == 16
    assert lineage["parents"] == []


def test_every_rollout_is_on_record_with_what_each_reward_said(train: Callable[..., Run]) -> None:
    rows = list(train("reason", num_generations=4).samples())
    assert len(rows) == 24
    for start in range(0, 24, 4):
        group = rows[start : start + 4]
        assert len({json.dumps(row["prompt"]) for row in group}) == 1
        assert sum(row["advantage"] for row in group) == pytest.approx(0, abs=1e-4)
    assert {row["step"] for row in rows} == {1, 2, 3}
    assert all(row["rewards"]["vowels"]["value"] == pytest.approx(row["reward"]) for row in rows)


def test_the_model_of_a_run_is_the_start_of_the_next(train: Callable[..., Run], tmp_path: Path) -> None:
    first = train("sft")
    second = rlllm.train_rm(
        model=str(first.path),
        data={"name": "arithmetic", "rows": 8, "holdout": 4},
        max_steps=1,
        output_dir=tmp_path / "rm",
    )
    assert second.ok
    assert read_json(second.path / "lineage.json")["parents"] == [str(first.path)]
    assert second.results["measures"][0]["name"]


def test_a_run_whose_held_out_rows_cannot_be_judged_says_so_at_its_start_and_keeps_its_model(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    data = {"name": "arithmetic", "rows": 16, "holdout": 4}
    held = load(DataConfig(**data), PromptTask).holdout
    (tmp_path / "held.json").write_text(json.dumps([str(task.prompt) for task in held]))
    notes: list[str] = []

    class Heard(NullProgress):
        def note(self, text: str) -> None:
            notes.append(text)

    keys = {"rewards": "only_of_training_rows", "eval.every": 2, "eval.keep": "best", "eval.rows": 2, "eval.samples": 2}
    run = train("reason", Heard(), data=data, **keys)
    assert (run.ok, run.outcome.state, run.outcome.measure) == (True, NOT_MEASURED, "pass@1")
    assert (run.model / "model.safetensors").exists()
    said = "none of the 2 held-out items could be judged for pass@1"
    assert [
        note.startswith((f"warning: {said}", f"warning: no evaluations are made: {said}")) for note in notes[:2]
    ] == [
        True,
        True,
    ], notes
    reason = next(reason for reason in run.verdict["reasons"] if reason["code"] == "not_measured")
    assert "none of the held-out items could be judged for pass@1" in reason["text"]
    assert run.results["measures"][0] == {
        "name": "pass@1",
        "higher_is_better": True,
        "before": None,
        "after": None,
        "difference": None,
        "unjudged": 2,
    }
    assert run.evaluations() == []
