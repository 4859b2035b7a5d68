"""A model card: what a run did to which model with which data, what was measured, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rlllm.core.config import model_reference
from rlllm.core.interval_text import interval_text
from rlllm.core.runs import Run
from rlllm.core.yaml_io import dump
from rlllm.policies.model_sources import ModelSource
from rlllm.tools.export.serve import serve_commands


def card_text(run: Run, source: ModelSource, *, merged: bool) -> str:
    """The card of a run's model as Markdown, with the Hub's metadata in front.

    Args:
        merged: whether the model is whole where the run's is an adapter.
    """
    config, lineage = run.config, _json(run, "lineage.json")
    settings: Mapping[str, Any] = config["settings"]
    adapter = source.base is not None and not merged
    parts = [
        f"---\n{dump(_metadata(settings, source, adapter))}---\n",
        f"# {run.path.resolve().name}\n",
        f"{model_reference(settings['model'])} after `rlllm {config['stage']}` with the method `{settings.get('method')}`"
        f"{', as an adapter on its base' if adapter else ''}.\n",
        "## How it was made\n",
        *_table(("what", "value"), _made(config, lineage)),
        "## What was measured\n",
        *_measured(run),
        "## What speaks against it\n",
        *_against(run),
        "## How to serve it\n",
        *(f"```bash\n{command}\n```\n" for command in serve_commands("MODEL", source, merged=merged)),
        "`MODEL` is this repository or folder. The recipe, every rollout and the verdict are in the run's directory.\n",
    ]
    return "\n".join(parts)


def _metadata(settings: Mapping[str, Any], source: ModelSource, adapter: bool) -> dict[str, Any]:
    """What the Hub reads; a base on this machine has no name there."""
    base = source.base or source
    known = {"base_model": base.reference} if base.kind == "hub" else {}
    return {
        **known,
        "library_name": "peft" if adapter else "transformers",
        "tags": ["rlllm", "trl", str(settings.get("method"))],
    }


def _made(config: Mapping[str, Any], lineage: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    settings, data = config["settings"], lineage.get("data") or {}
    yield "base", f"`{model_reference(settings['model'])}`"
    if weights := (lineage.get("model") or {}).get("weights"):
        yield "hash of its weights", f"`{weights}`"
    yield "method", f"`{settings.get('method')}`"
    yield "data", f"{data.get('source')}: {data.get('train')} rows to train on, {data.get('holdout')} held out"
    yield "hash of the data", f"`{data.get('hash')}`"
    if rewards := (lineage.get("rewards") or {}).get("names"):
        yield "rewards", ", ".join(rewards)
    if lora := settings.get("lora"):
        yield "LoRA", ", ".join(f"{name}={value}" for name, value in lora.items())
    trl = config.get("trl") or {}
    for name in ("learning_rate", "max_steps", "num_train_epochs", "per_device_train_batch_size"):
        if name in trl:
            yield f"`{name}`", str(trl[name])
    yield "seed", str(settings.get("seed"))


def _measured(run: Run) -> Iterator[str]:
    rows = [
        (
            row["name"],
            *(interval_text(row[part], ".3g") if row.get(part) else "" for part in ("before", "after", "difference")),
        )
        for row in run.results.get("measures", ())
    ]
    if not rows:
        yield "Nothing was measured on held-out rows.\n"
        return
    yield "On held-out rows, with 95 % intervals; the change is paired by row.\n"
    yield from _table(("measure", "before", "after", "change"), rows)


def _against(run: Run) -> Iterator[str]:
    verdict = run.verdict
    outcome = (verdict.get("outcome") or {}).get("state")
    yield f"Outcome: {outcome or 'unknown'}; the run {'was carried out' if run.carried_out else 'was not carried out'}.\n"
    reasons = verdict.get("reasons") or []
    yield "\n".join(f"- {reason['text']}" for reason in reasons) + "\n" if reasons else "The verdict names nothing.\n"


def _table(head: tuple[str, ...], rows: Any) -> Iterator[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    yield (
        "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"
    )


def _json(run: Run, name: str) -> dict[str, Any]:
    return run.read(name) if (run.path / name).is_file() else {}
