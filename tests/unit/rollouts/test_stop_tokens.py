"""The token by which a template ends a turn ends a completion, whatever the model's own settings say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.events import NullProgress
from rlllm.policies.chat import add_end_of_turn, end_of_turn
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rollouts.engines.loading import open_engine

HEAD = "{%- for m in messages -%}<|{{ m.role }}|>{{ m.content }}"
TAIL = "{%- endfor -%}{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
TEMPLATES: list[tuple[str, str, int | None]] = [
    ("the end", HEAD + "<|end|>" + TAIL, 257),
    ("the end and a newline", HEAD + "{{ '<|end|>\\n' }}" + TAIL, 257),
    ("a newline and the end", HEAD + "{{ '\\n<|end|>' }}" + TAIL, 257),
    ("after answers alone", HEAD + "{%- if m.role == 'assistant' -%}<|pad|>{%- endif -%}" + TAIL, 256),
    ("no end", HEAD + TAIL, None),
    ("words in the place of a token", HEAD + " END\n" + TAIL, None),
    ("refuses what it is asked", "{{ raise_exception('no') }}", None),
]


class Notes(NullProgress):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def stopless(nano: str, tmp_path: Path) -> str:
    """nano with <|pad|> as its end token everywhere, while its template ends turns with <|end|>."""
    folder = tmp_path / "stopless"
    shutil.copytree(nano, folder)
    for name, changes in (
        ("tokenizer_config.json", {"eos_token": "<|pad|>", "pad_token": "<|pad|>"}),
        ("config.json", {"eos_token_id": 256, "pad_token_id": 256}),
        ("generation_config.json", {"eos_token_id": 256, "pad_token_id": 256}),
    ):
        path = folder / name
        path.chmod(0o644)
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return str(folder)


@pytest.mark.parametrize(("name", "template", "token"), TEMPLATES)
def test_the_end_of_a_turn_is_read_from_the_template(name: str, template: str, token: int | None, nano: str) -> None:
    tokenizer = load_tokenizer(resolve_model(nano))
    tokenizer.chat_template = template
    assert end_of_turn(tokenizer) == token


def test_a_tokenizer_without_a_template_has_no_turns(nano: str) -> None:
    tokenizer = load_tokenizer(resolve_model(nano))
    tokenizer.chat_template = None
    assert end_of_turn(tokenizer) is None


def test_a_model_that_stops_where_its_template_ends_is_left_as_it_is(nano: str) -> None:
    source = resolve_model(nano)
    model = load_policy(source)
    assert add_end_of_turn(model, load_tokenizer(source)) is None
    assert model.generation_config.eos_token_id == 257


def test_a_stop_token_that_is_missing_is_added_once_and_said_once(stopless: str) -> None:
    source = resolve_model(stopless)
    model, tokenizer = load_policy(source), load_tokenizer(source)
    assert "ends a turn with <|end|>" in (add_end_of_turn(model, tokenizer) or "")
    assert model.generation_config.eos_token_id == [256, 257]
    assert add_end_of_turn(model, tokenizer) is None


@pytest.mark.parametrize("engine", ["native", "hf"])
def test_every_engine_stops_at_the_end_of_the_turn(engine: str, stopless: str) -> None:
    source = resolve_model(stopless)
    assert open_engine(engine, load_policy(source), load_tokenizer(source)).stop_ids() == {256, 257}


SMALL: dict[str, Any] = {"data": {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 4}, "eval": {"rows": 0}}


def test_an_evaluation_of_such_a_model_measures_its_answers(stopless: str, tmp_path: Path) -> None:
    progress = Notes()
    run = rlllm.evaluate(
        model=stopless,
        tasks=["arithmetic"],
        rows=4,
        samples=1,
        sampling={"max_new_tokens": 64},
        output_dir=tmp_path / "run",
        progress=progress,
    )
    assert run.results["tasks"]["arithmetic"]["truncated"] == 0
    assert any("which was no stop token of the model" in note for note in progress.notes)


@pytest.mark.parametrize("engine", ["native", "hf"])
def test_the_loop_samples_to_the_end_of_the_turn(engine: str, stopless: str, tmp_path: Path) -> None:
    run = rlllm.reason(
        model=stopless,
        rollout={"max_new_tokens": 32, "group_size": 2, "engine": engine},
        per_device_train_batch_size=4,
        max_steps=1,
        output_dir=tmp_path / "run",
        **SMALL,
    )
    assert run.metrics()[0]["completions/clipped_ratio"] < 1


@pytest.mark.parametrize("verb", ["sft", "align"])
def test_a_saved_model_stops_at_the_end_that_it_was_taught(verb: str, stopless: str, tmp_path: Path) -> None:
    run = getattr(rlllm, verb)(model=stopless, max_steps=1, output_dir=tmp_path / "run", **SMALL)
    assert 257 in json.loads((run.model / "generation_config.json").read_text())["eos_token_id"]
