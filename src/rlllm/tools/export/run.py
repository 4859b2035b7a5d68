"""What an export writes, planned before anything is loaded: a merged model, a GGUF file, a model card, an upload to the Hub."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlllm.core.config import LoadingConfig
from rlllm.core.errors import ConfigError, ModelError, describe
from rlllm.core.runs import Run, write_text
from rlllm.policies.model_sources import ModelSource, resolve_model
from rlllm.tools.export.card import card_text
from rlllm.tools.export.gguf_file import check_gguf, write_gguf

_WHOLE_FORMATS = ("float32", "bfloat16", "float16")
_CARD = "README.md"
_LEFT_OUT = (".partial", ".lock")


@dataclass(frozen=True)
class ExportPlan:
    """What will be written.

    Args:
        source: the model.
        run: the run that made it; None for a folder that is no run.
        merged: folder of the whole model; None where none is wanted.
        gguf: the GGUF file; None where none is wanted.
        card: whether a model card is written, into the folder that is exported.
        push: name of a repository of the Hub, `ORG/NAME`; None uploads nothing.
        dtype: number format of what is written; None takes that of the base's files.
        private: whether a repository that is made is private.
    """

    source: ModelSource
    run: Run | None
    merged: Path | None
    gguf: Path | None
    card: bool
    push: str | None
    dtype: str | None
    private: bool

    @property
    def folder(self) -> Path:
        """What is described by the card, and uploaded: the merged model, or else the model's own folder."""
        return self.merged or Path(self.source.path)

    def upload(self) -> list[str]:
        """Files of the upload, as far as they exist: names in the repository."""
        names = [str(path.relative_to(self.folder)) for path in _files(self.folder)] if self.folder.is_dir() else []
        return sorted({*names, *([_CARD] if self.card else []), *([self.gguf.name] if self.gguf else [])})

    def lines(self) -> list[tuple[str, str]]:
        """Label and value rows for a person."""
        rows = [("model", f"{self.source.name} ({self.source.kind}) {self.source.reference}")]
        rows += [("merged", f"{self.merged}, {self.dtype or self.source.stored_dtype()}")] if self.merged else []
        rows += [("gguf", str(self.gguf))] if self.gguf else []
        rows += [("card", str(self.folder / _CARD))] if self.card else []
        if self.push:
            files = "the merged model" if self.merged and not self.merged.is_dir() else ", ".join(self.upload())
            rows.append(("push", f"{self.push} ({'private' if self.private else 'public'}): {files}"))
        return rows

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.source.reference,
            "merged": self.merged and str(self.merged),
            "gguf": self.gguf and str(self.gguf),
            "card": str(self.folder / _CARD) if self.card else None,
            "push": self.push and {"repository": self.push, "private": self.private, "files": self.upload()},
        }


@dataclass(frozen=True)
class Exported:
    """What was written."""

    merged: Path | None = None
    gguf: Path | None = None
    card: Path | None = None
    address: str | None = None
    """Of the upload."""
    notes: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[tuple[str, str]]:
        for name in ("merged", "gguf", "card", "address"):
            if (value := getattr(self, name)) is not None:
                yield name, str(value)
        yield from (("note", text) for text in self.notes)


def plan_export(
    model: str,
    *,
    merge: bool = False,
    gguf: bool = False,
    card: bool = False,
    push: str | None = None,
    output: Path | None = None,
    dtype: str | None = None,
    private: bool = True,
    overwrite: bool = False,
) -> ExportPlan:
    """Check an export. `export` of `rlllm.api` has the arguments.

    Raises:
        ConfigError: nothing is to be written, or what cannot be.
        ModelError: no such model.
    """
    if not (merge or gguf or card or push):
        raise ConfigError("nothing to export", given=model, hint="add --merge, --gguf, --card or --push ORG/NAME")
    source = resolve_model(model)
    path = Path(model).expanduser()
    run = Run(path) if (path / "status.json").is_file() else None
    place = output or (path if run is not None else path.with_name(f"{path.name}-export"))
    if card and run is None:
        raise ConfigError(
            "a card tells what a run did, and this is no run", given=model, hint="name the run's directory"
        )
    if merge and dtype is not None and dtype not in _WHOLE_FORMATS:
        raise ConfigError("no such number format of a model", given=f"dtype={dtype}", exists=_WHOLE_FORMATS)
    if gguf:
        check_gguf(source, dtype)
    if push:
        _check_push(push, source, merge)
    merged = (output or place / "merged") if merge else None
    file = (
        (output.parent if output and output.suffix == ".gguf" else place) / _gguf_name(source, output) if gguf else None
    )
    for target in (merged, file):
        if target is not None and target.exists() and not overwrite:
            raise ConfigError(
                "the output exists", given=target, hint="--overwrite replaces it; or name another --output"
            )
    return ExportPlan(source, run, merged, file, card, push, dtype, private)


def _gguf_name(source: ModelSource, output: Path | None) -> str:
    return output.name if output and output.suffix == ".gguf" else f"{source.name.lower()}.gguf"


def _check_push(push: str, source: ModelSource, merge: bool) -> None:
    if push.count("/") != 1 or not all(push.split("/")):
        raise ConfigError("a repository of the Hub is named ORG/NAME", given=f"--push {push}")
    if source.folder is None and not merge:
        raise ConfigError("this model is on the Hub already", given=source.reference, hint="name a run or a folder")
    if source.base is not None and source.base.kind != "hub" and not merge:
        raise ConfigError(
            "this adapter names a base on this machine, which nobody else has under that name",
            given=source.reference,
            hint="--merge uploads the whole model; or train on a model of the Hub",
        )


def export(plan: ExportPlan) -> Exported:
    """Write what is planned, in the order of the plan.

    Raises:
        ModelError: what was written does not hold.
        ConfigError: the Hub cannot be reached, or refuses.
    """
    notes: list[str] = []
    if plan.merged or plan.gguf:
        model, tokenizer = _whole(plan.source)
        if plan.merged:
            _write_whole(plan, model, tokenizer)
        if plan.gguf:
            notes += _write_gguf(plan, model, tokenizer)
    card = None
    if plan.card and plan.run is not None:
        card = plan.folder / _CARD
        write_text(card, card_text(plan.run, plan.source, merged=plan.merged is not None))
    address = _pushed(plan) if plan.push else None
    return Exported(plan.merged, plan.gguf, card, address, notes)


def _whole(source: ModelSource) -> tuple[Any, Any]:
    """Model and tokenizer. An adapter is merged in float32, so that its change is rounded once, when the model is written."""
    from rlllm.launch import local
    from rlllm.policies.loading import load_classifier, load_policy, load_step_classifier, load_tokenizer

    local.prepare()
    source = source.loaded_as(LoadingConfig(dtype="auto" if source.base is None else "float32"))
    tokenizer, names = load_tokenizer(source), source.settings().get("architectures") or [""]
    if names[0].endswith("ForSequenceClassification"):
        return load_classifier(source, tokenizer), tokenizer
    if names[0].endswith("ForTokenClassification"):
        return load_step_classifier(source, tokenizer), tokenizer
    return load_policy(source), tokenizer


def _write_whole(plan: ExportPlan, model: Any, tokenizer: Any) -> None:
    from rlllm.policies.loading import write_whole

    assert plan.merged is not None
    partial = plan.merged.with_name(plan.merged.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        write_whole(model, tokenizer, partial, plan.dtype or plan.source.stored_dtype())
    except ModelError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(plan.merged, ignore_errors=True)
    partial.rename(plan.merged)


def _write_gguf(plan: ExportPlan, model: Any, tokenizer: Any) -> list[str]:
    assert plan.gguf is not None
    stored = plan.source.stored_dtype()
    dtype = plan.dtype or (stored if stored in ("float32", "bfloat16", "float16") else "float16")
    write_gguf(model.float(), tokenizer, plan.gguf, name=plan.source.name, dtype=dtype)
    modelfile = plan.gguf.with_name("Modelfile")
    modelfile.write_text(f'FROM ./{plan.gguf.name}\nPARAMETER stop "{tokenizer.eos_token}"\n', encoding="utf-8")
    notes = [f"ollama create {plan.source.name.lower()} -f {modelfile}"]
    if not json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]:
        notes.append("llama.cpp and Ollama read no tokenizer without merges, as this one is; transformers does")
    return notes


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(_LEFT_OUT))


def _pushed(plan: ExportPlan) -> str:
    """Upload the folder and the GGUF file; returns the address."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import HfHubHTTPError

    assert plan.push is not None
    if is_offline_mode():
        raise ConfigError(
            "nothing is uploaded while the Hub is offline",
            given=f"HF_HUB_OFFLINE={os.environ.get('HF_HUB_OFFLINE', '')}",
            hint="unset HF_HUB_OFFLINE; --dry-run lists the files without a network",
        )
    hub = HfApi()
    try:
        hub.create_repo(plan.push, private=plan.private, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=plan.push, folder_path=plan.folder, ignore_patterns=[f"*{end}" for end in _LEFT_OUT]
        )
        if plan.gguf:
            hub.upload_file(repo_id=plan.push, path_or_fileobj=plan.gguf, path_in_repo=plan.gguf.name)
    except (OSError, HfHubHTTPError, ValueError) as error:
        raise ConfigError(
            f"the Hub cannot be pushed to: {describe(error)[:300]}",
            given=f"--push {plan.push}",
            hint="hf auth login, with a token that may write there",
        ) from error
    return str(commit.commit_url)
