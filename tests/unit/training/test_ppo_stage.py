"""PPO through the verb: a reward model that reads other tokens, where a critic may start, what is refused in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.errors import ConfigError
from rlllm.core.runs import Run


def align(model: str, folder: Path, **settings: Any) -> Run:
    common = {
        "method": "ppo",
        "model": model,
        "data": {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 0},
        "max_new_tokens": 6,
        "max_steps": 2,
        "learning_rate": 1e-3,
        "output_dir": folder / "run",
    }
    return rlllm.align(**{**common, **settings})


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A two-layer reward model whose tokenizer knows single bytes, numbered otherwise than those of `nano`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("stranger")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet(), reverse=True)
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate([*letters, "<end>"])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>").save_pretrained(folder)
    end = len(letters)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(vocab_size=end + 1, num_labels=1, eos_token_id=end, pad_token_id=end, **shape)
        LlamaForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


def test_a_reward_model_may_have_another_tokenizer(tiny_model: str, stranger: str, tmp_path: Path) -> None:
    run = align(tiny_model, tmp_path, rewards=[stranger])
    assert (run.ok, run.verdict["diagnostics"]["steps_done"]) == (True, 2)
    assert all({"value_loss", "explained_variance", "kl_per_completion"} <= row.keys() for row in run.metrics())


def test_without_a_reference_ppo_runs_and_measures_no_kl(tiny_model: str, stranger: str, tmp_path: Path) -> None:
    run = align(tiny_model, tmp_path, rewards=[stranger], beta=0)
    assert run.ok
    assert not any("kl_per_completion" in row for row in run.metrics())


def test_a_rollout_of_nothing_but_masked_completions_is_logged_without_a_nan(
    tiny_model: str, stranger: str, tmp_path: Path
) -> None:
    run = align(tiny_model, tmp_path, rewards=[stranger], mask_truncated_completions=True, max_new_tokens=1)
    assert [row["advantage_std"] for row in run.metrics()] == [0.0, 0.0]


def test_a_critic_reads_the_policys_tokens(tiny_model: str, stranger: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this model has another tokenizer"):
        align(tiny_model, tmp_path, rewards=[stranger], critic={"init": "reward"})


def test_a_critic_without_a_decoders_head_is_refused(tiny_model: str, stranger: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(tokenizer), num_labels=1, pad_token_id=tokenizer.pad_token_id, **shape)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    with pytest.raises(ConfigError, match="needs a decoder with a linear head named score"):
        align(tiny_model, tmp_path, rewards=[stranger], critic={"init": str(tmp_path / "bert")})


def test_a_wrong_field_of_a_component_is_known_before_there_is_a_run(
    tiny_model: str, stranger: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="mask random does not take these fields"):
        align(tiny_model, tmp_path, rewards=[stranger], mask={"name": "random", "fracton": 0.5})
    assert not (tmp_path / "run").exists()


def test_a_model_with_dropout_that_did_not_move_is_no_distance_from_its_start(tiny_model: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlllm.core.records import Sample
    from rlllm.evals.before_after import measure_kl

    model, start = (AutoModelForCausalLM.from_pretrained(tiny_model, attention_dropout=0.5) for _ in range(2))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    measured = measure_kl(model.train(), start, tokenizer, [[Sample("1 + 1 = ?", "2")]])
    assert (measured.scores, model.training) == ([[pytest.approx(0.0, abs=1e-6)]], True)
