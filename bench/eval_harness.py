"""lm-evaluation-harness with its own backend against the same tasks on rlllm's engines: seconds, and whether items agree.

    python bench/eval_harness.py [--model nano|FOLDER] [--items 128] [--sizes 1,8,32,128] [--repeats 3] [--threads 2]
                                 [--new 64] [--story 8] [--output FILE]

Two tasks are made, of `items` documents each: `choice`, a question after a story of `story` sentences with four answers of
a few tokens (a story that is longer than the model's context is cut, differently for each answer, and nothing is shared);
and `write`, a sum to be written out greedily in at most `new` tokens, up to a stop string, in the model's chat template
where it has one. Prompts, filters and metrics are the harness's for both sides. A third side, `pass`, is `rlllm eval`
itself on the prompts of `write`: its own engine, rewards and intervals, without the harness.

Every side runs at every batch size, sides take turns, and the median of the repeats counts. Loading is not timed. The table
shows each side at the batch size of each row, and at its own best one; the last columns count what the model takes, without
the harness's own work on prompts, filters and metrics, which is the same on both sides. Items agree if every metric and
every written text is equal, and log-likelihoods are within 1e-3.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from results_file import add_output, write_results

Side = Callable[[int], Callable[[], Any]]
"""Batch size -> what is timed; it gives the results."""
NAMES = ["Ann", "Ben", "Cleo", "Dan", "Eve", "Finn"]
PLACES = ["in the kitchen", "under the old table", "behind the garden gate", "on the top shelf"]
THINGS = ["a key", "a red cup", "two letters", "some bread"]
TASK = {
    "dataset_path": "json",
    "test_split": "test",
    "metadata": {"version": 1},
}
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{story}}\nQuestion: {{question}}\nAnswer:",
    "doc_to_target": "{{label}}",
    "doc_to_choice": "{{choices}}",
    "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")],
}
WRITE = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "filter_list": [
        {
            "name": "marked",
            "filter": [{"function": "regex", "regex_pattern": r"####\s*(-?\d+)"}, {"function": "take_first"}],
        }
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


def main() -> None:
    args = arguments()
    import torch

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    torch.set_num_threads(args.threads)
    report: dict[str, Any] = {"settings": vars(args), "tasks": {}}
    with tempfile.TemporaryDirectory() as folder:
        documents = make_tasks(Path(folder), args)
        for task in ("choice", "write"):
            sides = make_sides(task, Path(folder), documents[task], args)
            seconds, results = alternate(sides, args)
            report["tasks"][task] = {"seconds": seconds, "agree": agree(results["harness"], results["engines"])}
    show(report)
    tasks = [{"task": task, **best(found)} for task, found in report["tasks"].items()]
    sources = ["src/rlllm/evals", "src/rlllm/rollouts"]
    write_results(args.output, {"model": Path(args.model).name, "tasks": tasks}, sources=sources, threads=args.threads)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--items", type=int, default=128)
    parser.add_argument("--sizes", default="1,8,32,128")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--story", type=int, default=8)
    add_output(parser)
    return parser.parse_args()


def make_tasks(folder: Path, args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Write both tasks with their documents; the documents by task."""
    dice = random.Random(0)
    documents = {
        "choice": [choice_document(dice, args.story) for _ in range(args.items)],
        "write": [write_document(dice) for _ in range(args.items)],
    }
    generation = {"generation_kwargs": {"until": ["\n\n", "Question:"], "max_gen_toks": args.new, "do_sample": False}}
    for name, more in (("choice", CHOICE), ("write", {**WRITE, **generation})):
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in documents[name]))
        files = {"dataset_kwargs": {"data_files": {"test": str(data)}}}
        # JSON is YAML, but for the key that the task's name is read from
        body = {**TASK, **more, **files}
        lines = [f"task: bench_{name}", *(f"{key}: {json.dumps(value)}" for key, value in body.items())]
        (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n")
    return documents


def choice_document(dice: random.Random, sentences: int) -> dict[str, Any]:
    diagnostics = [(dice.choice(NAMES), dice.choice(THINGS), dice.choice(PLACES)) for _ in range(sentences)]
    who, what, where = dice.choice(diagnostics)
    return {
        "story": " ".join(f"{name} put {thing} {place}." for name, thing, place in diagnostics),
        "question": f"Where did {who} put {what}?",
        "choices": PLACES,
        "label": PLACES.index(where),
    }


def write_document(dice: random.Random) -> dict[str, Any]:
    first, second = dice.randint(1, 99), dice.randint(1, 99)
    return {"question": f"What is {first} + {second}?", "answer": str(first + second)}


def make_sides(task: str, folder: Path, documents: list[dict[str, Any]], args: argparse.Namespace) -> dict[str, Side]:
    from lm_eval import evaluator
    from lm_eval.models.huggingface import HFLM

    from rlllm.evals.harness.model import EngineLM
    from rlllm.evals.harness.run import load_tasks
    from rlllm.policies.loading import load_policy, load_tokenizer
    from rlllm.policies.model_sources import resolve_model
    from rlllm.rollouts.config import SamplingConfig

    source = resolve_model(args.model)
    model, tokenizer = load_policy(source).eval(), load_tokenizer(source)
    chat = task == "write" and bool(tokenizer.chat_template)
    asked: dict[str, Any] = {"task": str(folder / f"{task}.yaml"), "include": [], "shots": None, "chat": chat}

    def evaluated(backend: Any) -> Callable[[], Any]:
        tasks = load_tasks(asked)  # answers are kept in the tasks, so that every run needs its own
        spent = watched(backend)

        def work() -> Any:
            found = evaluator.evaluate(backend, tasks, bootstrap_iters=0, apply_chat_template=chat)
            return {**found, "model_seconds": sum(spent)}

        return work

    def passed(size: int) -> Callable[[], Any]:
        return lambda: pass_rate(
            model, tokenizer, documents, SamplingConfig(batch_size=size, max_new_tokens=args.new, temperature=0)
        )

    sides: dict[str, Side] = {
        "harness": lambda size: evaluated(HFLM(pretrained=model, tokenizer=tokenizer, batch_size=size)),
        "engines": lambda size: evaluated(EngineLM(model, tokenizer, SamplingConfig(batch_size=size))),
    }
    return {**sides, "pass": passed} if task == "write" else sides


def watched(backend: Any) -> list[float]:
    """The seconds of each call of the model from now on; the rest is the harness's prompts, filters and metrics."""
    spent: list[float] = []

    def timed(method: Callable[[Any], Any], requests: Any) -> Any:
        start = time.perf_counter()
        answers = method(requests)
        spent.append(time.perf_counter() - start)
        return answers

    for name in ("loglikelihood", "generate_until"):
        setattr(backend, name, partial(timed, getattr(backend, name)))
    return spent


def pass_rate(model: Any, tokenizer: Any, documents: list[dict[str, Any]], sampling: Any) -> float:
    """pass@1 of `rlllm eval` on the same questions."""
    from rlllm.core.records import PromptTask
    from rlllm.evals.registry import METRICS
    from rlllm.evals.request import EvalRequest
    from rlllm.rewards.composition import build
    from rlllm.rewards.config import RewardSpec

    tasks = [PromptTask(row["question"], row["answer"]) for row in documents]
    rewards = build([RewardSpec(name="exact")])
    request = EvalRequest("", lambda: (model, tokenizer), tasks, rewards, sampling, samples=1)
    return METRICS.load("pass")(request).values["pass@1"].estimate


def alternate(
    sides: Mapping[str, Side], args: argparse.Namespace
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Median seconds by side and batch size, and each side's last results."""
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in sides}
    results = {name: side(8)() for name, side in sides.items()}
    for _ in range(args.repeats):
        for size in map(int, args.sizes.split(",")):
            for name, side in sides.items():
                work = side(size)
                start = time.perf_counter()
                results[name] = work()
                taken[name].setdefault(str(size), []).append(time.perf_counter() - start)
                if name != "pass":
                    own = taken.setdefault(f"{name} model", {})
                    own.setdefault(str(size), []).append(results[name]["model_seconds"])
    medians = {name: {size: statistics.median(runs) for size, runs in sizes.items()} for name, sizes in taken.items()}
    return medians, results


def agree(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether every item has the same metrics and texts, and log-likelihoods within 1e-3."""
    pairs = [
        pair for name in theirs["samples"] for pair in zip(theirs["samples"][name], ours["samples"][name], strict=True)
    ]
    return all(
        all(a[metric] == b[metric] for metric in a["metrics"]) and same(a["resps"], b["resps"]) for a, b in pairs
    )


def same(there: Any, here: Any) -> bool:
    if isinstance(there, float):
        return abs(there - here) <= 1e-3
    if isinstance(there, list | tuple):
        return len(there) == len(here) and all(map(same, there, here))
    return there == here


def show(report: Mapping[str, Any]) -> None:
    settings = report["settings"]
    print(f"\n{settings['model']}: {settings['items']} items a task, {settings['threads']} threads, seconds\n")
    print(
        "| task | batch size | harness | engines | faster | rlllm eval | faster | model: harness | engines | faster |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for task, found in report["tasks"].items():
        seconds = found["seconds"]
        for size in settings["sizes"].split(","):
            print(row(task, size, {name: runs[size] for name, runs in seconds.items()}))
        print(row(task, "best of each", {name: min(runs.values()) for name, runs in seconds.items()}))
    for task, found in report["tasks"].items():
        print(f"\n{task}: items {'agree' if found['agree'] else 'DIFFER'}")


def best(found: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of each side at its own best batch size, how many times faster than the harness, and whether items agree."""
    seconds = {name: min(runs.values()) for name, runs in found["seconds"].items()}
    base, alone = seconds["harness"], seconds.get("pass")
    return {
        "harness": base,
        "engines": seconds["engines"],
        "faster": base / seconds["engines"],
        "pass": alone,
        "pass_faster": alone and base / alone,
        "agree": found["agree"],
    }


def row(task: str, size: str, seconds: Mapping[str, float]) -> str:
    cells = [task, size, f"{seconds['harness']:.2f}"]
    for name in ("engines", "pass"):
        cells += against(seconds["harness"], seconds.get(name))
    model = seconds["harness model"]
    return f"| {' | '.join([*cells, f'{model:.2f}', *against(model, seconds['engines model'])])} |"


def against(base: float, seconds: float | None) -> list[str]:
    return ["", ""] if seconds is None else [f"{seconds:.2f}", f"{base / seconds:.1f}"]


if __name__ == "__main__":
    main()
