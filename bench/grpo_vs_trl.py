"""`rlllm reason` beside `trl grpo`: time and memory of the two commands on the same work, in alternating pairs.

    python bench/grpo_vs_trl.py --pairs 5                              (w1 and w3, on nano)
    python bench/grpo_vs_trl.py --smollm2 FOLDER --pairs 5             (also w2-mixed and w2-flat)
    python bench/grpo_vs_trl.py --device cuda --smollm2 FOLDER         (w2-gpu)

Both commands get the same model, prompts in the same order, reward function, batch, loss, learning rate, precision and seed;
TRL runs with its best settings for a CPU (no bf16, which is emulated there, no gradient checkpointing, no progress bar). With
`--engine hf` they even sample the same completions; other engines draw other random numbers, so what they write is alike and
not equal. Lengths, and loss, gradient norm, entropy and reward of the first step, are printed for both, to show that the work
is the same. The reward pays by a checksum of the completion, so that a group is mixed, or a constant, so that it is flat,
whatever the model writes.

What is measured, the same on both sides, as TRL over rlllm (above 1: rlllm is better):
- `process`: wall seconds from start to exit: imports, loading, every step, saving the model; for rlllm also its plan, verdict
  and report. Neither side evaluates: rlllm has no held-out rows here (data.holdout=0), so it measures nothing before or after.
- `step`: (time of the last step's log line - time of the first) / (steps - 1). The first step, with its warm-up, is left out.
  Sampling, rewards, loss, optimizer and logging are in. TRL's lines are stamped as they arrive through an unbuffered pipe,
  rlllm's are the `time` column of metrics.jsonl.
- `memory`: largest resident set of any one process that the command started (the kernel's ru_maxrss); with --device cuda the
  largest memory in use on the first GPU, sampled four times a second with nvidia-smi. Keep other work off that GPU.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from grpo_workloads import LENGTHS_FILE, WORKLOADS, Workload, smollm2
from results_file import TRAINING, add_output, write_results

from rlllm.core.runs import read_jsonl

FOLDER = Path(__file__).resolve().parent
SIDES = ("trl", "rlllm")
RATIOS = {"process": "seconds", "step": "step_seconds", "memory": "peak_gb"}
CHECKS = ("loss", "grad_norm", "entropy", "reward")


# commands -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Job:
    """One run to be made: a workload with its model and data on disk."""

    workload: Workload
    model: str
    data: Path
    output: Path
    steps: int
    seed: int
    engine: str
    further: tuple[str, ...] = ()
    """More words of rlllm's command."""

    def settings(self) -> dict[str, Any]:
        """TRL's settings that both commands take under one name."""
        work, on_cpu = self.workload, self.workload.device == "cpu"
        return {
            "max_steps": self.steps,
            "per_device_train_batch_size": work.completions,
            "gradient_accumulation_steps": work.accumulation,
            "num_generations": work.group,
            "max_completion_length": work.limit,
            "temperature": 1.0,
            "top_k": 0,
            "learning_rate": 1e-6,
            "loss_type": "grpo",
            "scale_rewards": "group",
            "beta": 0.0,
            "epsilon": 0.2,
            "shuffle_dataset": "false",
            "save_strategy": "no",
            "logging_steps": 1,
            "report_to": "none",
            "disable_tqdm": "true",
            "gradient_checkpointing": str(not on_cpu).lower(),
            "bf16": str(not on_cpu).lower(),
            **({"use_cpu": "true"} if on_cpu else {}),
        }

    def command(self, side: str) -> list[str]:
        program = str(Path(sys.executable).with_name(side))
        if side == "trl":
            own = {
                "model_name_or_path": self.model,
                "dtype": "float32" if self.workload.device == "cpu" else "bfloat16",  # what rlllm loads there
                "dataset_name": self.data.parent,
                "reward_funcs": "grpo_workloads.trl_reward",
                "output_dir": self.output,
                "seed": self.seed,
            }
            pairs = {**own, **self.settings()}.items()
            return [program, "grpo", *(word for key, value in pairs for word in (f"--{key}", str(value)))]
        named = ["--model", self.model, "--data", str(self.data), "--output-dir", str(self.output)]
        own = {"data.holdout": 0, "rollout.engine": self.engine, "seed": self.seed}
        pairs = {**own, **self.settings()}.items()
        reward = f"{FOLDER / 'grpo_workloads.py'}:rlllm_reward"
        return [
            program,
            "reason",
            *named,
            "--reward",
            reward,
            *(f"{key}={value}" for key, value in pairs),
            *self.further,
        ]


@dataclass(frozen=True)
class Run:
    """What one run showed."""

    seconds: float
    step_seconds: float
    peak_gb: float
    tokens_per_step: float
    lengths: list[int] = field(repr=False)
    first_step: dict[str, float | None]


def execute(job: Job, side: str) -> Run:
    """Run one command to its end, in a fresh output folder. Raises SystemExit with what it said if steps are missing."""
    shutil.rmtree(job.output, ignore_errors=True)
    lengths = job.output.with_suffix(".lengths")
    lengths.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(job.data.parent.with_name("cache")),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(FOLDER),
        LENGTHS_FILE: str(lengths),
        **({"CUDA_VISIBLE_DEVICES": ""} if job.workload.device == "cpu" else {}),
    }
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints, gpu_watch(job.workload.device) as gpu:
        start = time.monotonic()
        child = subprocess.Popen(
            job.command(side),
            cwd=job.output.parent,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        assert child.stdout is not None
        said = [(time.monotonic(), line) for line in child.stdout]
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        steps = list(trl_steps(said)) if side == "trl" else rlllm_steps(job.output)
        if child.returncode or len(steps) != job.steps:
            complaints.seek(0)
            tail = "".join(line for _, line in said[-20:]) + complaints.read()[-3000:]
            raise SystemExit(f"{side} logged {len(steps)} of {job.steps} steps, exit code {child.returncode}\n{tail}")
    seen = [int(line) for line in lengths.read_text(encoding="utf-8").split()]
    elapsed = steps[-1]["time"] - steps[0]["time"]
    return Run(
        seconds=seconds,
        step_seconds=elapsed / (job.steps - 1),
        peak_gb=max(gpu) if gpu else usage.ru_maxrss / 1e6,
        tokens_per_step=sum(seen) / job.steps,
        lengths=seen,
        first_step={name: steps[0].get(name) for name in CHECKS},
    )


def trl_steps(said: Sequence[tuple[float, str]]) -> Iterator[dict[str, float]]:
    """The logged steps among the lines of stdout, each with the time at which it came."""
    for moment, line in said:
        if line.startswith("{") and "'loss':" in line:
            yield {**{key: float(value) for key, value in ast.literal_eval(line).items()}, "time": moment}


def rlllm_steps(output: Path) -> list[dict[str, float]]:
    """The rows of metrics.jsonl; none if the run did not come so far."""
    return list(read_jsonl(output / "metrics.jsonl"))


@contextmanager
def gpu_watch(device: str) -> Iterator[list[float]]:
    """GB in use on the first GPU, sampled while the block runs; nothing on a CPU."""
    readings: list[float] = []
    if device == "cpu":
        yield readings
        return
    query = ["nvidia-smi", "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.25):
            readings.append(
                float(subprocess.run(query, capture_output=True, text=True, check=True).stdout) * 2**20 / 1e9
            )

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield readings
    finally:
        done.set()
        thread.join()


def compare(workload: Workload, options: argparse.Namespace, scratch: Path) -> list[dict[str, Run]]:
    """All pairs of one workload; the command that goes first alternates."""
    folder = scratch / workload.name
    (folder / "data").mkdir(parents=True)
    steps = options.steps or workload.steps
    data = folder / "data" / "train.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in workload.rows(steps)), encoding="utf-8")
    model = workload.model(options.smollm2, folder)
    pairs = []
    for index in range(options.pairs):
        runs = {}
        for side in SIDES if index % 2 == 0 else SIDES[::-1]:
            runs[side] = execute(Job(workload, model, data, folder / side, steps, index, options.engine), side)
            print(f"{workload.name}, pair {index + 1}: {side} {runs[side].seconds:.1f} s", file=sys.stderr, flush=True)
        pairs.append(runs)
    return pairs


# report ---------------------------------------------------------------------------------------------------------------
def summary(workload: Workload, pairs: Sequence[dict[str, Run]]) -> dict[str, Any]:
    """Everything that is printed, as plain values: ratios with their range, and what each side did."""
    ratios = {}
    for name, attribute in RATIOS.items():
        values = [getattr(runs["trl"], attribute) / getattr(runs["rlllm"], attribute) for runs in pairs]
        ratios[name] = {"median": statistics.median(values), "min": min(values), "max": max(values), "all": values}
    sides = {side: described([runs[side] for runs in pairs]) for side in SIDES}
    return {"workload": workload.name, "about": workload.about, "pairs": len(pairs), "ratios": ratios, **sides}


def described(runs: Sequence[Run]) -> dict[str, Any]:
    """Medians over the runs of one side, and the lengths of all its completions."""
    lengths = sorted(length for run in runs for length in run.lengths)
    firsts = {name: [run.first_step[name] for run in runs] for name in CHECKS}
    numbers = {
        key: statistics.median(asdict(run)[key] for run in runs) for key in (*RATIOS.values(), "tokens_per_step")
    }
    return {
        **numbers,
        "lengths": {
            "min": lengths[0],
            "median": statistics.median(lengths),
            "mean": statistics.mean(lengths),
            "95%": lengths[int(0.95 * (len(lengths) - 1))],
            "max": lengths[-1],
        },
        "first_step": {
            name: statistics.median(known) if (known := [v for v in values if v is not None]) else None
            for name, values in firsts.items()
        },
    }


def table(result: dict[str, Any]) -> str:
    """The summary as a Markdown table."""
    trl, rlllm = (result[side] for side in SIDES)
    units = {"process": "s", "step": "s", "memory": "GB"}
    lines = [f"\n{result['workload']}: {result['about']} ({result['pairs']} pairs)\n"]
    lines += ["| median | trl grpo | rlllm reason | trl / rlllm, median (range) |", "|---|---|---|---|"]
    for name, attribute in RATIOS.items():
        ratio = result["ratios"][name]
        spread = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
        lines.append(f"| {name}, {units[name]} | {trl[attribute]:.3g} | {rlllm[attribute]:.3g} | {spread} |")
    lines.append(f"| tokens sampled a step | {trl['tokens_per_step']:.0f} | {rlllm['tokens_per_step']:.0f} | |")
    for name in trl["lengths"]:
        lines.append(f"| completion length, {name} | {trl['lengths'][name]:.4g} | {rlllm['lengths'][name]:.4g} | |")
    for name in CHECKS:
        one, other = (side["first_step"][name] for side in (trl, rlllm))
        lines.append(f"| first step, {name} | {_number(one)} | {_number(other)} | |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def chosen(options: argparse.Namespace) -> list[Workload]:
    """The workloads asked for; by default all that this device and the models given allow."""
    if options.device == "cuda" and shutil.which("nvidia-smi") is None:
        raise SystemExit(
            "w2-gpu needs an NVIDIA GPU with 24 GB or more, nvidia-smi, a CUDA build of torch, and --smollm2 FOLDER"
        )
    fit = [work for work in WORKLOADS if work.device == options.device]
    if options.workloads:
        wrong = sorted(set(options.workloads) - {work.name for work in fit})
        if wrong:
            raise SystemExit(f"not a workload of --device {options.device}: {', '.join(wrong)}")
        return [work for work in fit if work.name in options.workloads]
    return [work for work in fit if work.model is not smollm2 or options.smollm2 or options.device == "cuda"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs a workload")
    parser.add_argument("--steps", type=int, help="optimizer steps, 2 or more; default: the workload's own")
    parser.add_argument("--workloads", nargs="+", choices=[work.name for work in WORKLOADS])
    parser.add_argument("--smollm2", type=Path, help="folder with SmolLM2-135M-Instruct")
    parser.add_argument("--engine", default="native", help="rlllm's rollout engine")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    add_output(parser)
    options = parser.parse_args()
    if options.pairs < 1 or (options.steps is not None and options.steps < 2):
        parser.error("at least one pair, and two steps: the first is not timed")
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for workload in chosen(options):
            results.append(summary(workload, compare(workload, options, Path(scratch))))
            print(table(results[-1]), flush=True)
    write_results(options.output, {"workloads": results}, sources=[*TRAINING, "bench/grpo_workloads.py"])


if __name__ == "__main__":
    main()
