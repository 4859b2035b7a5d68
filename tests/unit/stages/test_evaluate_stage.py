"""The eval verb, run for real on a tiny model: what is measured, what is written, what is refused before a model loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.config import resolve
from rlllm.core.errors import ConfigError, ModelError, RewardError, RlllmError, UnknownNameError
from rlllm.core.events import NullProgress
from rlllm.core.runs import Run, read_jsonl
from rlllm.evals.statistics.paired_tests import holm
from rlllm.report.results import further
from rlllm.stages.evaluate.plan import EvalPlan, plan_evaluation
from rlllm.stages.evaluate.settings import EvalSettings

REWARDS = """
def vowel(sample): return float(any(letter in "aeiou" for letter in sample.completion))
def none(sample): return None
def even(sample): return 1.0 if len(sample.prompt) % 2 == 0 else None
def raises(sample): return 1 / 0
def always(sample): return 1.0
def length(sample): return float(len(sample.completion) > 4)
"""
Evaluate = Callable[..., Run]


class Notes(NullProgress):
    """Remembers every note."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def about_completions(self) -> list[str]:
        return [note for note in self.notes if note.endswith(("from the cache", "from before the interruption"))]


@pytest.fixture
def listener() -> Notes:
    return Notes()


@pytest.fixture
def evaluate(tiny_model: str, tmp_path: Path) -> Evaluate:
    (tmp_path / "rewards.py").write_text(REWARDS)

    def call(name: str = "run", reward: str | None = None, **settings: Any) -> Run:
        if reward:
            settings["rewards"] = f"{tmp_path / 'rewards.py'}:{reward}"
        defaults: dict[str, Any] = {"model": tiny_model, "rows": 6, "samples": 2, "max_new_tokens": 6}
        return rlllm.evaluate(output_dir=tmp_path / name, **{**defaults, **settings})

    return call


def test_a_task_has_its_values_with_intervals_and_a_row_for_each_problem(evaluate: Evaluate) -> None:
    run = evaluate(reward="vowel")
    task = run.results["tasks"]["arithmetic"]
    items = list(read_jsonl(run.path / "items.jsonl"))
    assert run.ok
    assert {"pass@1", "avg@2", "pass@2"} <= set(task["values"])
    assert len(items) == task["items"] == 6
    scores = [score for item in items for score in item["scores"]]
    assert task["values"]["pass@1"]["estimate"] == pytest.approx(sum(scores) / len(scores))
    assert task["values"]["pass@1"]["low"] <= task["values"]["pass@1"]["estimate"] <= task["values"]["pass@1"]["high"]
    assert [len(item["completions"]) for item in items] == [2] * 6
    assert (run.path / "report.html").exists()


def test_the_same_seed_evaluates_the_same(evaluate: Evaluate) -> None:
    runs = [evaluate(name, reward="vowel", seed=seed) for name, seed in [("a", 0), ("b", 0), ("c", 1)]]
    items = [list(read_jsonl(run.path / "items.jsonl")) for run in runs]
    assert items[0] == items[1]
    assert items[0] != items[2]


ROWS: list[tuple[dict[str, Any], int]] = [
    ({"data": "arithmetic"}, 6),
    ({"data": "arithmetic#3"}, 3),
    ({"data": "arithmetic#300"}, 6),
    ({"data": "arithmetic", "rows": 4}, 4),
    ({"data": {"name": "arithmetic", "holdout": 5}}, 5),
]


@pytest.mark.parametrize(("settings", "rows"), ROWS)
def test_the_number_of_problems(tiny_model: str, settings: dict[str, Any], rows: int) -> None:
    plan = plan_evaluation(resolve(EvalSettings, {"model": tiny_model, "rows": 6, **settings}))
    assert len(plan.tasks[0].records) == rows


def test_problems_are_held_out_from_what_training_with_that_data_sees(tiny_model: str) -> None:
    from rlllm.stages.catalog import plan, resolve_settings

    evaluated = plan_evaluation(resolve(EvalSettings, {"model": tiny_model, "rows": 40})).tasks[0].records
    planned: Any = plan(resolve_settings("reason", {"model": tiny_model}))
    trained = planned.loaded.train
    assert not {record.prompt for record in evaluated} & {record.prompt for record in trained}


def test_what_the_stage_sets_of_its_data_holds_for_tasks_that_do_not_set_it(tiny_model: str) -> None:
    def prompts(**settings: Any) -> list[list[Any]]:
        config = resolve(EvalSettings, {"model": tiny_model, "rows": 5, **settings})
        return [[record.prompt for record in task.records] for task in plan_evaluation(config).tasks]

    def task(**data: Any) -> dict[str, Any]:
        return {"name": str(data), "data": {"name": "arithmetic", **data}}

    (shared,) = prompts(tasks=["arithmetic"], data={"level": 4})
    assert [shared] == prompts(tasks=[task(level=4)]) != prompts(tasks=["arithmetic"])
    assert prompts(tasks=[task(level=2), task(seed=7)], data={"level": 4, "seed": 3}) == [
        *prompts(tasks=[task(level=2, seed=3)]),
        *prompts(tasks=[task(level=4, seed=7)]),
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"data": "lists", "tasks": ["arithmetic"]},
        {"data": ["lists", "countdown"], "tasks": ["arithmetic", "lists"]},
        {"rewards": ["length"], "tasks": [{"data": "arithmetic", "rewards": ["exact"]}]},
        {"by": "level", "tasks": [{"data": "arithmetic", "by": "level"}]},
    ],
)
def test_a_setting_that_every_task_replaces_is_refused(tiny_model: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="read by no task"):
        plan_evaluation(resolve(EvalSettings, {"model": tiny_model, "rows": 5, **settings}))


def test_two_tasks_are_named_after_their_data(evaluate: Evaluate) -> None:
    assert set(evaluate(tasks=["arithmetic", "lists"]).results["tasks"]) == {"arithmetic", "lists"}


def test_a_model_neither_wins_nor_loses_against_itself(evaluate: Evaluate, tiny_model: str) -> None:
    run = evaluate(tasks="reward-win-rate", baseline=tiny_model)
    assert run.results["tasks"]["reward-win-rate:arithmetic"]["values"]["gold win rate"]["estimate"] == 0.5


def test_a_reward_model_is_evaluated_on_pairs(evaluate: Evaluate, tiny_model: str, tmp_path: Path) -> None:
    trained = rlllm.train_rm(
        model=tiny_model, data={"name": "arithmetic", "rows": 8, "holdout": 0}, max_steps=1, output_dir=tmp_path / "rm"
    )
    run = evaluate(model=str(trained.path), tasks="rm")
    accuracy = run.results["tasks"]["rm:arithmetic"]["values"]["pair accuracy"]
    assert 0 <= accuracy["low"] <= accuracy["estimate"] <= accuracy["high"] <= 1


def test_problems_the_reward_cannot_judge_are_left_out_and_counted(evaluate: Evaluate, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": "a" * length}) + "\n" for length in (1, 2, 3, 4)))
    task = evaluate(reward="even", data=str(path)).results["tasks"][str(path)]
    assert (task["items"], task["unjudged"]) == (2, 2)
    assert "2 of 4 problems could not be judged, and no value counts them" in task["remarks"]


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        ("none", "the reward none could not judge all completions of any problem"),
        ("raises", "the reward raises raised ZeroDivisionError"),
    ],
)
def test_a_reward_that_judges_nothing_is_named(evaluate: Evaluate, tmp_path: Path, reward: str, words: str) -> None:
    with pytest.raises(RewardError, match=words):
        evaluate(reward=reward)
    assert Run(tmp_path / "run").status["state"] == "failed"


REFUSED: list[tuple[dict[str, Any], type[RlllmError], str]] = [
    ({"tasks": []}, ConfigError, "tasks: "),
    ({"tasks": ["reward-win-rate"]}, ConfigError, "say against which with --baseline MODEL"),
    ({"tasks": ["rm"]}, ModelError, "not a reward model"),
    ({"tasks": ["arithmetic", "arithmetic"]}, ConfigError, "two tasks have the same name"),
    ({"tasks": [{"metric": "pas"}]}, UnknownNameError, "unknown metric: pas\nhint: did you mean pass?"),
    ({"tasks": ["aritmetic"]}, UnknownNameError, "did you mean arithmetic?"),
    ({"ks": [0, 2]}, ConfigError, "pass@k is for k from 1 on\ngiven: ks=[0, 2]"),
    ({"ks": [4]}, ConfigError, "pass@4 needs at least 4 samples\ngiven: samples=2\nhint: samples=4"),
    (
        {"tasks": ["best-of"], "samples": 1},
        ConfigError,
        "best-of needs at least 2 samples to choose from\ngiven: samples=1",
    ),
    ({"model": "no-such-model"}, ModelError, "no such model"),
    ({"baseline": "no-such-model", "tasks": "reward-win-rate"}, ModelError, "no such model"),
    ({"stop_width": 0.1, "tasks": "rm"}, ModelError, "not a reward model"),
    ({"stop_width": 0.1, "tasks": "reward-win-rate"}, ConfigError, "say against which"),
    ({"stop_width": 2}, ConfigError, "stop_width: input should be less than 1"),
    ({"tasks": "lm-eval"}, ConfigError, "which task of lm-evaluation-harness?"),
    ({"tasks": "lm-eval:", "harness": {"include": ["no/such"]}}, ConfigError, "which task of lm-evaluation-harness?"),
    ({"tasks": "lm-eval:x", "harness": {"include": ["no/such"]}}, ConfigError, "harness.include names no folder"),
    ({"tasks": [{"metric": "lm-eval", "params": {"task": "x", "shot": 1}}]}, ConfigError, "lm-eval takes no shot"),
    ({"rows": 0}, ConfigError, "rows: input should be greater than or equal to 1"),
]


@pytest.mark.parametrize(("settings", "kind", "words"), REFUSED)
def test_what_cannot_be_evaluated_is_refused_while_planning(
    evaluate: Evaluate, tmp_path: Path, settings: dict[str, Any], kind: type[RlllmError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        evaluate(**settings)
    assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_stopping_by_width_is_refused_where_a_task_has_no_pass_at_1(evaluate: Evaluate, tiny_model: str) -> None:
    with pytest.raises(
        ConfigError, match="stop_width watches pass@1, which not all tasks have\ngiven: reward-win-rate"
    ):
        evaluate(tasks=["pass", "reward-win-rate"], baseline=tiny_model, stop_width=0.2)


def test_another_reward_on_the_same_completions_samples_nothing(evaluate: Evaluate, listener: Notes) -> None:
    one = evaluate("a", reward="vowel", seed=11, progress=listener)
    assert listener.about_completions() == []
    two = evaluate("b", reward="length", seed=11, progress=listener)
    assert listener.about_completions() == ["arithmetic: 12 completions from the cache"]
    rows = [list(read_jsonl(run.path / "items.jsonl")) for run in (one, two)]
    assert [row["completions"] for row in rows[0]] == [row["completions"] for row in rows[1]]


@pytest.mark.parametrize("cache", [True, False])
def test_completions_of_another_task_are_no_interruption(evaluate: Evaluate, listener: Notes, cache: bool) -> None:
    tasks = [{"name": "one"}, {"name": "two"}]
    run = evaluate(reward="vowel", tasks=tasks, seed=13, cache=cache, progress=listener)
    assert listener.about_completions() == []
    again = evaluate(reward="vowel", tasks=tasks, seed=13, cache=cache, progress=listener, resume=True)
    assert listener.about_completions() == ["one: 12 completions from before the interruption"]
    assert again.results == run.results


def test_without_the_cache_the_same_is_sampled_again(evaluate: Evaluate, listener: Notes) -> None:
    runs = [evaluate(name, reward="vowel", seed=12, cache=False, progress=listener) for name in ("a", "b")]
    assert listener.about_completions() == []
    assert runs[0].results == runs[1].results


def test_an_earlier_evaluation_as_baseline_gives_the_paired_difference(evaluate: Evaluate) -> None:
    before, after = evaluate("before", reward="vowel"), "after"
    task = evaluate(after, reward="vowel", seed=1, baseline=str(before.path)).results["tasks"]["arithmetic"]
    means = [
        task["values"]["pass@1"]["estimate"],
        before.results["tasks"]["arithmetic"]["values"]["pass@1"]["estimate"],
    ]
    assert task["values"]["over before"]["estimate"] == pytest.approx(means[0] - means[1])
    assert (task["against"]["items"], task["against"]["only_a"], task["against"]["only_b"]) == (6, 0, 0)
    assert not {"before", "after", "difference", "crossover_k"} & further(task).keys(), "is not how the model answers"


def test_against_a_baseline_each_p_value_is_one_of_as_many_as_there_are_tasks(evaluate: Evaluate) -> None:
    tasks = [{"name": f"level {level}", "data": {"name": "arithmetic", "level": level}} for level in (1, 2)]
    before = evaluate("before", reward="vowel", tasks=tasks)
    found = evaluate("after", reward="vowel", tasks=tasks, seed=1, baseline=str(before.path)).results["tasks"]
    plain = [task["against"]["difference"]["p_value"] for task in found.values()]
    assert [task["against"]["p_holm"] for task in found.values()] == pytest.approx(holm(plain))


def test_a_baseline_that_measured_something_else_is_refused(evaluate: Evaluate) -> None:
    before = evaluate("before", reward="vowel", rows=5)
    with pytest.raises(ConfigError, match="the baseline measured none of these tasks"):
        evaluate("after", reward="vowel", baseline=str(before.path))


def test_a_baseline_that_cannot_be_read_is_named(evaluate: Evaluate, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    for name in ("items.jsonl", "results.json"):
        (tmp_path / "broken" / name).write_text("{")
    with pytest.raises(ConfigError, match=r"the baseline's results\.json cannot be read"):
        evaluate(baseline=str(tmp_path / "broken"))


def test_a_baseline_whose_rows_are_damaged_is_named_before_anything_is_sampled(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    before = evaluate("before", reward="vowel")
    for damaged in ("{\n", '{"task": "arithmetic"}\n', "[]\n"):
        (before.path / "items.jsonl").write_text(damaged)
        with pytest.raises(ConfigError, match=r"the baseline's items\.jsonl cannot be read"):
            evaluate("after", reward="vowel", baseline=str(before.path))
    assert not (tmp_path / "after").exists()


def test_prompts_that_leave_no_room_in_the_context_are_counted_and_named(
    evaluate: Evaluate, listener: Notes, tmp_path: Path
) -> None:
    rows = [{"prompt": "long " * 200, "answer": "1"}, {"prompt": "short", "answer": "1"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = [{"name": "odd", "data": str(tmp_path / "rows.jsonl")}]
    evaluate(reward="vowel", tasks=tasks, progress=listener)
    found = next(note for note in listener.notes if "positions" in note)
    assert found.startswith("odd: 1 of 2 prompts leave less than 6 of the model's 512 positions: 'long long")


def test_the_reward_win_rate_wins_against_the_model_of_an_earlier_evaluation(evaluate: Evaluate) -> None:
    before = evaluate("before", tasks="arithmetic")
    settings = resolve(
        EvalSettings,
        {**before.config["settings"], "baseline": str(before.path), "tasks": ["arithmetic", "reward-win-rate"]},
    )
    plan = plan_evaluation(settings)
    assert plan.baseline is not None
    assert plan.baseline.path == plan.source.path
    assert plan.earlier is not None
    assert dict(plan.earlier.names) == {"arithmetic": "arithmetic"}


def test_a_sure_result_stops_early_and_says_how_many_problems_it_took(evaluate: Evaluate) -> None:
    sampling = {"sampling.batch_size": 20, "max_new_tokens": 2}
    run = evaluate(reward="always", rows=200, samples=1, stop_width=0.2, **sampling)
    task = run.results["tasks"]["arithmetic"]
    stopped, interval = task["stopped"], task["values"]["pass@1"]
    assert stopped["reached"]
    assert stopped["problems"] % 20 == 0
    assert stopped["problems"] == task["items"] == interval["n"] < 200
    assert interval["method"] == "confidence sequence"
    assert interval["high"] - interval["low"] <= 0.2


def test_a_width_out_of_reach_uses_every_problem(evaluate: Evaluate) -> None:
    task = evaluate(reward="vowel", stop_width=0.01).results["tasks"]["arithmetic"]
    assert task["stopped"] == {"problems": 6, "planned": 6, "width": 0.01, "reached": False}


def test_evaluations_of_the_same_problems_compare_and_others_are_refused(evaluate: Evaluate, tiny_model: str) -> None:
    one, two = evaluate("a", reward="vowel"), evaluate("b", reward="vowel", seed=1)
    compared = rlllm.compare(one.path, two.path).tasks[0]
    assert (compared.items, compared.only_a, compared.only_b) == (6, 0, 0)
    with pytest.raises(RlllmError):
        rlllm.compare(one.path, evaluate("c", reward="vowel", rows=5).path)


def test_a_plan_says_what_will_be_measured_and_is_json(tiny_model: str) -> None:
    plan = plan_evaluation(
        resolve(EvalSettings, {"model": tiny_model, "baseline": tiny_model, "tasks": ["pass", "reward-win-rate"]})
    )
    labels = [label for label, _ in plan.lines()]
    expected = ["stage", "model", "baseline", "task", "task", "samples", "completions", "detects", "detects"]
    assert labels == expected
    assert [task["metric"] for task in json.loads(json.dumps(plan.to_json()))["tasks"]] == ["pass", "reward-win-rate"]


def test_greedy_completions_are_one_whatever_their_number(tiny_model: str) -> None:
    def plan(**settings: Any) -> EvalPlan:
        return plan_evaluation(resolve(EvalSettings, {"model": tiny_model, "rows": 50}, settings.items()))

    greedy = {"sampling.temperature": 0.0}
    assert plan(samples=8, **greedy).detectable() == plan(samples=1).detectable()
    assert plan(samples=8).detectable()["arithmetic"] < plan(samples=1).detectable()["arithmetic"]
    said = dict(plan(samples=8, **greedy).lines())
    assert said["greedy"] == "the 8 completions of a problem are all the same: samples=1 says as much"
    assert "greedy" not in dict([*plan(samples=1, **greedy).lines(), *plan(samples=8).lines()])


def test_the_hash_of_a_task_follows_all_that_is_measured(tiny_model: str) -> None:
    def task_hash(**settings: Any) -> str:
        config = resolve(EvalSettings, {"model": tiny_model, "rows": 6}, settings.items())
        return plan_evaluation(config).tasks[0].hash(config)

    base = task_hash()
    assert task_hash(**{"sampling.batch_size": 2}) == base
    for change in ({"rows": 5}, {"temperature": 0.5}, {"rewards": "format"}, {"data.level": 1}, {"data.seed": 1}):
        assert task_hash(**change) != base
