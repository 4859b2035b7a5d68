"""One update of the policy by the loop and by TRL's own trainer, on the same completions, and the arithmetic both stand on.

    python bench/update.py [--model nano|FOLDER] [--rows 64 --group 8 --prompt 20 --new 96 --shortest 10 --flat 0.0]

Forward and backward pass of one micro-batch with the loss `dapo`, no optimizer step, float32 on a CPU. Completions have lengths
from `--shortest` to `--new`, most of them short; `--flat` is the share of rows without advantage. The ceiling is what passes
would take if they were nothing but the products with the weight matrices (forward, and twice that backward) for the tokens the
loop computes, at the speed of oneDNN's product, measured in the same run. Medians; loss and gradient norm show that the work is
the same.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from datasets import Dataset
from results_file import add_output, write_results
from torch import Tensor

from rlllm.algorithms._trl import GRPOConfig, GRPOTrainer
from rlllm.algorithms.cpu.onednn_linear import product
from rlllm.algorithms.loss_computation import LossComputation
from rlllm.algorithms.losses.trl import DAPO
from rlllm.launch.measurement import faster_matmul, measure_matmuls
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model


class Lean(LossComputation, GRPOTrainer):
    """TRL's trainer with the loop's passes."""

    slots = SimpleNamespace(loss=DAPO())
    critic = None


def trainer(kind: type[GRPOTrainer], given: argparse.Namespace) -> Any:
    source = resolve_model(given.model)
    args = GRPOConfig(
        tempfile.mkdtemp(),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=given.rows,
        num_generations=given.group,
        loss_type="dapo",
        report_to="none",
    )
    made = kind(
        model=load_policy(source).float(),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=args,
        train_dataset=Dataset.from_list([{"prompt": "a"}] * 16),
        processing_class=load_tokenizer(source),
    )
    made.current_gradient_accumulation_steps = 1
    made.model.train()
    return made


def batch(given: argparse.Namespace) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    prompts = torch.randint(3, 200, (given.rows // given.group, given.prompt), generator=draw)
    prompts = prompts.repeat_interleave(given.group, 0)
    lengths = given.shortest + (given.new - given.shortest) * torch.rand(given.rows, generator=draw) ** 4
    lengths[0] = given.new
    mask = (torch.arange(given.new) < lengths.unsqueeze(1)).long()
    advantages = torch.randn(given.rows, generator=draw)
    advantages[: int(given.rows * given.flat)] = 0.0
    return {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": torch.randint(3, 200, mask.shape, generator=draw),
        "completion_mask": mask,
        "advantages": advantages,
        "num_items_in_batch": mask.sum(),
    }


def timed(made: Any, inputs: dict[str, Tensor], repeats: int) -> tuple[float, float, float]:
    """Median seconds of an update, its loss and its gradient norm."""
    seconds = []
    for _ in range(repeats + 1):
        made.model.zero_grad()
        start = time.perf_counter()
        loss = made._compute_loss(made.model, inputs)
        made.accelerator.backward(loss)
        seconds.append(time.perf_counter() - start)
    norm = sum(float(p.grad.double().square().sum()) for p in made.model.parameters() if p.grad is not None) ** 0.5
    return statistics.median(seconds[1:]), float(loss.detach()), norm


def ceiling(model: Any, inputs: dict[str, Tensor]) -> float:
    """Seconds of the products alone: body for prompts once and completions, head for completions."""
    learns = inputs["advantages"] != 0
    completions = int(inputs["completion_mask"][learns].sum())
    prompts = torch.unique(inputs["prompt_ids"][learns], dim=0).numel()
    linears = {name: m.weight for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    seconds = 0.0
    for name, weight in linears.items():
        tokens = completions if name.endswith("lm_head") else completions + prompts
        seconds += 3 * 2 * weight.numel() * tokens / speed(tuple(weight.shape))
    return seconds


@cache
def speed(shape: tuple[int, ...], rows: int = 1024) -> float:
    """Operations a second of the product with a matrix of this shape."""
    x, weight, times = torch.randn(rows, shape[1]), torch.randn(shape), []
    for _ in range(5):
        start = time.perf_counter()
        product(x, weight)
        times.append(time.perf_counter() - start)
    return 2 * rows * weight.numel() / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    for name, default in {"rows": 64, "group": 8, "prompt": 20, "new": 96, "shortest": 10, "repeats": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--flat", type=float, default=0.0)
    add_output(parser)
    given = parser.parse_args()
    inputs = batch(given)
    lean, stock = trainer(Lean, given), trainer(GRPOTrainer, given)
    config = lean.model.config
    lean.onednn = faster_matmul(measure_matmuls(config.hidden_size, config.intermediate_size)) == "onednn"
    best = ceiling(lean.model, inputs)
    print("| update | seconds | share of the ceiling | loss | gradient norm |\n|---|---|---|---|---|")
    rows: list[dict[str, Any]] = []
    for name, made in (("loop", lean), ("TRL", stock)):
        seconds, loss, norm = timed(made, inputs, given.repeats)
        print(f"| {name} | {seconds:.3f} | {best / seconds:.0%} | {loss:.6f} | {norm:.6f} |")
        rows.append({"update": name, "seconds": seconds, "share": best / seconds})
    print(f"| products alone | {best:.3f} | | | |")
    rows.append({"update": "products alone", "seconds": best, "share": None})
    write_results(given.output, {"updates": rows}, sources=["src/rlllm/algorithms"], threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
