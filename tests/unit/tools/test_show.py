"""What `rlllm data show` shows is what the trainers see, token by token, and what is wrong with a template is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rlllm.core.errors import ConfigError, DataError, UnknownNameError
from rlllm.data.config import DataConfig
from rlllm.tools.data.show import Shown, show_data

PROMPT, GOOD, BAD = "What is 2 + 3?", "It is 5.", "No idea"
USER, SAID, OTHER = (
    [{"role": "user", "content": PROMPT}],
    [{"role": "assistant", "content": GOOD}],
    [{"role": "assistant", "content": BAD}],
)


def written(folder: Path, *rows: Mapping[str, Any]) -> DataConfig:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return DataConfig(name=str(path))


@pytest.fixture
def conversation(tmp_path: Path) -> DataConfig:
    return written(tmp_path, {"prompt": PROMPT, "completion": GOOD})


@pytest.fixture
def pair(tmp_path: Path) -> DataConfig:
    return written(tmp_path, {"prompt": PROMPT, "chosen": GOOD, "rejected": BAD})


def sides(shown: Shown) -> dict[str, tuple[list[int], list[bool]]]:
    return {
        one.name: ([token.id for token in one.tokens], [token.trains for token in one.tokens])
        for one in shown.records[0].sequences
    }


def trl_batch(config: str, trainer: str, row: Mapping[str, Any], model: Any, folder: Path, **settings: Any) -> Any:
    """The first batch of TRL's own trainer on one row, written here by hand, with the embedded model."""
    from datasets import Dataset

    from rlllm.algorithms import _trl
    from rlllm.policies.loading import load_tokenizer
    from rlllm.policies.model_sources import resolve_model

    tokenizer = load_tokenizer(resolve_model("nano"))
    args = getattr(_trl, config)(output_dir=str(folder), report_to="none", bf16=False, use_cpu=True, **settings)
    made = getattr(_trl, trainer)(
        model=model, args=args, train_dataset=Dataset.from_list([dict(row)]), processing_class=tokenizer
    )
    return next(iter(made.get_train_dataloader()))


def policy() -> Any:
    from rlllm.policies.loading import load_policy
    from rlllm.policies.model_sources import resolve_model

    return load_policy(resolve_model("nano"))


@pytest.mark.parametrize("settings", [{}, {"max_length": 24}, {"completion_only_loss": False}])
def test_supervised_tokens_are_those_of_trls_trainer(
    conversation: DataConfig, tmp_path: Path, settings: dict[str, Any]
) -> None:
    batch = trl_batch("SFTConfig", "SFTTrainer", {"prompt": USER, "completion": SAID}, policy(), tmp_path, **settings)
    shown = show_data(conversation, kind="sft", rows=1, model="nano", settings=settings.items())
    assert sides(shown) == {"text": (batch["input_ids"][0].tolist(), (batch["labels"][0] != -100).tolist())}


@pytest.mark.parametrize("limit", [1024, 26])
def test_preference_tokens_are_those_of_trls_trainer(pair: DataConfig, tmp_path: Path, limit: int) -> None:
    row = {"prompt": USER, "chosen": SAID, "rejected": OTHER}
    batch = trl_batch("DPOConfig", "DPOTrainer", row, policy(), tmp_path, max_length=limit)
    shown = sides(show_data(pair, kind="align", rows=1, model="nano", settings=[("max_length", limit)]))
    for at, side in enumerate(("chosen", "rejected")):
        kept = batch["attention_mask"][at] == 1
        assert shown[side] == (
            batch["input_ids"][at][kept].tolist(),
            (batch["completion_mask"][at][kept] == 1).tolist(),
        )


def test_labelled_tokens_are_those_of_trls_trainer(tmp_path: Path) -> None:
    data = written(tmp_path, {"prompt": PROMPT, "completion": GOOD, "label": True})
    row = {"prompt": USER, "completion": SAID, "label": True}
    batch = trl_batch("KTOConfig", "KTOTrainer", row, policy(), tmp_path)
    shown = sides(show_data(data, kind="kto", rows=1, model="nano"))
    assert shown == {"text": (batch["input_ids"][0].tolist(), (batch["completion_mask"][0] == 1).tolist())}


def test_scored_tokens_are_those_of_trls_trainer(pair: DataConfig, tmp_path: Path) -> None:
    from rlllm.policies.loading import load_classifier, load_tokenizer
    from rlllm.policies.model_sources import resolve_model

    source = resolve_model("nano")
    scorer = load_classifier(source, load_tokenizer(source))
    row = {"prompt": USER, "chosen": SAID, "rejected": OTHER}
    batch = trl_batch("RewardConfig", "RewardTrainer", row, scorer, tmp_path)
    shown = sides(show_data(pair, kind="train-rm", rows=1, model="nano"))
    for at, side in enumerate(("chosen", "rejected")):
        assert shown[side][0] == batch["input_ids"][at][batch["attention_mask"][at] == 1].tolist()
        assert not any(shown[side][1])


def test_prompts_are_those_from_which_the_loop_samples(tiny_model: str, tmp_path: Path) -> None:
    from rlllm.core.events import NullProgress
    from rlllm.core.runs import Run
    from rlllm.launch import local
    from rlllm.policies.loading import load_policy, load_tokenizer
    from rlllm.policies.model_sources import resolve_model
    from rlllm.stages.catalog import plan, resolve_settings
    from rlllm.training.flow import Job
    from rlllm.training.trainers import rl

    data = written(tmp_path, {"prompt": PROMPT, "answer": "5"})
    settings = {"per_device_train_batch_size": 2, "rollout": {"group_size": 2, "max_new_tokens": 2}}
    recipe = {"model": tiny_model, "data": data.name, "rewards": ["exact"], **settings}
    planned: Any = plan(resolve_settings("reason", recipe))
    source = resolve_model(tiny_model)
    job = Job(planned, Run(tmp_path), local.prepare(), load_tokenizer(source), load_policy(source), NullProgress())
    loop = rl.build(job, [])
    output = loop._generate_and_score_completions([loop.train_dataset[0]] * 2)
    shown = sides(show_data(data, kind="reason", rows=1, model=tiny_model))
    assert shown["prompt"][0] == output["prompt_ids"][0].tolist()


@pytest.mark.parametrize("kind", ["cpo", "orpo", "ensemble", "process", "rloo", "spin", "iterative-dpo"])
def test_every_trainer_of_recorded_rows_or_prompts_has_a_preview(kind: str) -> None:
    shown = show_data(DataConfig(name="arithmetic"), kind=kind, rows=1, model="nano")
    assert all(one.tokens and not one.dropped for one in shown.records[0].sequences)


def test_the_third_completion_is_shown() -> None:
    data = DataConfig(name="arithmetic", params={"reference": True})
    assert set(sides(show_data(data, kind="tpo", rows=1, model="nano"))) == {"chosen", "rejected", "reference"}


def test_what_is_cut_off_and_what_is_left_out_is_said(pair: DataConfig) -> None:
    cut = show_data(pair, rows=1, model="nano", settings=[("max_length", 20)]).records[0].sequences[0]
    assert len(cut.tokens) == 20
    assert "".join(token.text for token in cut.cut).endswith("5.<|end|>")
    assert any("cut off at max_length=20" in note for note in cut.notes)
    assert any("no end-of-sequence token trains" in note for note in cut.notes)
    gone = show_data(pair, rows=1, model="nano", settings=[("max_length", 4)]).records[0].sequences[0]
    assert gone.dropped
    assert not gone.tokens
    assert "left out of training" in gone.notes[0]
    kept_end = [("max_length", 20), ("truncation_mode", "keep_end")]
    end = show_data(pair, rows=1, model="nano", settings=kept_end).records[0].sequences[0]
    assert end.rendered.endswith("5.<|end|>")
    assert end.cut[0].text == "<|user|>"


def altered(folder: Path, model: str, template: str | None, **marks: str) -> str:
    """A copy of a model whose tokenizer has another chat template."""
    from rlllm.policies.loading import load_tokenizer
    from rlllm.policies.model_sources import resolve_model

    copy = folder / "altered"
    shutil.copytree(model, copy)
    (copy / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer = load_tokenizer(resolve_model(model))
    tokenizer.chat_template = template
    for name, mark in marks.items():
        setattr(tokenizer, name, mark)
    tokenizer.save_pretrained(copy)
    return str(copy)


TURNS = "{% for m in messages %}<|{{ m.role }}|>"
OPEN = "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"


def test_a_template_that_strips_is_seen(tmp_path: Path, tiny_model: str) -> None:
    data = written(tmp_path, {"prompt": PROMPT, "completion": f"  {GOOD}"})
    model = altered(tmp_path, tiny_model, TURNS + "{{ m.content | trim }}<|end|>" + OPEN)
    one = show_data(data, kind="sft", rows=1, model=model).records[0].sequences[0]
    assert one.check is not None
    assert not one.check.same
    difference = one.check.difference
    assert difference is not None
    assert difference.training.endswith("<|assistant|>It is 5.<|end|>"[-24:])
    assert "<|assistant|>  It is 5." in difference.generation
    assert any("differ at byte" in note for note in one.notes)


def test_a_template_without_an_end_is_seen(tmp_path: Path, tiny_model: str, conversation: DataConfig) -> None:
    model = altered(tmp_path, tiny_model, TURNS + "{{ m.content }}" + OPEN)
    one = show_data(conversation, rows=1, model=model).records[0].sequences[0]
    assert one.ends == []
    assert one.check is not None
    assert one.check.same
    assert one.check.added == ""
    assert one.notes == ["no end-of-sequence token trains: the model does not learn to stop"]


def test_a_doubled_beginning_is_seen(tmp_path: Path, tiny_model: str, conversation: DataConfig) -> None:
    template = "{{ bos_token }}{{ bos_token }}" + TURNS + "{{ m.content }}<|end|>" + OPEN
    model = altered(tmp_path, tiny_model, template, bos_token="<|system|>")
    one = show_data(conversation, rows=1, model=model).records[0].sequences[0]
    assert any("stands there twice" in note for note in one.notes)


def test_a_template_whose_generation_opens_otherwise_is_seen(
    tmp_path: Path, tiny_model: str, conversation: DataConfig
) -> None:
    template = TURNS + "{{ m.content }}<|end|>" + OPEN.replace("<|assistant|>", "<|assistant|><think>")
    model = altered(tmp_path, tiny_model, template)
    one = show_data(conversation, rows=1, model=model).records[0].sequences[0]
    assert one.check is not None
    assert one.check.difference is not None
    assert one.check.difference.generation.find("<think>") > 0
    assert not one.check.tokens_same


def test_plain_text_without_a_template_gets_an_end(tmp_path: Path, tiny_model: str) -> None:
    data = written(tmp_path, {"text": "Once upon a time."})
    model = altered(tmp_path, tiny_model, None)
    one = show_data(data, rows=1, model=model).records[0].sequences[0]
    assert one.rendered == "Once upon a time.<|end|>"
    assert all(token.trains for token in one.tokens)
    assert one.check is None
    assert one.notes == []


def test_parts_of_a_character_are_spelled(tmp_path: Path) -> None:
    data = written(tmp_path, {"prompt": "é?", "completion": "ü\u2028😀"})
    one = show_data(data, kind="sft", rows=1, model="nano").records[0].sequences[0]
    assert "ü\u2028😀" in one.rendered
    assert not any("\ufffd" in token.text for token in one.tokens)


@pytest.mark.parametrize(
    ("row", "kind", "method"),
    [
        ({"prompt": "a", "completion": "b"}, "Conversation", "sft"),
        ({"messages": [*USER, *SAID]}, "Conversation", "sft"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "PreferencePair", "dpo"),
        ({"prompt": "a", "completion": "b", "label": True}, "LabelledCompletion", "kto"),
        ({"prompt": "a", "completions": ["b"], "labels": [True]}, "StepwiseSolution", "process"),
        ({"prompt": "a", "ground_truth": "b"}, "PromptTask", "grpo"),
    ],
)
def test_the_most_specific_record_is_found(tmp_path: Path, row: dict[str, Any], kind: str, method: str) -> None:
    shown = show_data(written(tmp_path, row))
    assert (shown.kind, shown.method) == (kind, method)
    assert shown.records[0].sequences == []


def test_the_columns_are_said(tmp_path: Path) -> None:
    shown = show_data(written(tmp_path, {"question": "a", "response": "b", "topic": "c"}))
    assert shown.columns == {"prompt": "question", "completion": "response"}
    assert shown.records[0].record.meta == {"topic": "c"}


@pytest.mark.parametrize("kind", ["nonsense", "eval"])
def test_an_unknown_kind_is_refused(kind: str, pair: DataConfig) -> None:
    with pytest.raises(UnknownNameError, match="unknown kind of data"):
        show_data(pair, kind=kind)


def test_what_has_no_tokens_or_no_rows_is_refused(pair: DataConfig) -> None:
    with pytest.raises(ConfigError, match="makes questions of its own"):
        show_data(pair, kind="generative", model="nano")
    with pytest.raises(ConfigError, match="at least one row"):
        show_data(pair, rows=0)
    with pytest.raises(ConfigError, match="not a setting here"):
        show_data(pair, model="nano", settings=[("data.rows", 3)])
    with pytest.raises(ConfigError, match="unknown value of truncation_mode"):
        show_data(pair, model="nano", settings=[("truncation_mode", "middle")])
    with pytest.raises(ConfigError, match="TRL refuses these settings"):
        show_data(pair, model="nano", settings=[("pad_token", "<nope>")])
    with pytest.raises(DataError, match="needs a third completion"):
        show_data(pair, kind="tpo", model="nano")
    with pytest.raises(ConfigError, match="packed"):
        show_data(pair, model="nano", settings=[("packed", 3)])
    with pytest.raises(DataError, match="no rows"):
        show_data(pair.model_copy(update={"rows": 0}))


def test_a_template_that_refuses_a_record_is_an_error_that_says_so(tmp_path: Path, tiny_model: str) -> None:
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('no system prompts') }}{% endif %}"
    model = altered(tmp_path, tiny_model, refusal + TURNS + "{{ m.content }}<|end|>" + OPEN)
    data = written(tmp_path, {"messages": [{"role": "system", "content": "s"}, *USER, *SAID]})
    for kind in ("sft", "reason"):
        with pytest.raises(DataError, match="template of the tokenizer fails: no system prompts"):
            show_data(data, kind=kind, model=model)


def test_a_chat_for_a_tokenizer_without_a_template_is_an_error(tmp_path: Path, tiny_model: str) -> None:
    data = written(tmp_path, {"messages": [*USER, *SAID]})
    with pytest.raises(DataError, match="the model's tokenizer has no chat template"):
        show_data(data, kind="sft", model=altered(tmp_path, tiny_model, None))


def test_methods_with_a_reference_model_show_their_prompts_without_loading_it(tmp_path: Path) -> None:
    data = written(tmp_path, {"prompt": PROMPT, "answer": "5"})
    assert show_data(data, kind="ppo", model="nano").records[0].sequences[0].rendered.startswith("<|user|>What is")


def test_the_tools_of_a_row_are_in_its_prompt_where_the_template_renders_them(tmp_path: Path, tiny_model: str) -> None:
    template = (
        "{% for tool in tools or [] %}{{ tool.name }};{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    model = altered(tmp_path, tiny_model, template)
    data = written(tmp_path, {"prompt": "2 + 2?", "answer": "4", "tools": [{"name": "adder"}], "system": "Sums. "})
    for kind in ("reason", "sft"):
        (row,) = show_data(data, kind=kind, rows=1, model=model).records
        assert row.sequences[0].rendered.startswith("adder;Sums. 2 + 2?")
        assert not any("tools" in note for note in row.sequences[0].notes)
    (row,) = show_data(data, kind="reason", rows=1, model=tiny_model).records
    assert any("renders no descriptions of tools" in note for note in row.sequences[0].notes)
