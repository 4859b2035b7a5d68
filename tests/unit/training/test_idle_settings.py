"""Settings that would do nothing, or that need a package which is not there, are said before anything is loaded."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, OPTConfig

import rlllm
from rlllm.assets.build_nano import build_tokenizer
from rlllm.core.errors import ConfigError
from rlllm.stages import align, reason, sft
from rlllm.stages.catalog import resolve_settings

DATA = {"name": "arithmetic", "level": 1, "rows": 16, "holdout": 0}
REFUSED: list[tuple[str, Any, str]] = [
    ("model_init_kwargs", {"dtype": "bfloat16"}, "model_init_kwargs has no effect"),
    ("trust_remote_code", True, "trust_remote_code has no effect"),
    ("report_to", "wandb", "report_to=wandb needs a package that is not installed: wandb"),
    ("report_to", ["mlflow"], "report_to=mlflow needs a package that is not installed"),
    ("optim", "paged_adamw_8bit", "needs a package that is not installed: bitsandbytes"),
    ("optim", "galore_adamw", "galore_torch"),
    ("use_liger_kernel", True, "liger_kernel"),
]


@pytest.mark.parametrize("verb", ["sft", "train_rm", "align", "reason"])
@pytest.mark.parametrize(("name", "value", "words"), REFUSED)
def test_a_setting_that_cannot_act_is_refused_by_name(verb: str, name: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        getattr(rlllm, verb)(data=DATA, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("model_init_kwargs", None), ("report_to", "none"), ("trust_remote_code", False)]
)
def test_the_same_settings_at_rest_are_taken(name: str, value: Any) -> None:
    assert resolve_settings("sft", {}, [(name, value)]).trainer == {name: value}  # type: ignore[attr-defined]


TOGETHER: list[tuple[str, dict[str, Any], str]] = [
    ("sft", {"padding_free": True}, "padding_free without packing cuts no row at max_length"),
    ("sft", {"loss_type": "nnl"}, "unknown loss of method sft: nnl"),
    ("sft", {"lora": {"target_modules": ["q_proj", "lm_head"]}}, "the output layer takes no adapter"),
    ("align", {"padding_free": True}, "padding_free has no effect"),
    ("align", {"method": "orpo", "padding_free": True}, "padding_free has no effect"),
    ("align", {"lora": {"target_modules": "lm_head"}}, "the output layer takes no adapter"),
    ("align", {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0]}, "loss_weights has one number for each loss"),
    ("align", {"loss_type": ["apo_zero"], "f_divergence_type": "js_divergence"}, "no form with another divergence"),
    ("align", {"loss_type": ["aot"], "use_weighting": True}, "this loss sorts pairs"),
    ("align", {"loss_type": ["exo_pair"]}, "exo_pair needs label_smoothing above 0"),
    ("align", {"sync_ref_model": True, "lora": {"r": 4}}, "the reference is the base model"),
    ("align", {"sync_ref_model": True, "precompute_ref_log_probs": True}, "cannot be computed once for all"),
    ("reason", {"auto_find_batch_size": True}, "no longer holds whole groups"),
    ("reason", {"log_completions_hub_repo": "me/mine"}, "nothing is uploaded"),
    ("reason", {"lora": {"target_modules": ["lm_head"]}}, "the output layer takes no adapter"),
]


@pytest.mark.parametrize(("verb", "settings", "words"), TOGETHER)
def test_settings_that_trl_refuses_together_are_refused_when_the_run_is_planned(
    verb: str, settings: dict[str, Any], words: str
) -> None:
    method = {"method": "dpo"} if verb == "align" else {}
    config: Any = resolve_settings(verb, {"data": DATA, **method, **settings}, [])
    with pytest.raises(ConfigError, match=words):
        {"sft": sft, "align": align, "reason": reason}[verb].plan(config)


FOUND_WHEN_BUILT: list[tuple[str, dict[str, Any], str]] = [
    ("sft", {"eos_token": "<none>"}, "TRL refuses these settings.*eos_token"),
    ("sft", {"pad_token": "<none>"}, "TRL refuses these settings.*pad_token"),
    ("sft", {"lora": {"target_modules": ["nowhere"]}}, "the adapters do not fit the model"),
    ("align", {"pad_token": "<none>"}, "TRL refuses these settings.*pad_token"),
    ("align", {"lora": {"target_modules": ["nowhere"]}}, "do not fit|TRL refuses"),
    ("align", {"method": "iterative-dpo", "pad_token": "<none>"}, "TRL refuses these settings.*pad_token"),
    ("align", {"method": "spin", "lora": {"target_modules": ["nowhere"]}}, "do not fit|TRL refuses"),
    ("train_rm", {"method": "ensemble", "eos_token": "<none>"}, "TRL refuses these settings.*eos_token"),
    ("train_rm", {"eos_token": "<none>"}, "TRL refuses these settings.*eos_token"),
    ("reason", {"lora": {"target_modules": ["nowhere"]}}, "the adapters do not fit the model"),
    ("reason", {"router_aux_loss_coef": 0.1}, "Mixture-of-Experts"),
]


@pytest.mark.parametrize(("verb", "settings", "words"), FOUND_WHEN_BUILT)
def test_what_trl_refuses_while_it_is_built_is_said_before_anything_is_measured(
    tiny_model: str, tmp_path: Path, verb: str, settings: dict[str, Any], words: str
) -> None:
    path = tmp_path / "run"
    data = {**DATA, "rows": 16, "holdout": 8}
    settings |= {"rewards": ["exact"]} if settings.get("method") == "iterative-dpo" else {}
    with pytest.raises(ConfigError, match=words):
        getattr(rlllm, verb)(model=tiny_model, data=data, max_steps=3, defaults="trl", output_dir=path, **settings)
    assert not list(path.glob("measured_*"))


def test_training_does_not_depend_on_what_was_measured(tiny_model: str, tmp_path: Path) -> None:
    def weights(name: str, rows: int) -> bytes:
        run = rlllm.reason(
            model=tiny_model,
            data={**DATA, "rows": 16, "holdout": 8},
            eval={"rows": rows},
            max_steps=2,
            defaults="trl",
            rollout={"max_new_tokens": 4},
            rewards=[{"name": "length", "budget": 4}],
            lora={"r": 2, "dropout": 0.1},
            learning_rate=1e-2,
            output_dir=tmp_path / name,
        )
        assert (run.path / "measured_before.json").exists() == bool(rows)
        return (run.model / "adapter_model.safetensors").read_bytes()

    assert weights("measured", 8) == weights("not", 0)


def test_dropout_of_adapters_that_is_switched_off_is_in_the_plan() -> None:
    def lines(**settings: Any) -> str:
        config = resolve_settings("align", {"data": DATA, "lora": {"dropout": 0.1}, **settings}, [])
        return "\n".join(text for _, text in align.plan(config).lines())

    assert "lora.dropout=0.1 has no effect" in lines()
    assert "lora.dropout=0.1 has no effect" not in lines(disable_dropout=False)


def test_the_first_loss_of_dpo_is_ln_2_whatever_drops(tmp_path: Path) -> None:
    config = OPTConfig(
        vocab_size=261,
        hidden_size=32,
        ffn_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        word_embed_proj_dim=32,
        eos_token_id=257,
        bos_token_id=None,
        pad_token_id=256,
        dropout=0.3,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "m")
    build_tokenizer().save_pretrained(tmp_path / "m")
    run = rlllm.align(
        model=str(tmp_path / "m"),
        data=DATA,
        max_steps=1,
        max_length=128,
        per_device_train_batch_size=4,
        eval={"rows": 0},
        output_dir=tmp_path / "run",
    )
    assert run.metrics()[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert json.loads((run.model / "config.json").read_text())["dropout"] == 0.3


HALF = "def half(sample):\n    return None if '4' in str(sample.prompt) else 1.0\n"


def test_an_evaluation_says_what_its_value_leaves_out(tiny_model: str, tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(HALF)
    rows = [{"prompt": prompt, "answer": "1"} for prompt in ("1+4=", "1+1=", "1+1=", "2+1=")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = rlllm.evaluate(
        model=tiny_model,
        tasks=[{"data": str(tmp_path / "rows.jsonl"), "name": "sums"}],
        rewards=[f"{tmp_path / 'half.py'}:half"],
        samples=2,
        sampling={"max_new_tokens": 3, "temperature": 1.0},
        output_dir=tmp_path / "run",
    )
    remarks = run.results["tasks"]["sums"]["remarks"]
    assert remarks[0] == "1 of 4 problems could not be judged, and no value counts them"
    assert any("1 of 4 problems repeat another" in text for text in remarks)
    assert any("ended at the limit of 3 tokens" in text for text in remarks)
    from rlllm_cli.outcome import measured

    printed = dict(measured(run.results))
    assert "sums" in printed
    assert "sums pass@1" in printed
