"""Tasks of lm-evaluation-harness on our engines: item by item what the harness's own backend gives."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.config import resolve
from rlllm.core.errors import ConfigError
from rlllm.core.runs import read_jsonl
from rlllm.evals.harness.tasks import check_task, task_identity
from rlllm.stages.evaluate.plan import plan_evaluation
from rlllm.stages.evaluate.settings import EvalSettings

pytest.importorskip("lm_eval", reason="pip install 'rlllm[lm-eval]'")
ROOT = Path(__file__).resolve().parents[3]
TASKS = Path("tests/fixtures/lm_eval")
Model = tuple[Any, Any]


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)


@pytest.fixture(scope="module")
def model(nano: str) -> Model:
    from rlllm.policies.loading import load_policy, load_tokenizer
    from rlllm.policies.model_sources import resolve_model

    source = resolve_model(nano)
    return load_policy(source).eval(), load_tokenizer(source)


def params(task: str, **changes: Any) -> dict[str, Any]:
    return {"task": task, "include": [str(TASKS)], "shots": None, "chat": False, "limit": None, **changes}


def both(model: Model, batch_size: int, **asked: Any) -> list[Mapping[str, Any]]:
    """Results of the harness's backend and of ours."""
    from lm_eval import evaluator
    from lm_eval.models.huggingface import HFLM

    from rlllm.evals.harness.model import EngineLM
    from rlllm.evals.harness.run import load_tasks
    from rlllm.rollouts.config import SamplingConfig

    backends = (
        HFLM(pretrained=model[0], tokenizer=model[1], batch_size=batch_size),
        EngineLM(*model, SamplingConfig(batch_size=batch_size)),
    )
    wanted = params(**asked)
    return [
        evaluator.evaluate(one, load_tasks(wanted), bootstrap_iters=0, apply_chat_template=wanted["chat"])
        for one in backends
    ]


def rows(results: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    (found,) = results["samples"].values()
    return found


@pytest.mark.parametrize(("batch_size", "shots"), [(1, None), (8, None), (256, None), (8, 3)])
def test_multiple_choice_is_item_by_item_that_of_the_harness(model: Model, batch_size: int, shots: int | None) -> None:
    theirs, ours = both(model, batch_size, task="rlllm_sums_choice", shots=shots)
    assert theirs["results"] == ours["results"]
    for there, here in zip(rows(theirs), rows(ours), strict=True):
        assert there["arguments"] == here["arguments"]
        for [(there_logp, there_greedy)], [(here_logp, here_greedy)] in zip(there["resps"], here["resps"], strict=True):
            assert here_logp == pytest.approx(there_logp, abs=1e-4)
            assert here_greedy == there_greedy


@pytest.mark.parametrize(("batch_size", "chat"), [(1, True), (8, True), (8, False)])
def test_written_answers_are_item_by_item_those_of_the_harness(model: Model, batch_size: int, chat: bool) -> None:
    theirs, ours = both(model, batch_size, task="rlllm_sums_write", chat=chat)
    assert theirs["results"] == ours["results"]
    for there, here in zip(rows(theirs), rows(ours), strict=True):
        assert (there["resps"], there["filtered_resps"]) == (here["resps"], here["filtered_resps"])
    if chat:
        assert ours["results"]["rlllm_sums_write"]["exact_match,marked"] > 0.5


def asked(*arguments: Any) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance("loglikelihood", {}, one, number) for number, one in enumerate(arguments)]


PAIRS = [
    ("", "4"),
    ("a", "b"),
    ("What is 2 + 2?", " 4"),
    ("What is 2 + 2?", " 4 and so on"),
    ("What is 2 + 2? ", "4"),
    ("What is 2 + 2?", " 4"),
    ("long " * 400, "an end"),
    ("begin", " and go on" * 20),
    ("日本 🙂", " ü"),
]


def test_odd_contexts_are_scored_as_by_the_harness(model: Model) -> None:
    from lm_eval.models.huggingface import HFLM

    from rlllm.evals.harness.model import EngineLM
    from rlllm.rollouts.config import SamplingConfig

    theirs = HFLM(pretrained=model[0], tokenizer=model[1], batch_size=4).loglikelihood(asked(*PAIRS), disable_tqdm=True)
    ours = EngineLM(*model, SamplingConfig(batch_size=4)).loglikelihood(asked(*PAIRS))
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    assert [logp for logp, _ in ours] == pytest.approx([logp for logp, _ in theirs], abs=1e-2, rel=1e-5)


@pytest.mark.parametrize(("continuation", "tokens"), [("", "0"), ("long " * 2000, "1000")])
def test_what_the_harness_cannot_score_is_refused_and_gets_no_number(
    model: Model, continuation: str, tokens: str
) -> None:
    from rlllm.evals.harness.model import EngineLM
    from rlllm.rollouts.config import SamplingConfig

    with pytest.raises(ConfigError, match=f"a text of {tokens}[0-9]* tokens"):
        EngineLM(*model, SamplingConfig(batch_size=4)).loglikelihood(asked(("What?", continuation)))


def test_whole_texts_are_scored_as_by_the_harness(model: Model) -> None:
    from lm_eval.models.huggingface import HFLM

    from rlllm.evals.harness.model import EngineLM
    from rlllm.rollouts.config import SamplingConfig

    texts = asked(("one two three",), ("x",), ("a longer text " * 200,))
    theirs = HFLM(pretrained=model[0], tokenizer=model[1], batch_size=2).loglikelihood_rolling(texts, disable_tqdm=True)
    assert EngineLM(*model, SamplingConfig(batch_size=2)).loglikelihood_rolling(texts) == pytest.approx(
        theirs, rel=1e-4
    )


def test_what_no_engine_offers_the_backend_does(model: Model) -> None:
    from lm_eval.models.huggingface import HFLM

    from rlllm.evals.harness.model import EngineLM
    from rlllm.rollouts.config import SamplingConfig

    requests = asked(("<|user|>What is 2 + 2?<|assistant|>", {"until": [], "max_gen_toks": 12, "num_beams": 2}))
    theirs = HFLM(pretrained=model[0], tokenizer=model[1]).generate_until(requests, disable_tqdm=True)
    assert EngineLM(*model, SamplingConfig()).generate_until(requests) == theirs


def test_more_tokens_than_the_context_holds_are_refused(model: Model) -> None:
    from rlllm.evals.harness.model import EngineLM
    from rlllm.rollouts.config import SamplingConfig

    with pytest.raises(ConfigError, match="more tokens than the model's context holds"):
        EngineLM(*model, SamplingConfig()).generate_until(asked(("x", {"max_gen_toks": 10**6})))


def test_a_task_of_the_harness_is_evaluated_like_any_other(nano: str, tmp_path: Path) -> None:
    file = str(TASKS / "sums_choice.yaml")
    run = rlllm.evaluate(tasks=[f"lm-eval:{file}", "arithmetic"], model=nano, rows=5, samples=1, max_new_tokens=4,
                         output_dir=tmp_path / "run")  # fmt: skip
    assert run.ok
    task = run.results["tasks"]["lm-eval:rlllm_sums_choice"]
    items = [row for row in read_jsonl(run.path / "items.jsonl") if row["task"] == "lm-eval:rlllm_sums_choice"]
    assert len(items) == task["items"] == 5
    assert "samples" not in task, "the harness asks once, whatever the other tasks do"
    assert task["values"]["acc"]["estimate"] == pytest.approx(sum(row["scores"][0] for row in items) / 5)
    assert task["values"]["acc"]["method"] == "wilson"
    assert len({row["id"] for row in items}) == 5


def test_the_same_task_by_name_and_by_file_compares(nano: str, tmp_path: Path) -> None:
    settings = {"model": nano, "rows": 4, "harness": {"include": [str(TASKS)]}}
    before = rlllm.evaluate(tasks="lm-eval:rlllm_sums_choice", output_dir=tmp_path / "a", **settings)
    after = rlllm.evaluate(
        tasks="lm-eval:rlllm_sums_choice", baseline=str(before.path), output_dir=tmp_path / "b", **settings
    )
    assert after.results["tasks"]["lm-eval:rlllm_sums_choice"]["values"]["over a"]["estimate"] == 0


REFUSED = [
    ("no_such_task", "lm-evaluation-harness cannot load the task"),
    ("bad_data", "lm-evaluation-harness cannot load the task"),
]


@pytest.mark.parametrize(("name", "words"), REFUSED)
def test_a_task_that_does_not_load_is_named(tmp_path: Path, name: str, words: str) -> None:
    from rlllm.evals.harness.run import load_tasks

    text = (TASKS / "sums_choice.yaml").read_text().replace("rlllm_sums_choice", "bad_data", 1)
    (tmp_path / "bad.yaml").write_text(text.replace("sums_choice.jsonl", "missing.jsonl"))
    with pytest.raises(ConfigError, match=words):
        load_tasks(params(name, include=[str(tmp_path)]))


FILES = [
    ("task: my_task\n", None),
    ("other: 1\n", "names no task"),
    ("  task: nested\n", "names no task"),
    (None, "read"),
]


@pytest.mark.parametrize(("text", "words"), FILES)
def test_a_task_file_says_its_name(tmp_path: Path, text: str | None, words: str | None) -> None:
    path = tmp_path / "task.yaml"
    if text is not None:
        path.write_text(text)
    if words is None:
        assert check_task(params(str(path))) == "my_task"
        return
    with pytest.raises(ConfigError, match=words):
        check_task(params(str(path)))


def test_the_identity_of_a_task_follows_its_file_and_how_it_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    shutil.copy(TASKS / "sums_choice.yaml", path)
    first = task_identity(params(str(path)))
    assert task_identity(params(str(path), include=[])) == first
    for change in ({"shots": 2}, {"chat": True}, {"limit": 3}):
        assert task_identity(params(str(path), **change)) != first
    path.write_text(path.read_text() + "description: other\n")
    assert task_identity(params(str(path))) != first


def test_a_plan_names_the_task_and_imports_nothing_heavy(nano: str) -> None:
    plan = plan_evaluation(
        resolve(EvalSettings, {"model": nano, "tasks": f"lm-eval:{TASKS / 'sums_write.yaml'}", "rows": 9})
    )
    assert ("task", "lm-eval:rlllm_sums_write: lm-eval on at most 9 rows of lm-evaluation-harness") in plan.lines()
    assert json.loads(json.dumps(plan.to_json()))["tasks"][0]["rows"] == 9


def test_a_task_that_would_run_the_models_programs_is_refused(tmp_path: Path) -> None:
    from rlllm.evals.harness.run import load_tasks

    path = tmp_path / "unsafe.yaml"
    path.write_text((TASKS / "sums_write.yaml").read_text() + "unsafe_code: true\n")
    with pytest.raises(ConfigError, match="outside of any sandbox"):
        load_tasks(params(str(path)))


def test_what_goes_on_past_the_first_tokens_is_one_text(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlllm.evals.harness import model as harness_model
    from rlllm.rollouts.config import SamplingConfig

    requests = asked(
        *[(f"<|user|>What is {n} + 3?<|assistant|>", {"until": ["zzz"], "max_gen_toks": 30}) for n in range(5)]
    )
    lm = harness_model.EngineLM(*model, SamplingConfig(batch_size=4))
    whole = lm.generate_until(requests)
    monkeypatch.setattr(harness_model, "FIRST_TOKENS", 3)
    assert lm.generate_until(requests) == whole
