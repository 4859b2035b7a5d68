"""Broken syncs of weights with a real vLLM server: how many the proof finds, and how many right ones it calls broken.

    RLLLM_TEST_VLLM=/path/to/venv python bench/vllm_sync.py --output docs/results/vllm-sync.json

RLLLM_TEST_VLLM_URL names a server that runs already, with such a model.

The policy is nano, trained by AdamW on its own text between syncs, at learning rates from 1e-6 to 1e-4. After each right sync
the policy makes a step, and the next sync is broken in one of the ways of `FAULTS`: the call is left out, or what the server
reads is not what was written. `in the first step` counts syncs that are broken from the beginning of a run, when the server has
the policy's weights anyway. The head is untied; see `vllm_server.untied`.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from results_file import add_output, write_results
from safetensors.torch import load_file, save_file
from vllm_server import untied, vllm_serve, vllm_venv

from rlllm.core.errors import WeightSyncError
from rlllm.network.event_loop import run_on
from rlllm.policies.loading import load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rollouts.config import ServingConfig
from rlllm.rollouts.engines.served.client import VLLMServer
from rlllm.rollouts.engines.served.sync import WeightSync

SOURCES = [f"src/rlllm/rollouts/engines/served/{name}.py" for name in ("proof", "sync", "weights", "client")]
LEARNING_RATES = (1e-6, 1e-5, 1e-4)
TEXT = "Tom has 3 apples and buys 4 more. How many does he have? 3 + 4 = 7\n#### 7"


class Injected(VLLMServer):
    """A server whose next load goes wrong in the way of `fault`; None loads as it should."""

    fault: str | None = None
    last: Path
    """Folder of the weights that it was last given rightly."""
    start: Path
    rng: random.Random

    def load(self, folder: Path, version: str) -> None:
        if self.fault is None:
            super().load(folder, version)
            self.last = _kept(folder, self.last)
            return
        if self.fault == "the call is left out":
            return
        if self.fault == "its prefix cache keeps the old weights":
            run_on("http", self._asked("/collective_rpc", _reload(folder), lambda raw: None))
            return
        wrong = folder.with_name(f"{folder.name}-wrong")
        shutil.copytree(folder, wrong)
        new, old = load_file(folder / "model.safetensors"), load_file(self.last / "model.safetensors")
        save_file(FAULTS[self.fault](new, old, self), wrong / "model.safetensors", metadata={"format": "pt"})
        super().load(wrong, version)
        shutil.rmtree(wrong)


def _reload(folder: Path) -> dict[str, Any]:
    return {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}


def _kept(folder: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(folder, place))


Weights = dict[str, torch.Tensor]


def _old_where(new: Weights, old: Weights, chosen: Callable[[str], bool]) -> Weights:
    return {name: (old if chosen(name) else new)[name] for name in new}


def _one_layer(new: Weights, old: Weights, server: Injected) -> Weights:
    layer = f".layers.{server.rng.randrange(4)}."
    return _old_where(new, old, lambda name: layer in name)


def _one_matrix(new: Weights, old: Weights, server: Injected) -> Weights:
    matrix = server.rng.choice([name for name in new if "_proj" in name])
    return _old_where(new, old, lambda name: name == matrix)


FAULTS: dict[str, Callable[[Weights, Weights, Injected], Weights]] = {
    "the call is left out": lambda new, old, server: old,
    "old weights are read": lambda new, old, server: old,
    "half of the layers are old": lambda new, old, server: _old_where(
        new, old, lambda name: ".layers.0." in name or ".layers.1." in name
    ),
    "one layer is old": _one_layer,
    "one matrix is old": _one_matrix,
    "embedding and head are old": lambda new, old, server: _old_where(
        new, old, lambda name: "embed" in name or "lm_head" in name
    ),
    "the change is ignored (an adapter)": lambda new, old, server: load_file(server.start / "model.safetensors"),
    "rounded to bfloat16": lambda new, old, server: {name: weight.bfloat16().float() for name, weight in new.items()},
    "another order of tokens": lambda new, old, server: {
        name: weight.roll(1, 0) if "embed" in name or "lm_head" in name else weight for name, weight in new.items()
    },
    "its prefix cache keeps the old weights": lambda new, old, server: new,
}


def learn(model: Any, tokenizer: Any, optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One step of AdamW on the text."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def found(sync: WeightSync, model: Any, server: Injected, fault: str | None) -> str | None:
    """What the proof says of a sync; None if it says nothing."""
    server.fault = fault
    try:
        sync.bring(model, [server])
    except WeightSyncError as error:
        return f"{error.what} | {error.given}"
    finally:
        server.fault = None
    return None


def measure(url: str, folder: Path, place: Path, injections: int, seed: int) -> dict[str, Any]:
    """Right and broken syncs by turns, `injections` of the latter in equal numbers of each kind, and what was found."""
    torch.manual_seed(seed)
    source = resolve_model(str(folder))
    model, tokenizer = load_policy(source), load_tokenizer(source)
    config = ServingConfig(folder=place / "weights", timeout=300)
    server = Injected(url, config)
    server.rng, server.start, server.last = random.Random(seed), folder, place / "last"
    run_on("http", server.connect())
    sync = WeightSync(tokenizer, config)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    kinds = list(FAULTS)
    counts = {kind: {"injected": 0, "found": 0, "in the first step": 0} for kind in kinds}
    right, false_alarms, distances, missed = 0, [], [], []
    for number in range(injections):
        kind, rate = kinds[number % len(kinds)], LEARNING_RATES[number // len(kinds) % len(LEARNING_RATES)]
        alarm = found(sync, model, server, None)
        right += 1
        if alarm is not None:
            false_alarms.append(alarm)
        distances.append(sync.metrics["sync/mean_abs_dlogp"])
        first = number // len(kinds) % 4 == 3
        under_test = WeightSync(tokenizer, config) if first else sync
        if not first:
            learn(model, tokenizer, optimizer, rate)
        said = found(under_test, model, server, kind)
        counts[kind]["injected"] += 1
        counts[kind]["found"] += said is not None
        counts[kind]["in the first step"] += first and said is not None
        if said is None:
            missed.append({"kind": kind, "learning_rate": rate, "first": first})
        if first or said is None:
            sync.forget(server)
        print(f"{number + 1:3d} {kind:40s} {'first' if first else f'{rate:g}':6s} {said or 'MISSED'}", flush=True)
    return {
        "injected": sum(count["injected"] for count in counts.values()),
        "found": sum(count["found"] for count in counts.values()),
        "by_kind": counts,
        "missed": missed,
        "right_syncs": right,
        "false_alarms": false_alarms,
        "mean_abs_dlogp_of_right_syncs": {"median": sorted(distances)[len(distances) // 2], "largest": max(distances)},
    }


def in_bfloat16(venv: Path, folder: Path, place: Path, port: int) -> dict[str, Any]:
    """What is said of a server that computes in bfloat16 for a policy in float32."""
    source = resolve_model(str(folder))
    model, tokenizer = load_policy(source), load_tokenizer(source)
    config = ServingConfig(folder=place / "weights-bf16", timeout=600)
    with vllm_serve(venv, folder, port, "--dtype", "bfloat16") as url:
        server = Injected(url, config)
        server.rng, server.start, server.last = random.Random(0), folder, place / "last-bf16"
        run_on("http", server.connect())
        return {"said": found(WeightSync(tokenizer, config), model, server, None)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--injections", type=int, default=100)
    parser.add_argument("--port", type=int, default=8131)
    parser.add_argument("--bfloat16", action="store_true", help="ask a server in bfloat16 as well, which takes minutes")
    add_output(parser)
    arguments = parser.parse_args()
    venv = vllm_venv()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = untied(Path(place) / "nano", "nano")
        running = os.environ.get("RLLLM_TEST_VLLM_URL")
        with nullcontext(running) if running else vllm_serve(venv, folder, arguments.port, "--dtype", "float32") as url:
            results = measure(url, folder, Path(place), arguments.injections, seed=0)
        if arguments.bfloat16:
            results["a_server_in_bfloat16"] = in_bfloat16(venv, folder, Path(place), arguments.port + 1)
    found_in = (venv / "lib").glob("python*/site-packages/vllm*.dist-info")
    results["vllm"] = next((path.name.split("-")[1].split("+")[0].removesuffix(".dist") for path in found_in), None)
    write_results(arguments.output, results, sources=SOURCES, threads=1)


if __name__ == "__main__":
    main()
