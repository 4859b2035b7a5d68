"""Rows that a model cannot read, rows that vanish, and templates that train something else: refused or said, never silent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, OPTConfig, RobertaConfig, RobertaForCausalLM

import rlllm
from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.errors import DataError
from rlllm.core.runs import Run
from rlllm.policies.positions import position_table

IDS = {"vocab_size": 261, "eos_token_id": 257, "bos_token_id": None, "pad_token_id": 256}
GPT2 = GPT2Config(**IDS, n_positions=48, n_embd=32, n_layer=1, n_head=2)
OPT = OPTConfig(
    **IDS,
    max_position_embeddings=48,
    hidden_size=32,
    ffn_dim=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    word_embed_proj_dim=32,
)
PAIR = {"prompt": "1+1=", "chosen": "2", "rejected": "3"}
VERBS: dict[str, tuple[Callable[..., Run], dict[str, Any], dict[str, Any], str]] = {
    # verb, row that fits, settings, column that makes it long
    "sft": (rlllm.sft, {"prompt": "1+1=", "completion": "2"}, {}, "completion"),
    "bt": (rlllm.train_rm, PAIR, {}, "rejected"),
    "dpo": (rlllm.align, PAIR, {}, "chosen"),
    "simpo": (rlllm.align, PAIR, {"method": "simpo"}, "rejected"),
    "kto": (rlllm.align, {"prompt": "1+1=", "completion": "2", "label": True}, {"method": "kto"}, "completion"),
    "process": (
        rlllm.train_rm,
        {"prompt": "1+1=", "steps": ["2", "so 3"], "labels": [True, False]},
        {"method": "process"},
        "prompt",
    ),
    "reason": (rlllm.reason, {"prompt": "1+1=", "answer": "2"}, {"rewards": ["exact"]}, "prompt"),
}


def written(folder: Path, config: Any) -> str:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return str(folder)


def with_template(folder: Path, nano: str, template: str) -> str:
    shutil.copytree(nano, folder)
    (folder / "chat_template.jinja").chmod(0o644)
    (folder / "chat_template.jinja").write_text(template)
    return str(folder)


def trained(verb: str, model: str, rows: list[Mapping[str, Any]], folder: Path, **settings: Any) -> Run:
    """A run of one step on these rows."""
    train, _, own, _ = VERBS[verb]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if verb == "reason":
        own = {**own, "num_generations": 2}
    options = {"max_steps": 1, "eval": {"rows": 0}, "per_device_train_batch_size": 2, **own, **settings}
    return train(model=model, data=str(path), output_dir=folder / "run", **options)


def rows_of(verb: str, **last: Any) -> list[Mapping[str, Any]]:
    """Five rows that fit, and a last one with these columns in place of its own."""
    _, row, _, _ = VERBS[verb]
    rows = [dict(row) for _ in range(6)]
    if verb == "kto":
        rows[1]["label"] = rows[3]["label"] = False
    return [*rows[:5], {**rows[5], **last}]


def codes(run: Run) -> dict[str, str]:
    return {reason["code"]: reason["text"] for reason in run.verdict["reasons"]}


# --- positions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [GPT2, OPT], ids=["gpt2", "opt"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_row_beyond_a_table_of_positions_is_named_before_training(verb: str, config: Any, tmp_path: Path) -> None:
    if verb in ("bt", "process") and config is OPT:
        pytest.skip("transformers has no token classifier of this kind")
    model = written(tmp_path / "m", config)
    long = rows_of(verb, **{VERBS[verb][3]: "x" * 60})
    with pytest.raises(DataError, match=r"row 6 has \d+ tokens, .* and the model a table of 48 positions"):
        trained(verb, model, long, tmp_path, **({"rollout": {"max_new_tokens": 8}} if verb == "reason" else {}))


def test_a_completion_that_has_no_room_in_the_table_counts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="of which 64 are the longest completion"):
        trained("reason", written(tmp_path / "m", GPT2), rows_of("reason"), tmp_path, rollout={"max_new_tokens": 64})


def test_an_evaluation_beyond_the_table_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "1+1=", "answer": "2"}) + "\n")
    with pytest.raises(DataError, match="a table of 48 positions"):
        rlllm.evaluate(
            model=written(tmp_path / "m", GPT2),
            tasks=[str(tmp_path / "rows.jsonl")],
            rewards=["exact"],
            sampling={"max_new_tokens": 64},
            output_dir=tmp_path / "run",
        )


def test_rows_that_are_cut_to_the_table_train(tmp_path: Path) -> None:
    run = trained("sft", written(tmp_path / "m", GPT2), rows_of("sft", completion="x" * 60), tmp_path, max_length=48)
    assert (run.ok, "rows_cut" in codes(run)) == (True, True)


def test_the_table_counts_the_positions_that_rows_can_have() -> None:
    sizes = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    roberta = RobertaForCausalLM(
        RobertaConfig(**sizes, intermediate_size=16, max_position_embeddings=34, pad_token_id=1, is_decoder=True)
    )
    models = [AutoModelForCausalLM.from_config(config) for config in (GPT2, OPT)]
    assert [position_table(model) for model in (*models, roberta)] == [48, 48, 32]
    roberta(torch.full((1, 32), 5))
    with pytest.raises((IndexError, RuntimeError)):
        roberta(torch.full((1, 33), 5))


@pytest.mark.parametrize("verb", ["sft", "bt", "dpo", "simpo", "kto", "process"])
def test_rows_beyond_the_context_of_rotary_positions_are_said(verb: str, tiny_model: str, tmp_path: Path) -> None:
    long = rows_of(verb, **{VERBS[verb][3]: "x" * 600})
    run = trained(verb, tiny_model, long, tmp_path, max_length=1024)
    assert codes(run)["rows_beyond_context"].startswith("1 of 6 training rows are longer than the model's context")


def test_no_row_is_beyond_the_context_where_rows_are_cut_at_it(tiny_model: str, tmp_path: Path) -> None:
    run = trained("sft", tiny_model, rows_of("sft", completion="x" * 600), tmp_path, max_length=512)
    assert "rows_beyond_context" not in codes(run)


# --- rows that vanish -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["sft", "bt", "dpo", "simpo", "kto", "process"])
def test_rows_that_are_left_out_are_counted(verb: str, tiny_model: str, tmp_path: Path) -> None:
    run = trained(verb, tiny_model, rows_of(verb, prompt="x" * 100), tmp_path, max_length=64)
    assert codes(run)["rows_dropped"].startswith("1 of 6 training rows were left out")
    assert run.verdict["diagnostics"]["rows"] == 5


@pytest.mark.parametrize("verb", ["sft", "bt", "dpo"])
def test_where_every_row_is_left_out_max_length_is_named(verb: str, tiny_model: str, tmp_path: Path) -> None:
    run = trained(verb, tiny_model, rows_of(verb), tmp_path, max_length=3)
    assert not run.ok
    assert "6 were left out as too long" in codes(run)["too_little_data"]
    assert "max_length" in run.verdict["reasons"][0]["hint"]


@pytest.mark.parametrize("method", ["orpo", "cpo", "simpo", "rrhf"])
@pytest.mark.parametrize("mode", ["keep_start", "keep_end"])
def test_cut_rows_give_finite_losses(method: str, mode: str, tiny_model: str, tmp_path: Path) -> None:
    """A side of which nothing is left would be a mean over no tokens."""
    prompt = "x" * 20
    rows = [{"prompt": prompt, "chosen": "y" * length, "rejected": "z" * (60 - length)} for length in (1, 2, 30, 59)]
    run = trained("simpo", tiny_model, rows, tmp_path, method=method, truncation_mode=mode, max_length=24, max_steps=4)
    assert run.verdict["diagnostics"]["non_finite_steps"] == 0


def test_a_side_without_tokens_and_a_certain_side_have_finite_odds() -> None:
    from rlllm.algorithms.preference.contrastive import completion_logps
    from rlllm.algorithms.preference.orpo import orpo_loss

    log_probs = torch.tensor([[-1.0, -2.0], [0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    mask = torch.tensor([[1, 1], [0, 0], [1, 1]])
    means = completion_logps(log_probs, mask, per_token=True)
    assert means.tolist() == [-1.5, 0.0, 0.0]
    for chosen, rejected in ((0, 1), (1, 0), (2, 0), (0, 2), (1, 2)):
        loss = orpo_loss(means[chosen : chosen + 1], means[rejected : rejected + 1], beta=0.1).sum()
        (gradient,) = torch.autograd.grad(loss, log_probs, retain_graph=True)
        assert loss.isfinite()
        assert gradient.isfinite().all()


# --- templates --------------------------------------------------------------------------------------------------------

HEAD = "{%- for m in messages -%}<|{{ m.role }}|>"
TAIL = "{%- endfor -%}{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
STRIPS = HEAD + "{{ m.content.split('</think>')[-1] | trim }}<|end|>" + TAIL
OPENS = HEAD + "{{ m.content }}<|end|>" + TAIL.replace("<|assistant|>", "<|assistant|>{{ '<think>\\n' }}")
ENDLESS = HEAD + "{{ m.content }}" + TAIL
ALONE = "{%- if messages|length == 1 -%}ask: {%- endif -%}" + HEAD + "{{ m.content }}<|end|>" + TAIL
FINE = HEAD + "{{ m.content }}<|end|>" + TAIL
TEMPLATES: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("strips reasoning", STRIPS, "<think>add</think>\n2", ("changes the completion", "<think>add</think>")),
    ("opens reasoning", OPENS, "2", ("of training and of generation differently", "<think>")),
    ("has no end", ENDLESS, "2", ("no end token behind the completion", "'2' is followed by ''")),
    ("renders a prompt alone otherwise", ALONE, "2", ("of training and of generation differently", "ask:")),
]


def completion_row(verb: str, text: str) -> dict[str, Any]:
    return {"completion": text} if verb in ("sft", "kto") else {"chosen": text, "rejected": "3"}


@pytest.mark.parametrize("verb", ["sft", "dpo", "simpo", "kto"])
@pytest.mark.parametrize(("name", "template", "completion", "words"), TEMPLATES)
def test_what_a_template_changes_is_a_warning_with_both_texts(
    verb: str, name: str, template: str, completion: str, words: tuple[str, ...], nano: str, tmp_path: Path
) -> None:
    model = with_template(tmp_path / "m", nano, template)
    rows = [{**row, **completion_row(verb, completion)} for row in rows_of(verb)]
    rows[5].update(completion_row(verb, "another answer") if verb == "kto" else {})
    text = codes(trained(verb, model, rows, tmp_path))["template"]
    assert all(word in text for word in words)
    assert "of the first 6 rows); row 1:" in text


def test_a_reward_model_is_told_what_its_template_drops_and_needs_no_end(nano: str, tmp_path: Path) -> None:
    rows = [{**row, "chosen": "<think>add</think>\n2"} for row in rows_of("bt")]
    strips = trained("bt", with_template(tmp_path / "m", nano, STRIPS), rows, tmp_path)
    assert "changes the completion" in codes(strips)["template"]
    (tmp_path / "other").mkdir()
    endless = trained("bt", with_template(tmp_path / "n", nano, ENDLESS), rows_of("bt"), tmp_path / "other")
    assert "template" not in codes(endless)


@pytest.mark.parametrize("verb", ["sft", "dpo", "reason"])
def test_a_template_that_trains_what_it_generates_from_is_not_mentioned(verb: str, nano: str, tmp_path: Path) -> None:
    short = {"rollout": {"max_new_tokens": 4}} if verb == "reason" else {}
    run = trained(verb, with_template(tmp_path / "m", nano, FINE), rows_of(verb), tmp_path, **short)
    assert "template" not in codes(run)


NO_SYSTEM = (
    "{%- for m in messages -%}{%- if m.role == 'system' -%}{{ raise_exception('System role not supported') }}"
    "{%- endif -%}<|{{ m.role }}|>{{ m.content }}<|end|>" + TAIL
)
SYSTEM = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1="}]


@pytest.mark.parametrize("verb", VERBS)
def test_a_template_that_refuses_a_row_names_it(verb: str, nano: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="refuses row 6: System role not supported") as caught:
        trained(verb, with_template(tmp_path / "m", nano, NO_SYSTEM), rows_of(verb, prompt=SYSTEM), tmp_path)
    assert "system message" in (caught.value.hint or "")


def test_an_evaluation_names_the_row_that_the_template_refuses(nano: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": SYSTEM, "answer": "2"}) + "\n")
    with pytest.raises(DataError, match="refuses row 1: System role not supported"):
        rlllm.evaluate(
            model=with_template(tmp_path / "m", nano, NO_SYSTEM),
            tasks=[str(tmp_path / "rows.jsonl")],
            rewards=["exact"],
            output_dir=tmp_path / "run",
        )
