"""Tokens a second of each engine on the same prompts, against what this machine could do at most.

    python bench/rollout.py [--model nano|FOLDER] [--batch 32 --group 8 --prompt 120 --new 128] [--threads 2]
                            [--engines native,hf,continuous,vllm] [--vllm-python PYTHON] [--repeats 5] [--output FILE]
    python bench/rollout.py --device cuda --output docs/results/rollout-gpu.json       (a GPU, at most 8 minutes)

Prompts are random tokens, `batch / group` of them, each continued `group` times, sampled from the whole distribution. No
completion ends early: the end-of-sequence token is switched off in every engine. Engines take turns, each repeat has prompts
of its own (a prefix cache finds nothing), and the median counts; the first run of each engine does not. `continuous` is
transformers' own continuous batching (`generate_batch`).

On a CPU numbers are float32. Ceilings, measured in the same run at the same batch: what would come out if a token cost nothing
but the products with the model's own weight matrices, by `torch.mm` and by oneDNN in its own layout; and if it cost nothing
but reading the weights from memory once a step. `--vllm-python` is the python of an environment with vLLM's CPU build; it
needs no rlllm.

On a GPU they are bfloat16, and the model is Qwen2.5-0.5B's shape with random weights unless another is named: nothing is
downloaded. Another repeat begins only while it would end within `--minutes`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[list[list[int]]], float]
"""Prompts (each once) -> seconds for their groups."""


CPU: dict[str, Any] = {
    "model": "nano",
    "batch": 32,
    "group": 8,
    "prompt": 120,
    "new": 128,
    "repeats": 5,
    "engines": "native,hf",
}
GPU: dict[str, Any] = {
    "model": None,
    "batch": 512,
    "group": 16,
    "prompt": 256,
    "new": 512,
    "repeats": 5,
    "engines": "native,hf,continuous",
}
"""Defaults of each device."""


class Endless:
    """A tokenizer as far as engines ask, without an end-of-sequence token."""

    pad_token_id = 0
    eos_token_id = None
    chat_template = None


def main() -> None:
    args = arguments()
    if args.worker:
        serve_vllm(args)
        return
    import torch
    from results_file import write_results

    from rlllm.policies.loading import load_policy
    from rlllm.policies.model_sources import resolve_model

    torch.set_num_threads(args.threads)
    model = load_policy(resolve_model(args.model)) if args.model else random_model()
    model = model.to(args.device, torch.float32 if args.device == "cpu" else torch.bfloat16).eval()
    runs = {name: runner(name, model, args) for name in args.engines.split(",")}
    seconds = alternate(runs, args, model.config.vocab_size)
    tokens = args.batch * args.new
    speeds = {name: [tokens / one for one in taken] for name, taken in seconds.items()}
    report: dict[str, Any] = {
        "settings": vars(args),
        "device": args.device if args.device == "cpu" else torch.cuda.get_device_name(),
        "ceilings": ceilings(model, args.batch) if args.device == "cpu" else {},
        "tokens_per_second": speeds,
    }
    report["tier"] = getattr(runs.get("native"), "tier", None)
    show(report)
    write_results(
        args.output, rows_of(report), sources=["src/rlllm/rollouts", "src/rlllm/policies"], threads=args.threads
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--model", help="nano or a folder; default: nano on a CPU, a random Qwen2.5-0.5B on a GPU")
    for name in ("batch", "group", "prompt", "new", "repeats"):
        parser.add_argument(f"--{name}", type=int, help=f"default: {CPU[name]} on a CPU, {GPU[name]} on a GPU")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--engines")
    parser.add_argument("--vllm-python")
    parser.add_argument("--output", type=Path, metavar="FILE", help="docs/results/NAME.json")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name, value in (CPU if args.device == "cpu" else GPU).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.batch % args.group:
        parser.error("--batch is a multiple of --group")
    if "vllm" in args.engines.split(",") and not (args.vllm_python or args.worker):
        parser.error("vllm needs --vllm-python")
    return args


def random_model() -> Any:
    """Qwen2.5-0.5B's shape with random weights."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=151936,
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        )
    )


def runner(name: str, model: Any, args: argparse.Namespace) -> Run:
    """What runs an engine on prompts and returns the seconds."""
    if name == "vllm":
        return VLLM(args)
    return Continuous(model, args) if name == "continuous" else Ours(name, model, args)


class Ours:
    """An engine of rlllm, in this process."""

    def __init__(self, name: str, model: Any, args: argparse.Namespace) -> None:
        from rlllm.rollouts.config import SamplingConfig
        from rlllm.rollouts.registry import ENGINES

        model.generation_config.eos_token_id = None
        self.engine = ENGINES.load(name)(model, Endless())
        self.sampling = SamplingConfig(max_new_tokens=args.new, batch_size=args.batch)
        self.group, self.new = args.group, args.new
        self.tier = getattr(self.engine, "tier", None)

    def __call__(self, prompts: list[list[int]]) -> float:
        repeated = [prompt for prompt in prompts for _ in range(self.group)]
        start = time.perf_counter()
        drawn = self.engine.generate(repeated, self.sampling)
        taken = time.perf_counter() - start
        assert all(len(ids) == self.new for ids in drawn)
        return taken


class Continuous:
    """transformers' continuous batching, in this process."""

    def __init__(self, model: Any, args: argparse.Namespace) -> None:
        from transformers import GenerationConfig

        self.model, self.group, self.new = model, args.group, args.new
        self.config = GenerationConfig(
            max_new_tokens=args.new, do_sample=True, top_k=0, eos_token_id=-1, pad_token_id=0
        )

    def __call__(self, prompts: list[list[int]]) -> float:
        repeated = [prompt for prompt in prompts for _ in range(self.group)]
        start = time.perf_counter()
        drawn = self.model.generate_batch(repeated, generation_config=self.config)
        taken = time.perf_counter() - start
        assert all(len(one.generated_tokens) == self.new for one in drawn.values())
        return taken


class VLLM:
    """vLLM in a process of its own, which waits for prompts on standard input."""

    def __init__(self, args: argparse.Namespace) -> None:
        from rlllm.policies.model_sources import resolve_model

        words = [args.vllm_python, __file__, "--worker", "--model", str(resolve_model(args.model).path)]
        for name in ("batch", "group", "prompt", "new", "threads"):
            words += [f"--{name}", str(getattr(args, name))]
        settings = {
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "OMP_NUM_THREADS": str(args.threads),
            "HF_HUB_OFFLINE": "1",
        }
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(words, env={**os.environ, **settings}, **pipes)
        self._answer()

    def __call__(self, prompts: list[list[int]]) -> float:
        assert self.process.stdin is not None
        print(json.dumps(prompts), file=self.process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:  # vLLM writes there too
            if line.startswith("answer "):
                return line.split()[1]
        raise SystemExit("vLLM ended before it answered; what it said is above")


def serve_vllm(args: argparse.Namespace) -> None:
    """The other side of `VLLM`; runs where rlllm is not installed."""
    from vllm import LLM, SamplingParams

    length = args.prompt + args.new + 8
    model = LLM(args.model, dtype="float32", max_model_len=length, max_num_seqs=args.batch, skip_tokenizer_init=True)
    sampling = SamplingParams(n=args.group, max_tokens=args.new, ignore_eos=True, detokenize=False, temperature=1.0)
    print("\nanswer ready", flush=True)
    for line in sys.stdin:
        prompts = [{"prompt_token_ids": ids} for ids in json.loads(line)]
        start = time.perf_counter()
        drawn = model.generate(prompts, sampling, use_tqdm=False)
        taken = time.perf_counter() - start
        assert all(len(one.token_ids) == args.new for group in drawn for one in group.outputs)
        print(f"\nanswer {taken}", flush=True)


def alternate(runs: dict[str, Run], args: argparse.Namespace, vocabulary: int) -> dict[str, list[float]]:
    """Seconds of each engine on each repeat, the first left out."""
    draw = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    began = time.perf_counter()
    for repeat in range(args.repeats + 1):
        if repeat > 1 and (time.perf_counter() - began) * (repeat + 1) / repeat > 60 * args.minutes:
            break
        prompts = [[draw.randrange(vocabulary) for _ in range(args.prompt)] for _ in range(args.batch // args.group)]
        for name, run in runs.items():
            taken = run(prompts)
            if repeat:
                seconds[name].append(taken)
    return seconds


def ceilings(model: Any, batch: int) -> dict[str, float]:
    """Tokens a second if only the weights' products, or only reading the weights, took time."""
    import torch

    from rlllm.rollouts.engines.native.linear import laid_out

    weights = [module.weight.detach() for module in model.modules() if isinstance(module, torch.nn.Linear)]
    inputs = {size: torch.randn(batch, size) for size in {weight.size(1) for weight in weights}}
    packed = [laid_out(weight) for weight in weights]
    large = torch.ones(64 * 2**20)
    with torch.inference_mode():
        plain = quickest(lambda: [torch.mm(inputs[weight.size(1)], weight.t()) for weight in weights])
        fast = quickest(lambda: [one(inputs[weight.size(1)]) for one, weight in zip(packed, weights, strict=True)])
        bandwidth = large.nbytes / quickest(large.sum)
    size = sum(weight.nbytes for weight in weights)
    return {
        "products by torch.mm": batch / plain,
        "products by oneDNN": batch / fast,
        f"reading weights at {bandwidth / 1e9:.0f} GB/s": batch / (size / bandwidth),
    }


def rows_of(report: dict[str, Any]) -> dict[str, Any]:
    """The report as a results file has it: one row an engine, and one a ceiling."""
    settings = {key: report["settings"][key] for key in ("batch", "group", "prompt", "new", "threads", "repeats")}
    medians = {name: statistics.median(speeds) for name, speeds in report["tokens_per_second"].items()}
    engines = [
        {"engine": name, "tokens_per_second": {"median": medians[name], "low": min(speeds), "high": max(speeds)}}
        for name, speeds in report["tokens_per_second"].items()
    ]
    native = medians.get("native")
    bounds = [
        {"ceiling": name, "tokens_per_second": speed, "native_share": native and native / speed}
        for name, speed in report["ceilings"].items()
        if name.startswith("products")
    ]
    return {"device": report["device"], "settings": settings, "engines": engines, "ceilings": bounds}


def quickest(work: Callable[[], Any], repeats: int = 7) -> float:
    """Seconds of the quickest of some runs."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def show(report: dict[str, Any]) -> None:
    settings = report["settings"]
    model = settings["model"] or "Qwen2.5-0.5B with random weights"
    rows = f"{settings['batch']} rows in groups of {settings['group']}"
    sizes = f"{rows}, {settings['prompt']} prompt and {settings['new']} new tokens"
    print(f"\n{model} on {report['device']}: {sizes}, {settings['threads']} threads; native tier: {report['tier']}\n")
    print("| what | tokens/s | from | to |\n|---|---|---|---|")
    for name, speeds in report["tokens_per_second"].items():
        print(f"| {name} | {statistics.median(speeds):.0f} | {min(speeds):.0f} | {max(speeds):.0f} |")
    for name, speed in report["ceilings"].items():
        print(f"| ceiling: {name} | {speed:.0f} | | |")


if __name__ == "__main__":
    main()
