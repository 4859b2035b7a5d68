"""Evaluations during training, as they are planned: which rows, how many, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError
from rlllm.data.load import split_key
from rlllm.stages.catalog import plan, resolve_settings
from rlllm.training.evaluations import best_of, logged, summary_of, without_gain


def planned(verb: str, model: str, **settings: Any) -> Any:
    return plan(resolve_settings(verb, {}, list({"model": model, **settings}.items())))


HELD_OUT = {"name": "arithmetic", "rows": 20, "holdout": 12}


def test_without_evaluations_a_plan_says_nothing_of_them(tiny_model: str) -> None:
    made = planned("reason", tiny_model)
    assert made.evaluations is None
    assert "during" not in made.to_json()
    assert "during" not in dict(made.lines())


def test_the_name_of_trl_means_the_same(tiny_model: str) -> None:
    for verb in ("sft", "train-rm", "reason"):
        assert planned(verb, tiny_model, eval_steps=7).config.eval.every == 7


def test_evaluations_that_decide_nothing_take_the_rows_of_before_and_after(tiny_model: str) -> None:
    made = planned("reason", tiny_model, data=HELD_OUT, **{"eval.every": 5, "eval.rows": 8, "max_steps": 12})
    assert made.evaluations.asked(made).measured_on == made.measured_on
    assert not made.evaluations.apart


def test_those_that_decide_take_others_with_other_prompts(tiny_model: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"say {number // 2}", "answer": str(number)} for number in range(40)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"name": str(path), "holdout": 16}
    keys = {"data": data, "rewards": "exact", "max_steps": 12, "eval.every": 5, "eval.rows": 7, "eval.keep": "best"}
    made = planned("reason", tiny_model, **keys)
    looked = made.evaluations.asked(made).measured_on
    assert len(looked) == 7
    assert not {split_key(record) for record in looked} & {split_key(record) for record in made.measured_on}


def test_the_plan_counts_evaluations_completions_and_tokens(tiny_model: str) -> None:
    keys = {"eval.every": 5, "eval.rows": 6, "eval.samples": 3, "max_steps": 12, "rollout.max_new_tokens": 10}
    lines = planned("reason", tiny_model, data=HELD_OUT, **keys).lines()
    assert ("during", _said(3, "6 held-out rows of those of before and after", 54)) in lines
    best = planned("reason", tiny_model, data=HELD_OUT, **keys, **{"eval.keep": "best", "eval.stop_after": 2})
    assert [value for label, value in best.lines() if value.startswith(("every 5", "the model is", "ends after"))] == [
        _said(4, "6 held-out rows", 72),
        "the model is that of the step with the best evaluation, measured afterwards on other rows",
        "ends after 2 evaluations in a row that are no better than the best before them",
    ]
    during = best.to_json()["during"]
    assert (during["evaluations"], during["completions"], during["tokens"]) == (4, 72, 720)


def _said(count: int, rows: str, completions: int) -> str:
    return (
        f"every 5 steps: {count} evaluations, one at the start, at {rows}; {completions} completions, at most "
        f"{10 * completions} tokens sampled"
    )


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("reason", {"eval.keep": "best"}, "nothing is evaluated during training"),
    ("sft", {"eval.stop_after": 2, "eval.during_rows": 9}, "given: eval.stop_after=2, eval.during_rows=9"),
    ("sft", {"eval.every": 5, "data.holdout": 0}, "no rows are held out to evaluate"),
    ("sft", {"eval.every": 5, "eval.during_rows": 13}, "hint: eval.during_rows=12, or raise data.holdout"),
    ("sft", {"eval.every": 5, "eval.keep": "best"}, "rows that choose cannot report as well"),
    ("sft", {"eval.every": 5, "eval.keep": "best", "eval.rows": 8, "eval.during_rows": 5}, "hint: data.holdout=13, or"),
    ("sft", {"eval.every": 50, "max_steps": 20}, "the run ends before its first evaluation"),
    ("align", {"data": "PAIRS", "eval.every": 5, "eval.rows": 4}, "nothing measures completions here"),
    ("align", {"method": "spin", "eval.every": 5, "max_steps": 30}, "iterations are measured before and after only"),
    ("reason", {"method": "tracer", "eval.every": 5}, "answers by dialogue are measured before and after"),
    (
        "reason",
        {"controls": ["random"], "eval.every": 5, "eval.rows": 6, "eval.stop_after": 2},
        "runs beside their controls take equally many steps",
    ),
    (
        "reason",
        {"num_iterations": 2, "eval.every": 5, "eval.rows": 6, "eval.keep": "best"},
        "hint: eval.every=4 or eval.every=6",
    ),
    ("reason", {"eval_strategy": "steps"}, "hint: eval.every=50"),
    ("reason", {"load_best_model_at_end": True}, "hint: eval.keep=best"),
    ("sft", {"metric_for_best_model": "eval_loss"}, "chooses by the run's main measure"),
    ("sft", {"save_strategy": "best"}, "hint: eval.keep=best"),
]


@pytest.mark.parametrize(("verb", "settings", "words"), REFUSED)
def test_what_cannot_be_evaluated_is_refused_while_planning(
    tiny_model: str, tmp_path: Path, verb: str, settings: dict[str, Any], words: str
) -> None:
    if settings.get("data") == "PAIRS":
        path = tmp_path / "pairs.jsonl"
        rows = [{"prompt": f"say {number}", "chosen": "a", "rejected": "b"} for number in range(20)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = {**settings, "data": {"name": str(path), "holdout": 8}}
    data = (
        {}
        if "data" in settings
        else {"data": {**HELD_OUT, **{k[5:]: v for k, v in settings.items() if k[:5] == "data."}}}
    )
    with pytest.raises(ConfigError) as caught:
        planned(verb, tiny_model, **data, **{k: v for k, v in settings.items() if k[:5] != "data."})
    assert words in str(caught.value)


def row(step: int, value: float, *, higher: bool = True) -> dict[str, Any]:
    interval = {"estimate": value, "low": value - 0.1, "high": None}
    return {
        "step": step,
        "rows": 9,
        "seconds": 1.5,
        "measures": [{"name": "gold utility", "higher_is_better": higher, "value": interval}],
    }


def test_the_best_is_the_first_of_equals_and_of_losses_the_lowest() -> None:
    history = [row(0, 0.9), row(2, 0.3), row(4, 0.5), row(6, 0.5), row(8, 0.1)]
    best = best_of(history, from_step=1)
    assert best is not None
    assert best["step"] == 4
    assert without_gain(history) == 4
    assert without_gain(history[1:]) == 2
    lowest = best_of([row(0, 0.9, higher=False), row(2, 0.3, higher=False), row(4, 0.5, higher=False)])
    assert lowest is not None
    assert lowest["step"] == 2
    assert best_of([]) is None


def test_bounds_that_are_not_known_are_not_logged() -> None:
    assert logged(row(2, 0.5)) == {"eval_gold_utility": 0.5, "eval_gold_utility_low": 0.4, "eval_runtime": 1.5}


def test_the_result_says_that_the_best_of_several_is_flattered_and_who_was_asked(tiny_model: str) -> None:
    evaluations = planned(
        "sft", tiny_model, data=HELD_OUT, **{"eval.every": 2, "eval.rows": 6, "eval.keep": "best"}
    ).evaluations
    history = [row(0, 0.1), row(2, 0.5), row(4, 0.3)]
    summary = summary_of(history, evaluations)
    assert (summary["kept"], summary["evaluations"]) == (2, 2)
    assert "the best of 2 and so too high on average); before and after were measured on others" in summary["text"]
    assert (
        "too low on average" in summary_of([row(2, 0.5, higher=False), row(4, 0.3, higher=False)], evaluations)["text"]
    )
    assert "on average" not in summary_of(history[:2], evaluations)["text"]
    assert summary_of(history[:1], evaluations) == {}


def test_the_time_of_an_evaluation_is_no_time_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import TrainerControl, TrainerState

    from rlllm.algorithms.callbacks import Recorder
    from rlllm.core.events import NullProgress
    from rlllm.core.runs import Run, write_json
    from rlllm.core.verdict import Diagnostics

    clock = iter([0.0, 0.0, 10.0, 10.0, 45.0, 55.0, 55.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    write_json(tmp_path / "config.json", {"stage": "reason", "settings": {}})
    run, state, control = Run(tmp_path), TrainerState(max_steps=2), TrainerControl()
    recorder = Recorder(run, Diagnostics(), NullProgress())
    recorder.on_train_begin(None, state, control)
    recorder.on_log(None, state, control, logs={"loss": 0.0, "num_tokens": 50.0})
    recorder.on_evaluate(None, state, control, metrics={"eval_pass@1": 0.5, "eval_runtime": 35.0})
    recorder.on_log(None, state, control, logs={"loss": 0.0, "num_tokens": 100.0})
    assert [row["tokens_per_second"] for row in run.metrics()] == [5.0, 5.0]
