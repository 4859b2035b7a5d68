"""`rlllm data label-steps`: step labels from rollouts, without a person (Math-Shepherd, Wang et al. 2023, arXiv 2312.08935).

A model solves problems. From the end of each step of a solution, several continuations are sampled. The soft label of a step
is the share of its continuations that reach the right answer; the hard label is true if any of them does. The last step needs
no continuation: its label is that of the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from rlllm.core.config import StageConfig
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.core.records import PromptTask, Sample
from rlllm.core.runs import append_jsonl
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.policies.model_sources import ModelSource, source_of
from rlllm.rewards.composition import Composition
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.models.process_reward_model import SEPARATOR, split_steps
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.base import sample_completions
from rlllm.rollouts.engines.loading import open_engine
from rlllm.training.reward_specs import resolve_rewards

_PASSED = 1.0
_TASKS_AT_ONCE = 16


class StepLabelConfig(StageConfig):
    """Settings of `rlllm data label-steps`. `model` samples solutions and continuations."""

    stage: ClassVar[str] = "label-steps"
    aliases: ClassVar[Mapping[str, str]] = {
        "max_new_tokens": "sampling.max_new_tokens",
        "temperature": "sampling.temperature",
        "reward": "rewards",
    }

    output: Path
    """JSON Lines file to write: prompt, steps, labels, soft, answer."""
    output_dir: None = None
    """Not used: there is no run directory, the rows are the result."""
    data: DataConfig = DataConfig()
    """Problems with answers."""
    rewards: list[RewardSpec] = Field(default_factory=list)
    """The first reward decides whether an answer is right (a value of at least 1); default: the data source's own."""
    rows: int | None = Field(None, ge=1)
    """Problems to take, from the first on; unset: all."""
    solutions: int = Field(1, ge=1)
    """Solutions sampled for each problem; equal ones are labelled once."""
    rollouts: int = Field(8, ge=1)
    """Continuations sampled from each step but the last."""
    sampling: SamplingConfig = SamplingConfig()
    """How solutions and continuations are sampled."""

    @model_validator(mode="after")
    def _draws_differ(self) -> StepLabelConfig:
        if not self.sampling.temperature and max(self.rollouts, self.solutions) > 1:
            raise ConfigError(
                "at temperature 0 all rollouts of a step are the same", hint="raise it, or take one rollout"
            )
        return self


@dataclass(frozen=True, slots=True)
class StepLabels:
    """Counts of a labelling."""

    output: Path
    problems: int
    rows: int = 0
    """Solutions written."""
    steps: int = 0
    right: int = 0
    """Steps labelled right."""
    soft: float = 0.0
    """Mean soft label over all steps."""
    reversals: int = 0
    """Solutions where a right step follows a wrong one: there are few rollouts, or the model corrected its mistake."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Solutions left out, by reason."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "output": str(self.output)}


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a solution, one for each step."""

    hard: list[bool]
    soft: list[float]


def label_from_outcomes(outcomes: Sequence[Sequence[bool]]) -> Labels:
    """Hard and soft labels of a solution's steps (Wang et al. 2023, equations 3 and 4).

    Args:
        outcomes: for each step whether each continuation from its end reached the answer; for the last step one outcome,
            that of the solution itself.

    Raises:
        DataError: a step without an outcome.
    """
    if not all(outcomes):
        raise DataError("a step has no rollouts to be judged by", given=[len(row) for row in outcomes])
    return Labels([any(row) for row in outcomes], [sum(row) / len(row) for row in outcomes])


def label_steps(config: StepLabelConfig, listener: ProgressCallback | None = None) -> StepLabels:
    """Sample solutions, label their steps and write them as rows that `train-rm --method process` reads.

    Raises:
        ConfigError: the output exists, or no reward says what is right.
        DataError: the data has no problems, or nothing could be labelled.
        ModelError: the model does not load.
    """
    listener = listener or NullProgress()
    if config.output.exists():
        raise ConfigError("the output file exists", given=config.output, hint="name another, or remove it")
    source = source_of(config.model)
    loaded = load(_limited(config.data, config.rows), PromptTask)
    tasks, rewards = loaded.train, resolve_rewards(config.rewards, loaded)
    if not tasks:
        raise DataError("there are no training rows to solve", given=loaded.source)
    labeller = _load(config, source, rewards, listener)
    listener.started("label-steps", len(tasks), config.output)
    rows, skipped = [], Counter[str]()
    config.output.parent.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(tasks), _TASKS_AT_ONCE):
        chunk = labeller.label(tasks[start : start + _TASKS_AT_ONCE], skipped)
        if chunk:
            append_jsonl(config.output, chunk)
        rows += chunk
        finished = min(start + _TASKS_AT_ONCE, len(tasks))
        listener.step(finished, {"rows": float(len(rows)), "skipped": float(skipped.total())})
    if not rows:
        raise DataError("no solution could be labelled", given=dict(skipped), hint="see the reasons; try another model")
    return _summary(config.output, len(tasks), rows, skipped)


def _limited(data: DataConfig, rows: int | None) -> DataConfig:
    limits = [limit for limit in (data.rows, rows) if limit is not None]
    return data.model_copy(update={"rows": min(limits, default=None)})


def _summary(output: Path, problems: int, rows: Sequence[dict[str, Any]], skipped: Counter[str]) -> StepLabels:
    labels = [label for row in rows for label in row["labels"]]
    soft = [value for row in rows for value in row["soft"]]
    reversals = sum(sorted(row["labels"], reverse=True) != row["labels"] for row in rows)
    mean = sum(soft) / len(soft)
    return StepLabels(output, problems, len(rows), len(labels), sum(labels), mean, reversals, dict(skipped))


def _load(config: StepLabelConfig, source: ModelSource, rewards: Composition, listener: ProgressCallback) -> _Labeller:
    listener.phase("loading")
    import torch

    from rlllm.launch import local
    from rlllm.policies.loading import load_policy, load_tokenizer, placed

    hardware = local.prepare()
    model, tokenizer = placed(load_policy(source, bf16=hardware.bf16), hardware), load_tokenizer(source)
    torch.manual_seed(config.seed)
    return _Labeller(config, open_engine(config.sampling.engine, model, tokenizer, config.sampling), tokenizer, rewards)


@dataclass(frozen=True)
class _Labeller:
    config: StepLabelConfig
    engine: Any
    tokenizer: Any
    rewards: Composition

    def label(self, tasks: Sequence[PromptTask], skipped: Counter[str]) -> list[dict[str, Any]]:
        """Rows of these problems; `skipped` counts the solutions without a row, by reason."""
        solutions = self._solve(tasks, skipped)
        verdicts = self._judge(solutions)
        judged = []
        for (task, text), verdict in zip(solutions, verdicts, strict=True):
            if verdict is None:
                skipped["the reward cannot judge it"] += 1
            else:
                judged.append((task, split_steps(text), verdict))
        outcomes = iter(self._continue([(task, steps) for task, steps, _ in judged]))
        rows = []
        for task, steps, verdict in judged:
            labels = label_from_outcomes([*(next(outcomes) for _ in steps[:-1]), [verdict]])
            rows.append(
                {
                    "prompt": task.prompt,
                    "steps": steps,
                    "labels": labels.hard,
                    "soft": labels.soft,
                    "answer": task.answer,
                }
            )
        return rows

    def _solve(self, tasks: Sequence[PromptTask], skipped: Counter[str]) -> list[tuple[PromptTask, str]]:
        """Each problem with its finished solutions that have steps and differ."""
        numbered_tasks = [(number, task) for number, task in enumerate(tasks) for _ in range(self.config.solutions)]
        completions = self._generate([self._prompt(task) for _, task in numbered_tasks])
        task_of_solution: dict[tuple[int, str], PromptTask] = {}
        for (number, task), (text, ended) in zip(numbered_tasks, completions, strict=True):
            if not ended:
                skipped["longer than max_new_tokens"] += 1
            elif not split_steps(text):
                skipped["no text"] += 1
            elif (number, text) in task_of_solution:
                skipped["sampled before"] += 1
            else:
                task_of_solution[number, text] = task
        return [(task, text) for (_, text), task in task_of_solution.items()]

    def _continue(self, solutions: Sequence[tuple[PromptTask, list[str]]]) -> list[list[bool]]:
        """For each step but the last of each solution, in order, whether each continuation reaches the answer.

        A continuation that the reward cannot judge has not reached it.
        """
        prefixes = [
            (task, SEPARATOR.join(steps[:end]) + SEPARATOR) for task, steps in solutions for end in range(1, len(steps))
        ]
        repeated_prefixes = [prefix for prefix in prefixes for _ in range(self.config.rollouts)]
        continuations = self._generate([self._prompt(task) + self._ids(prefix) for task, prefix in repeated_prefixes])
        texts = [
            (task, prefix + text) for (task, prefix), (text, _) in zip(repeated_prefixes, continuations, strict=True)
        ]
        passed = [bool(verdict) for verdict in self._judge(texts)]
        return [passed[start : start + self.config.rollouts] for start in range(0, len(passed), self.config.rollouts)]

    def _judge(self, texts: Sequence[tuple[PromptTask, str]]) -> list[bool | None]:
        samples = [Sample(task.prompt, text, task.answer, task.meta) for task, text in texts]
        values = self.rewards.score(samples).values[0] if samples else []
        return [None if value is None else value >= _PASSED for value in values]

    def _generate(self, prompts: list[list[int]]) -> list[tuple[str, bool]]:
        """A text for each prompt, and whether it ends by itself."""
        if not prompts:
            return []
        completions = sample_completions(self.engine, prompts, self.config.sampling)
        texts = self.tokenizer.batch_decode(completions, skip_special_tokens=True)
        stops = self.engine.stop_ids()
        return [(text, bool(ids) and ids[-1] in stops) for text, ids in zip(texts, completions, strict=True)]

    def _prompt(self, task: PromptTask) -> list[int]:
        from rlllm.policies import chat

        return list(chat.encode_prompts(self.tokenizer, [task.prompt], [task.meta])[0])

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text=text, add_special_tokens=False)["input_ids"])
