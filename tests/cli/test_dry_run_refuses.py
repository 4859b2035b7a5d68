"""`--dry-run` refuses what cannot run: exit code 2, the setting by its name, what was given, and what would do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Rlllm, Said

LOOP = "reason --data arithmetic --reward exact"
SETTINGS: list[tuple[str, tuple[str, ...]]] = [
    ("--optim nope", ("unknown value of optim: nope", "given: optim=nope", "exists: adafactor, adagrad")),
    ("--optim adamw_torch_fuse", ("did you mean adamw_torch_fused?",)),
    ("--optim adamw_8bit", ("not installed: bitsandbytes", "hint: pip install bitsandbytes")),
    ("--optim_args beta1", ("optim_args has pairs", "given: optim_args=beta1")),
    ("--lr_scheduler_type cosin", ("unknown value of lr_scheduler_type: cosin", "did you mean cosine?")),
    ("lr_scheduler_kwargs={cycles:2}", ("the schedule linear takes no",)),
    ("--lr_scheduler_type cosine_with_min_lr", ("needs min_lr or min_lr_rate", "lr_scheduler_kwargs={min_lr: NUMBER}")),
    ("--save_strategy sometimes", ("unknown value of save_strategy", "exists: best, epoch, no, steps")),
    ("--ddp_backend nope", ("unknown value of ddp_backend",)),
    ("--deepspeed nofile.json", ("the file of deepspeed cannot be read: No such file", "given: deepspeed=nofile.json")),
    ("--accelerator_config broken.json", ("the file of accelerator_config is no JSON",)),
    ("--fsdp x", ("unknown value of fsdp: x", "full_shard")),
    ("--parallelism_config x", ("parallelism_config is an object of Python", "launch=fsdp")),
    ("--report_to nothing_there", ("unknown value of report_to: nothing_there", "tensorboard")),
    ("--report_to wandb", ("not installed: wandb", "pip install wandb")),
    ("--use_liger_kernel", ("not installed: liger_kernel", "pip install liger-kernel")),
    ("--warmup_steps -1", ("warmup_steps is not below 0", "given: warmup_steps=-1")),
    ("--learning_rate .inf", ("learning_rate is a finite number", "given: learning_rate=inf")),
    ("--learning_rate .nan", ("learning_rate is a finite number", "given: learning_rate=nan")),
    ("--weight_decay .inf", ("weight_decay is a finite number",)),
    ("--adam_beta2 1.0", ("adam_beta2 is at least 0 and below 1",)),
    ("--logging_steps 0", ("logging_steps is above 0",)),
    ("--max_steps 99999999999999999999", ("max_steps has at most 64 bits",)),
    ("--num_train_epochs -1", ("num_train_epochs is not below 0",)),
    ("--bf16 --fp16", ("a run computes in one number format", "given: fp16=true bf16=true")),
    ("--dataloader_prefetch_factor 2", ("dataloader_num_workers=2",)),
    ("--per_device_train_batch_size 0", ("per_device_train_batch_size is at least 1",)),
    (
        "--per_device_train_batch_size 99999999999",
        ("cannot be cut into groups of 8", "per_device_train_batch_size=99999999992"),
    ),
    ("--seed -1", ("seed: input should be greater than or equal to 0", "given: -1")),
    ("--seed 4294967296", ("seed: input should be less than 4294967296",)),
    ("--seed 1e23", ("--seed",)),
    ("--temperature .inf", ("rollout.temperature: input should be a finite number",)),
    ("lora.target_modules=[]", ("lora.target_modules", "at least 1 item")),
    ("data.rows=0", ("there are no rows to train on", "hint: data.rows=1000")),
    ("--push_to_hub", ("HF_HUB_OFFLINE is set", "given: push_to_hub=true")),
]


def refused(said: Said, *words: str) -> None:
    assert said.code == 2, (said.code, said.out[-300:], said.err)
    for word in words:
        assert word in said.err, said.err
    assert "bug in rlllm" not in said.err


@pytest.fixture
def files(tmp_path: Path) -> None:
    """Files that the lines below name."""
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "unanswered.jsonl").write_text('{"prompt": "1+1?"}\n' * 8)
    (tmp_path / "answered.jsonl").write_text(
        "".join(f'{{"prompt": "{n}+1?", "answer": "{n + 1}"}}\n' for n in range(16))
    )
    (tmp_path / "time.yaml").write_text("seed: 1:30:00\n")
    (tmp_path / "large.yaml").write_text("seed: 1e23\n")
    (tmp_path / "flow.yaml").write_text("data: " + "[" * 3000 + "]" * 3000)
    (tmp_path / "block.yaml").write_text("".join("  " * level + "a:\n" for level in range(1500)))
    (tmp_path / "credit.py").write_text("def credit(batch):\n    return 1\n")
    os.symlink("nothing", tmp_path / "dangling.jsonl")


@pytest.mark.parametrize(("words", "said"), SETTINGS)
def test_a_setting_that_cannot_run_is_refused_by_name(
    words: str, said: tuple[str, ...], rlllm: Rlllm, files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused(rlllm(f"{LOOP} {words} --dry-run"), *said)


LINES: list[tuple[str, tuple[str, ...]]] = [
    ("reason --data arithmetic#0 --reward exact", ("there are no rows to train on", "given: arithmetic")),
    ("sft --data arithmetic#0", ("there are no rows to train on",)),
    ("sft --data answered.jsonl data.holdout=16", ("leaves none of 16 to train on", "lower data.holdout below 16")),
    (
        "reason --data unanswered.jsonl --reward exact",
        ("exact compares with an answer, and no row has one", "data.columns"),
    ),
    ("reason --data unanswered.jsonl --reward math", ("math compares with an answer",)),
    ("reason --data unanswered.jsonl --reward abstention", ("abstention compares with an answer",)),
    ("reason time.yaml", ("seed", "1:30:00")),
    ("reason large.yaml", ("seed",)),
    ("reason flow.yaml", ("nested deeper than 100 levels", "given: flow.yaml")),
    ("reason block.yaml", ("nested deeper than 100 levels", "given: block.yaml")),
    ("sft --data dangling.jsonl", ("a symbolic link to a file that is not there", "given: dangling.jsonl -> nothing")),
]


@pytest.mark.parametrize(("line", "said"), LINES)
def test_a_command_line_that_cannot_run_is_refused(line: str, said: tuple[str, ...], rlllm: Rlllm, files: None) -> None:
    refused(rlllm(f"{line} --dry-run"), *said)


LONG = "m" * 5000
LONG_NAMES: dict[str, Callable[[str], list[str]]] = {
    "recipe": lambda name: ["reason", name],
    "recipe file": lambda name: ["reason", f"{name}.yaml"],
    "model": lambda name: ["reason", "--model", name],
    "data": lambda name: ["sft", "--data", f"{name}.jsonl"],
    "reward": lambda name: ["reason", "--reward", name],
    "reward file": lambda name: ["reason", "--reward", f"{name}.py:reward"],
    "method": lambda name: ["align", "--method", name],
    "directory": lambda name: ["sft", "--output-dir", name],
    "evaluated run": lambda name: ["eval", "--model", f"runs/{name}"],
}


@pytest.mark.parametrize("place", LONG_NAMES)
def test_a_name_of_five_thousand_letters_is_refused_without_repeating_it(place: str, rlllm: Rlllm) -> None:
    said = rlllm(*LONG_NAMES[place](LONG), "--dry-run")
    refused(said)
    assert said.err.startswith("error: ")
    assert LONG not in said.err


def test_a_component_that_computes_no_tensor_is_refused_as_a_broken_plugin(rlllm: Rlllm, files: None) -> None:
    said = rlllm(f"{LOOP} advantage=credit.py:credit --dry-run")
    assert (said.code, "the advantage credit returned int" in said.err) == (3, True), said.err
