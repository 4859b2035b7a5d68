"""What rlllm expects of TRL beyond its public interface. When TRL moves, these fail first and say where."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import DPOTrainer, GRPOConfig, GRPOTrainer, KTOTrainer, RewardTrainer, SFTTrainer
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer.utils import RepeatSampler

from rlllm.algorithms import to_trl_dataset
from rlllm.algorithms.field_tables import tables
from rlllm.algorithms.preference.with_reference import SealedDPOTrainer
from rlllm.algorithms.rl_trainer import RLTrainer
from rlllm.algorithms.sealed_trainers import PairwiseReward, Supervised
from rlllm.algorithms.trl_args import trl_arguments
from rlllm.core import trl_fields
from rlllm.core.hardware import Hardware
from rlllm.core.records import Conversation, PreferencePair
from rlllm.core.runs import verify_manifest
from rlllm.training.combinations import SCHEDULE_ARGUMENTS

OFFLINE = [DPOTrainer, KTOTrainer]
"""TRL's trainers of recorded preferences."""
HOOKS: list[tuple[Callable[..., Any], list[str]]] = [
    (GRPOTrainer._get_train_sampler, ["self", "dataset"]),
    (
        GRPOTrainer._generate_single_turn,
        ["self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
    ),
    (GRPOTrainer._calculate_rewards, ["self", "inputs", "prompts", "completions", "completion_ids_list"]),
    (GRPOTrainer._generate_and_score_completions, ["self", "inputs"]),
    (VLLMGeneration.sync_weights, ["self"]),
    (VLLMGeneration.generate, ["self", "prompts", "images", "num_generations", "profiler"]),
    (GRPOTrainer._compute_loss, ["self", "model", "inputs"]),
    (GRPOTrainer._load_optimizer_and_scheduler, ["self", "checkpoint"]),
    (GRPOTrainer._save, ["self", "output_dir", "state_dict"]),
    (GRPOTrainer.training_step, ["self", "model", "inputs", "num_items_in_batch"]),
    (GRPOTrainer.create_scheduler, ["self", "num_training_steps", "optimizer"]),
    (
        GRPOTrainer._get_per_token_logps_and_entropies,
        [
            "self",
            "model",
            "input_ids",
            "attention_mask",
            "logits_to_keep",
            "batch_size",
            "compute_entropy",
            "compute_aux_loss",
            "pixel_values",
            "image_grid_thw",
            "num_images",
            "pixel_attention_mask",
            "spatial_shapes",
            "num_tiles",
            "image_sizes",
            "token_type_ids",
            "mm_token_type_ids",
            "image_position_ids",
        ],
    ),
    (
        RepeatSampler.__init__,
        ["self", "data_source", "mini_repeat_count", "batch_size", "repeat_count", "shuffle", "seed"],
    ),
    *[
        (trainer._save_checkpoint, ["self", "model", "trial"])
        for trainer in (GRPOTrainer, SFTTrainer, RewardTrainer, *OFFLINE)
    ],
    (GRPOTrainer._save, ["self", "output_dir", "state_dict"]),
    (GRPOTrainer._tokenize_prompts, ["self", "prompts"]),
    (GRPOTrainer._generate, ["self", "prompts"]),
    (GRPOTrainer._load_from_checkpoint, ["self", "resume_from_checkpoint", "model"]),
    (
        SFTTrainer._prepare_dataset,
        ["self", "dataset", "processing_class", "args", "packing", "formatting_func", "dataset_name"],
    ),
    (DPOTrainer._compute_loss, ["self", "model", "inputs", "return_outputs"]),
    (DPOTrainer.compute_loss, ["self", "model", "inputs", "return_outputs", "num_items_in_batch"]),
    (DPOTrainer.get_batch_samples, ["self", "epoch_iterator", "num_batches", "device"]),
    (DPOTrainer._prepare_dataset, ["self", "dataset", "processing_class", "args", "dataset_name"]),
    (DPOTrainer._set_signature_columns_if_needed, ["self"]),
]


@pytest.mark.parametrize(("hook", "parameters"), HOOKS, ids=[hook.__qualname__ for hook, _ in HOOKS])
def test_a_hook_takes_the_parameters_that_are_passed_on(hook: Callable[..., Any], parameters: list[str]) -> None:
    assert list(inspect.signature(hook).parameters) == parameters


def test_trl_brings_weights_by_the_method_that_the_proof_wraps_also_where_a_copy_sleeps() -> None:
    assert "sync_weights" in GRPOTrainer._generate_single_turn.__code__.co_names
    assert {"sync_weights", "_llm_weights_sleeping"} <= set(VLLMGeneration.generate.__code__.co_names)
    given = inspect.signature(VLLMGeneration.__init__).parameters
    assert {"max_completion_length", "generation_kwargs", "logprobs", "structured_outputs_regex"} <= given.keys()


def test_every_private_override_is_under_contract() -> None:
    """An underscored method that exists in TRL and in the loop is a hook, and has to stand in the table above."""
    own = {name for cls in (RLTrainer, Supervised) for base in cls.__mro__ for name in own_names(base)}
    hooked = {name for name in own if name.startswith("_") and not name.startswith("__") and hasattr(GRPOTrainer, name)}
    assert hooked <= {hook.__name__ for hook, _ in HOOKS}


def own_names(base: type) -> list[str]:
    return [name for name in vars(base) if base.__module__.startswith("rlllm.")]


def test_the_installed_trl_is_the_minor_version_that_was_read() -> None:
    assert version("trl").startswith("1.16.")


@pytest.mark.parametrize("trainer", [GRPOTrainer, SFTTrainer, RewardTrainer, *OFFLINE], ids=lambda t: t.__name__)
def test_every_save_still_writes_its_card_through_the_method_we_silence(trainer: type) -> None:
    assert "create_model_card" in trainer._save_checkpoint.__code__.co_names


def test_a_save_is_sealed_and_leaves_no_card(tiny_model: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    trainer = Supervised(
        model=AutoModelForCausalLM.from_pretrained(tiny_model),
        args=trl_arguments(
            "SFTConfig", {"max_steps": 2, "save_steps": 1}, checkpoints=tmp_path, seed=0, hardware=HARDWARE
        ),
        encode=partial(to_trl_dataset.conversations, CHATS),
        train_dataset=to_trl_dataset.columns_of(CHATS, tokenizer),
        processing_class=tokenizer,
    )
    trainer.train()
    assert [verify_manifest(tmp_path / f"checkpoint-{step}") for step in (1, 2)] == [None, None]
    assert list(tmp_path.rglob("README.md")) == []


def test_the_table_of_fields_is_that_of_the_installed_trl() -> None:
    fresh = tables()
    assert {name: trl_fields.table(name) for name in fresh} == fresh, "run: make trl-fields"


def test_the_sampler_knows_the_layout_we_take_over() -> None:
    sampler = RepeatSampler(range(5), mini_repeat_count=2, batch_size=2, repeat_count=2, shuffle=False)
    assert list(sampler) == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]
    assert (sampler.num_samples, sampler.mini_repeat_count, sampler.batch_size, sampler.repeat_count) == (5, 2, 2, 2)
    assert len(sampler) == 16


@pytest.fixture(scope="module")
def trainer(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> GRPOTrainer:
    """TRL's own trainer, with one reward that judges every second completion."""
    return GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model),
        reward_funcs=every_second,
        args=GRPOConfig(
            str(tmp_path_factory.mktemp("grpo")),
            use_cpu=True,
            bf16=False,
            num_generations=4,
            per_device_train_batch_size=8,
            max_completion_length=5,
            gradient_checkpointing=False,
        ),
        train_dataset=Dataset.from_list(
            [{"prompt": [{"role": "user", "content": str(i)}], "row": i} for i in range(8)]
        ),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
    )


def every_second(prompts: Any, completions: Any, completion_ids: Any, row: list[int], **kwargs: Any) -> list[Any]:
    return [float(len(ids)) + index if index % 2 else None for index, ids in enumerate(completion_ids)]


def rollout(trainer: GRPOTrainer) -> dict[str, Any]:
    return trainer._generate_and_score_completions([trainer.train_dataset[index // 4] for index in range(8)])


def test_a_rollout_has_the_keys_and_shapes_the_loop_reads(trainer: GRPOTrainer) -> None:
    output = rollout(trainer)
    assert set(output) == {
        "prompt_ids",
        "prompt_mask",
        "completion_ids",
        "completion_mask",
        "advantages",
        "num_items_in_batch",
    }
    assert output["completion_ids"].shape == output["completion_mask"].shape
    assert output["prompt_ids"].shape == output["prompt_mask"].shape
    assert output["advantages"].shape == (8,)
    assert output["num_items_in_batch"] == output["completion_mask"].sum()
    assert bool(output["prompt_mask"][:, -1].all()), "prompts are padded on the left"
    assert bool(output["completion_mask"][:, 0].all()), "completions are padded on the right"


def test_a_completion_nothing_could_judge_gets_no_advantage_and_enters_no_baseline(trainer: GRPOTrainer) -> None:
    advantages = rollout(trainer)["advantages"]
    assert advantages[0::2].tolist() == [0.0] * 4
    assert advantages.view(2, 4).sum(dim=1).tolist() == pytest.approx([0.0, 0.0], abs=1e-3)
    assert bool((advantages[1::2] != 0).all())


@pytest.mark.parametrize("loss", ["grpo", "dapo", "bnpo", "dr_grpo", "cispo", "sapo"])
def test_the_loss_takes_an_advantage_for_each_token(trainer: GRPOTrainer, loss: str) -> None:
    inputs = rollout(trainer)
    trainer.loss_type, before = loss, trainer.loss_type
    trainer.current_gradient_accumulation_steps = 1
    try:
        flat = trainer._compute_loss(trainer.model, inputs)
        per_token = inputs["advantages"].unsqueeze(1).expand(inputs["completion_ids"].shape).clone()
        spread = trainer._compute_loss(trainer.model, {**inputs, "advantages": per_token})
    finally:
        trainer.loss_type = before
    torch.testing.assert_close(flat, spread)
    assert flat.requires_grad


def test_a_tool_mask_takes_tokens_out_of_the_loss(trainer: GRPOTrainer) -> None:
    inputs = rollout(trainer)
    trainer.current_gradient_accumulation_steps = 1
    nothing = torch.zeros_like(inputs["completion_mask"])
    assert trainer._compute_loss(trainer.model, {**inputs, "tool_mask": nothing}).item() == 0.0


def test_an_extra_row_sized_tensor_survives_the_shuffle_and_the_split() -> None:
    from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

    batch = {"ids": torch.arange(8), "tool_mask": torch.arange(8).view(8, 1), "count": torch.tensor(8)}
    for part in split_tensor_dict(shuffle_sequence_dict(batch), 2):
        assert part["ids"].tolist() == part["tool_mask"].view(-1).tolist()
        assert len(part["ids"]) == 4


PAIRS = [PreferencePair(f"say {i}", "yes, I do", "no") for i in range(4)]
MARGINS = [PreferencePair(f"say {i}", "yes, I do", "no", margin=0.5) for i in range(4)]
CHATS = [Conversation(f"say {i}", "yes") for i in range(4)]
TEXTS = [Conversation("", f"once {i} upon a time") for i in range(4)]
HARDWARE = Hardware("cpu", bf16=False, threads=1)


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
@pytest.mark.parametrize(
    ("trainer_class", "config", "records"),
    [
        (Supervised, "SFTConfig", CHATS),
        (Supervised, "SFTConfig", TEXTS),
        (SealedDPOTrainer, "DPOConfig", PAIRS),
        (PairwiseReward, "RewardConfig", PAIRS),
        (PairwiseReward, "RewardConfig", MARGINS),
    ],
    ids=["sft", "sft-text", "dpo", "reward", "reward-margin"],
)
def test_a_trainer_takes_the_columns_we_send_and_trains(
    tiny_model: str, tmp_path: Path, trainer_class: Any, config: str, records: list[Any], chat: bool
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    if not chat:
        tokenizer.chat_template = None
    if trainer_class is PairwiseReward:
        model = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=1)
        dataset = to_trl_dataset.pairs(records, tokenizer, margins=True)
    else:
        model = AutoModelForCausalLM.from_pretrained(tiny_model)
        dataset = (to_trl_dataset.pairs if trainer_class is SealedDPOTrainer else to_trl_dataset.conversations)(
            records, tokenizer
        )
    settings = {"max_steps": 1, "save_strategy": "no"}
    args = trl_arguments(config, settings, checkpoints=tmp_path, seed=0, hardware=HARDWARE)
    options = {"encode": lambda _: dataset} if trainer_class is Supervised else {}
    trainer = trainer_class(model=model, args=args, train_dataset=dataset, processing_class=tokenizer, **options)
    assert len(trainer.train_dataset) == 4
    trainer.train()
    assert trainer.state.log_history[0]["grad_norm"] > 0


def test_the_margin_column_reaches_the_loss(tiny_model: str, tmp_path: Path) -> None:
    losses = []
    for records in (PAIRS, MARGINS):
        torch.manual_seed(0)
        trainer = PairwiseReward(
            model=AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=1),
            args=trl_arguments("RewardConfig", {"max_steps": 1}, checkpoints=tmp_path, seed=0, hardware=HARDWARE),
            train_dataset=to_trl_dataset.pairs(records, AutoTokenizer.from_pretrained(tiny_model), margins=True),
            processing_class=AutoTokenizer.from_pretrained(tiny_model),
        )
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
    assert losses[1] > losses[0] + 0.1


def test_schedules_take_the_arguments_that_a_dry_run_knows() -> None:
    from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION

    set_by_trainer = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}
    functions = {kind.value: function for kind, function in TYPE_TO_SCHEDULER_FUNCTION.items()}
    for name, arguments in SCHEDULE_ARGUMENTS.items():
        assert set(inspect.signature(functions[name]).parameters) - set_by_trainer == set(arguments), name
    assert functions.keys() - SCHEDULE_ARGUMENTS.keys() == {"greedy", "reduce_lr_on_plateau"}, "which take anything"
