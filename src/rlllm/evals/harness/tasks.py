"""Tasks of lm-evaluation-harness before the package is imported: their names, files, settings and identity."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import Field

from rlllm.core import yaml_io
from rlllm.core.config import Section
from rlllm.core.errors import ConfigError
from rlllm.core.records import fingerprint
from rlllm.core.runs import file_hash
from rlllm.evals.metrics.base import ExternalTask

HARNESS = "lm-eval"
"""The metric."""
PREFIX = f"{HARNESS}:"
_SUFFIXES = (".yaml", ".yml")


class HarnessConfig(Section):
    """How tasks of lm-evaluation-harness are asked."""

    include: list[str] = Field(default_factory=list)
    """Folders with task files of your own, searched beside the harness's."""
    shots: int | None = Field(None, ge=0)
    """Worked examples in each prompt; default: the task's own number."""
    chat: bool = False
    """Put prompts into the model's chat template. The harness does not unless told to."""


def check_task(params: Mapping[str, Any]) -> str:
    """The name of the task that `params` asks for.

    Args:
        params: `task`, a name or a YAML file, `limit`, the most documents, and `system_prompt`; with the fields of
            `HarnessConfig`.

    Raises:
        ConfigError: no task, unknown arguments, a file or folder that is not there, or the harness is not installed.
    """
    names = {"task", "limit", "system_prompt", *HarnessConfig.model_fields}
    if unknown := sorted(params.keys() - names):
        raise ConfigError(f"{HARNESS} takes no {unknown[0]}", given=", ".join(unknown), exists=sorted(names))
    task = params.get("task")
    if not isinstance(task, str) or not task:
        raise ConfigError("which task of lm-evaluation-harness?", given=HARNESS, hint=f"rlllm eval {PREFIX}NAME")
    for folder in params["include"]:
        if not Path(folder).expanduser().is_dir():
            raise ConfigError("harness.include names no folder", given=folder)
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError(
            "tasks of lm-evaluation-harness need its package",
            given=f"{PREFIX}{task}",
            hint='pip install "rlllm[lm-eval]"',
        )
    path = task_file(task)
    return _name_in(path) if path else task


def planned_task(params: Mapping[str, Any]) -> ExternalTask:
    """A task of the harness as a plan shows it. Arguments and errors as of `check_task`."""
    label = check_task(params)
    return ExternalTask(f"{PREFIX}{label}", "lm-evaluation-harness", task_identity(params), params["limit"])


def task_file(task: str) -> Path | None:
    """The YAML file that a task is named by, or None for a name."""
    return Path(task).expanduser() if task.endswith(_SUFFIXES) else None


def task_identity(params: Mapping[str, Any]) -> str:
    """Hash of what decides the items of a task: its name, its file where it has one, how it is asked, and the harness."""
    path = task_file(params["task"])
    content = file_hash(path) if path else None
    settings = {name: params[name] for name in ("shots", "chat", "limit")}
    return fingerprint([check_task(params), content, settings, version("lm_eval")])


def _name_in(path: Path) -> str:
    """The name that a task file gives itself."""
    try:
        name = _first_line(path, "task:")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the task file cannot be read", given=path, hint=f"{PREFIX}NAME takes a known task"
        ) from error
    if not name:
        raise ConfigError("the task file names no task", given=path, hint="it needs a line like: task: my_task")
    return name


def _first_line(path: Path, start: str) -> str | None:
    """The text after a key at the left margin. The file is not parsed: the harness's YAML has tags that run Python."""
    lines = path.read_text(encoding="utf-8").splitlines()
    text = next((line.removeprefix(start) for line in lines if line.startswith(start)), None)
    return str(yaml_io.parse_scalar(text.strip())) if text else None
