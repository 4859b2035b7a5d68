"""Environments in a plan and in a run. The engine is a user's own: it calls the tool, and answers rightly every other time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError, DataError, UnknownNameError
from rlllm.stages import catalog

ENGINE = '''
import itertools
import re

from rlllm.plugins import Engine


class Caller(Engine):
    """Calls the tool of the run with what the prompt says; after the result it answers, wrongly every other time."""

    _turns = itertools.count()

    def __init__(self, model, tokenizer):
        self.tokenizer = tokenizer

    def generate(self, prompts, sampling):
        texts = [self._says(self.tokenizer.decode(list(ids))) for ids in prompts]
        return self.tokenizer([text + "<|end|>" for text in texts])["input_ids"]

    def _says(self, text):
        result = re.search(r"<\\|system\\|>=(-?\\w+)", text)
        if result is None:
            left, right = re.search(r"(\\d+) \\* (\\d+)", text).groups()
            return f"<<{CALL}={left}*{right}>>"
        return f"#### {result[1]}" if next(self._turns) % 2 else "#### 0"

    def stop_ids(self):
        return {self.tokenizer.eos_token_id}
'''
SHELF = '''
class Shelf:
    """Gives what was asked for, unless it is even."""

    def __init__(self, price: float = 0.5):
        self.price, self.given = price, 0

    def reset(self, **row):
        self.given, self.answer = 0, row["answer"]

    def fetch(self, what: str) -> str:
        """Fetch something.

        Args:
            what: The thing.
        """
        if int(self.answer) % 2 == 0:
            raise RuntimeError("nothing there")
        self.given += 1
        return "thing"

    def get_reward(self) -> float:
        return self.given - self.price
'''


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with the user's files."""
    (tmp_path / "calls.py").write_text(ENGINE.replace("{CALL}", "calculate expression"))
    (tmp_path / "fetches.py").write_text(ENGINE.replace("{CALL}", "fetch what"))
    (tmp_path / "shelf.py").write_text(SHELF)
    return tmp_path


def settings(model: str, parts: Path, engine: str, **more: Any) -> dict[str, Any]:
    return {
        "model": model,
        "data": {"name": "calculator", "rows": 16, "holdout": 4},
        "rollout": {"engine": f"{parts / engine}.py:Caller", "group_size": 2, "max_new_tokens": 96},
        "eval": {"rows": 4, "samples": 2},
        "trainer": {"max_steps": 2, "per_device_train_batch_size": 4},
        **more,
    }


def plan(**more: Any) -> Any:
    config = {"model": "nano", "data": {"name": "calculator", "rows": 64, "holdout": 4}, **more}
    return catalog.plan(catalog.resolve_settings("reason", config))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_plan_shows_the_environment_its_tools_and_the_rounds() -> None:
    made = plan(environment={"name": "calculator", "rounds": 2})
    lines = dict(made.lines())
    assert lines["environment"].startswith("calculator with calculate(expression: str)")
    assert "2 rounds" in lines["environment"]
    assert made.settings["max_tool_calling_iterations"] == 2
    assert made.to_json()["environment"] == lines["environment"]


@pytest.mark.parametrize("place", [0, 12])
def test_a_row_with_a_tool_that_the_environment_does_not_have_is_refused(tmp_path: Path, place: int) -> None:
    lines = [{"prompt": f"{n} * 3 = ?", "answer": str(3 * n)} for n in range(16)]
    for name in ("weather", "calculate"):
        tool = {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
        lines[place] = {**lines[place], "tools": [tool]}  # type: ignore[dict-item]
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = {"name": str(tmp_path / "weather.jsonl")}
    with pytest.raises(DataError, match="tool weather, and the environment calculator would not answer"):
        plan(environment="calculator", rewards="exact", data=data)
    left_out = plan(environment="calculator", rewards="exact", data={**data, "columns": {"tools": "none"}})
    own = plan(environment="calculator", rewards="exact", data={"name": str(tmp_path / "calculate.jsonl")})
    texts = ["column tools" in " ".join(value for _, value in made.lines()) for made in (left_out, own)]
    assert texts == [False, True]


def test_trls_own_name_for_the_rounds_wins_in_training_and_in_measuring() -> None:
    made = plan(environment="calculator", trainer={"max_tool_calling_iterations": 1})
    assert made.settings["max_tool_calling_iterations"] == 1
    assert made.environment is not None
    assert made.environment.rounds == 1


def test_an_environment_that_pays_is_the_reward_where_the_data_bring_none(parts: Path) -> None:
    (parts / "rows.jsonl").write_text("".join(f'{{"prompt": "{n} * 3 = ?"}}\n' for n in range(20)))
    data = {"name": str(parts / "rows.jsonl"), "holdout": 4}
    assert plan(environment=f"{parts}/shelf.py:Shelf", data=data).rewards.names == ["environment"]  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="no reward"):
        plan(environment="calculator", data=data)


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"environment": "calculater"}, UnknownNameError, "calculator"),
        ({"environment": {"name": "calculator", "digits": 3}}, ConfigError, "digits.*\n.*digits=3\n.*it takes none"),
        ({"environment": {"name": "calculator", "rounds": 0}}, ValueError, "rounds"),
        ({"environment": "rlllm.core.errors:closest"}, ConfigError, "not an environment"),
        ({"environment": "nowhere.py:Shelf"}, ConfigError, "no such file"),
        ({"environment": "guess"}, ConfigError, "cannot begin on a row: KeyError: 'secret'"),
        ({"rewards": ["environment"]}, ConfigError, "get_reward"),
        ({"environment": "calculator", "rewards": ["exact", "environment"]}, ConfigError, "get_reward"),
        ({"environment": "calculator", "method": "remax"}, ConfigError, "greedy"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_planned(more: dict[str, Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        plan(**more)


def test_planning_with_an_environment_does_not_import_torch() -> None:
    code = """
        import sys
        from rlllm.stages.catalog import plan, resolve_settings
        settings = {"model": "nano", "data": {"name": "guess", "rows": 64, "holdout": 4}, "environment": "guess"}
        plan(resolve_settings("reason", settings)).lines()
        assert not {"torch", "transformers", "trl"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", dedent(code)], check=True)


def test_a_run_trains_on_transcripts_and_measures_in_the_environment(tiny_model: str, parts: Path) -> None:
    run = rlllm.reason(
        **settings(tiny_model, parts, "calls"),
        environment={"name": "calculator", "rounds": 1},
        output_dir=parts / "run",
    )
    assert run.ok
    samples = rows(run.path / "samples.jsonl")
    assert len(samples) == 2 * 4
    for sample in samples:
        first, result, last = sample["transcript"]
        assert first["tool_calls"][0]["function"]["name"] == "calculate"
        assert (result["role"], result["content"]) == ("tool", sample["answer"])
        assert sample["completion"] == last["content"]
        assert sample["reward"] == float(sample["completion"] == f"#### {sample['answer']}")
    assert {row["tools/call_frequency"] for row in rows(run.path / "metrics.jsonl")} == {1.0}
    assert {row["tools/failure_frequency"] for row in rows(run.path / "metrics.jsonl")} == {0.0}
    measured = {row["name"]: row for row in json.loads((run.path / "results.json").read_text())["measures"]}
    assert measured["tool calls per rollout"]["after"]["estimate"] == 1.0
    assert 0 < measured["pass@1"]["after"]["estimate"] < 1
    assert "\n-> " in rows(run.path / "before_after.jsonl")[0]["after"][0]["completion"]


def test_a_users_environment_pays_and_its_failing_tool_is_told_the_model_and_counted(
    tiny_model: str, parts: Path
) -> None:
    run = rlllm.reason(
        **settings(tiny_model, parts, "fetches"),
        environment={"name": f"{parts / 'shelf.py'}:Shelf", "price": 0.25},
        rewards=["environment"],
        output_dir=parts / "run",
    )
    samples = rows(run.path / "samples.jsonl")
    for sample in samples:
        failed = int(sample["answer"]) % 2 == 0
        assert sample["reward"] == (-0.25 if failed else 0.75)
        assert sample["transcript"][1]["content"] == (str({"error": "nothing there"}) if failed else "thing")
    share = sum(int(sample["answer"]) % 2 == 0 for sample in samples) / len(samples)
    frequencies = [row["tools/failure_frequency"] for row in rows(run.path / "metrics.jsonl")]
    assert sum(frequencies) / len(frequencies) == pytest.approx(share)


def test_a_model_whose_template_knows_no_tools_is_refused_by_name(tiny_model: str, parts: Path) -> None:
    from transformers import AutoTokenizer

    folder = parts / "old"
    folder.mkdir()
    for path in Path(tiny_model).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    tokenizer.response_template = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ConfigError, match="shows no tool calls"):
        rlllm.reason(**settings(str(folder), parts, "calls"), environment="calculator", output_dir=parts / "run")


LLAMA_CALL = '{"name": "add", "parameters": {"a": 1}}'


@pytest.mark.parametrize("end", ["<|eom_id|>", "<|eot_id|>"])
@pytest.mark.parametrize("tag", ["<|python_tag|>", ""])
def test_calls_of_llama_3_are_read_with_either_end(tag: str, end: str) -> None:
    from trl.chat_template_utils import llama3_1_chat_template

    from rlllm.assets.build_nano import build_tokenizer
    from rlllm.training.environment import chat_template

    tokenizer = build_tokenizer()
    header = "<|start_header_id|>assistant<|end_header_id|>"
    markers = ["<|python_tag|>", "<|eom_id|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    tokenizer.add_special_tokens({"extra_special_tokens": [*tokenizer.all_special_tokens[2:], *markers]})
    tokenizer.chat_template, tokenizer.response_template = llama3_1_chat_template, None
    chat_template(tokenizer, "llama")
    before, turn, words = (
        tokenizer(text)["input_ids"] for text in (f"{header}\n\n", tag + LLAMA_CALL + end, f"Hi.{end}")
    )
    assert tokenizer.parse_response(turn, prefix=before)["tool_calls"][0]["function"] == {
        "name": "add",
        "arguments": {"a": 1},
    }
    assert tokenizer.parse_response(words, prefix=before)["content"] == "Hi."
