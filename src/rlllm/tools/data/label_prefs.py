"""`rlllm data label-prefs`: a judge or a reward labels pairs of responses, and the pairs are written to a file.

A generative judge sees every pair in both orders (Bai et al. 2022, arXiv 2212.08073; Lee et al. 2023, arXiv 2309.00267, on
position bias). Where the two orders disagree there is no preference: the pair is dropped, or kept as a tie. A reward scores
each response alone, so the order does not matter; equal scores are a tie. Pairs that could not be judged are left out and
counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.core.records import PreferencePair, PromptTask
from rlllm.core.runs import write_jsonl
from rlllm.core.yaml_io import parse
from rlllm.data.config import DataConfig
from rlllm.data.load import Loaded, load
from rlllm.policies.model_sources import resolve_model
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.judges.judge import Judge
from rlllm.rewards.registry import REWARDS
from rlllm.rollouts.config import SamplingConfig
from rlllm.tools.data.candidate_pairs import CandidatePair, PreferenceLabel, by_judge, by_scores, kappa_of, label_rows
from rlllm.training.reward_specs import resolve_rewards, reward_of

_RESPONSES = ("responses", "completions", "candidates")
"""Columns that may hold the list of responses to a prompt."""


class LabelPrefsConfig(Section):
    """Settings of `rlllm data label-prefs`."""

    data: DataConfig
    """Rows with a prompt and two responses (chosen and rejected) or a list of them; with `model` only prompts are read."""
    judge: RewardSpec
    """`{name: judge, path: ...}`, `{name: judge, endpoint: ...}`, or any other reward, whose scores then decide."""
    output: Path
    """JSON-lines file to write."""
    model: str | None = None
    """Samples two responses for each prompt, instead of reading them."""
    sampling: SamplingConfig = SamplingConfig(max_new_tokens=256)
    """How the two responses are sampled."""
    ties: Literal["drop", "keep"] = "drop"
    """What becomes of pairs without a preference: `keep` writes them as they came, with agreement 0.5 and tie true."""
    overwrite: bool = False
    """Replace the output file."""
    seed: int = 0
    """Seeds sampling."""

    @classmethod
    def of(cls, **values: Any) -> LabelPrefsConfig:
        """The settings, checked. Raises ConfigError for a value that does not fit."""
        return cls.checked(values)


_Labeller = Callable[[Sequence[CandidatePair]], list[PreferenceLabel]]


@dataclass(frozen=True, slots=True)
class LabelReport:
    """Counts and agreement of a labelling."""

    output: str
    pairs: int
    """Pairs with two different responses."""
    identical: int
    """Pairs left out because both responses are one text."""
    written: int
    ties: int
    """Pairs on which the orders disagree, or whose scores are equal."""
    unjudged: int
    """Pairs without a verdict in either order, or without a score."""
    agreement: dict[str, Any] | None
    """Share of judged pairs on which both orders agree, with a 95 % interval; None for rewards, which see no order."""
    kappa: float | None
    """Cohen's kappa against the labels of the data, over decided pairs; None without labels."""
    match: dict[str, Any] | None
    """Share of decided pairs on which judge and data agree, with a 95 % interval; None without labels."""
    first_unjudged: str | None
    """Why the first unjudged pair has no label."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge_spec(text: str, **settings: Any) -> RewardSpec:
    """The judge a user named: a URL, a reward's name, a mapping (`{name: model, path: runs/rm}`), or a model.

    A reward model (one score, an ensemble, or steps) scores; any other model is a generative judge.
    Settings that are None are left out.

    Raises:
        ConfigError: a setting of a generative judge, where a reward was named.
        ModelError: no such model.
    """
    judge_settings = {name: value for name, value in settings.items() if value is not None}
    spec = _named(text)
    if judge_settings and spec.name != "judge":
        raise ConfigError(
            f"{next(iter(judge_settings)).replace('_', '-')} is for a generative judge, and {spec.name} is a reward",
            given=text,
            hint="leave it out, or name a language model or an endpoint",
        )
    return spec.model_copy(update={"params": {**spec.params, **judge_settings}})


def _named(text: str) -> RewardSpec:
    if text.startswith(("http://", "https://")):
        return RewardSpec(name="judge", params={"endpoint": text})
    if text.lstrip().startswith("{"):
        return RewardSpec.checked({"name": "judge", **parse(text, source="--judge")})
    if text in REWARDS or ":" in text:
        return RewardSpec(name=text)
    return RewardSpec(name=reward_of(text), params={"path": text})


def label_preferences(config: LabelPrefsConfig, listener: ProgressCallback | None = None) -> LabelReport:
    """Label pairs and write rows `prompt`, `chosen`, `rejected`, `agreement` and the row's other columns.

    Columns of a side (`gold_chosen` and `gold_rejected`) are exchanged together with the responses. The file is written at the
    end, or not at all.

    Raises:
        ConfigError: the output exists, or the judge's settings are wrong.
        DataError: no row has two different responses, or not one pair could be judged or decided.
        RewardError: the judge failed.
    """
    listener = listener or NullProgress()
    loaded, candidates, label = _prepared(config)
    if config.model is not None or "path" in config.judge.params:
        from rlllm.launch import local

        local.prepare()
    if config.model is not None:
        listener.phase("sampling responses")
        candidates = _sampled(config, loaded)
    pairs = [pair for pair in candidates if pair.first != pair.second]
    if not pairs:
        raise DataError(
            f"no row has two different responses: {len(candidates)} pairs, each of one text",
            given=loaded.source,
            hint="sample at a higher temperature, or give rows with different responses",
        )
    listener.phase(f"judging {len(pairs)} pairs")
    labels = label(pairs)
    if all(label.share is None for label in labels):
        raise DataError(
            f"the judge decided none of {len(pairs)} pairs",
            given=labels[0].note,
            hint="is it a model that follows instructions? A reward needs what it reads, such as an answer",
        )
    rows = list(label_rows(pairs, labels, keep_ties=config.ties == "keep"))
    if not rows:
        raise DataError(
            f"the judge prefers neither response in any of {len(pairs)} pairs",
            given=config.judge.name,
            hint="keep such pairs as ties with --keep-ties, or let another judge decide",
        )
    _write(config.output, rows)
    return _report(config, pairs, labels, len(rows), len(candidates) - len(pairs))


def preview(config: LabelPrefsConfig) -> list[tuple[str, str]]:
    """What `label_preferences` would do, as name and value; nothing is sampled, judged or written. The same errors."""
    loaded, candidates, _ = _prepared(config)
    sampled = config.model is not None
    pairs = len(loaded.train) if sampled else sum(pair.first != pair.second for pair in candidates)
    questions = f", {2 * pairs} questions" if config.judge.name == "judge" else ""
    return [
        ("data", loaded.source),
        ("pairs", f"up to {pairs}, sampled from {config.model}" if sampled else str(pairs)),
        ("judge", f"{config.judge.name}{questions}"),
        ("output", str(config.output)),
    ]


def _prepared(config: LabelPrefsConfig) -> tuple[Loaded, list[CandidatePair], _Labeller]:
    """Everything that can be checked before a model loads or a request is sent."""
    _check_output(config)
    if config.model is not None:
        resolve_model(config.model)
    loaded, candidates = _read_candidates(config)
    return loaded, candidates, _labeller(config.judge, loaded)


def _read_candidates(config: LabelPrefsConfig) -> tuple[Loaded, list[CandidatePair]]:
    """The data, and every pair of responses in them; none yet where a model is to write them.

    Raises:
        DataError: the rows hold no responses.
    """
    if config.model is not None:
        return load(config.data, PromptTask), []
    try:
        loaded = load(config.data, PreferencePair)
        pairs = [CandidatePair(p.prompt, p.chosen, p.rejected, p.meta, labelled=True) for p in loaded.train]
    except DataError as no_pairs:
        loaded, pairs = _listed(config.data, no_pairs)
    return loaded, pairs


def _listed(data: DataConfig, no_pairs: DataError) -> tuple[Loaded, list[CandidatePair]]:
    """Rows with a list of responses: every two of them are a pair."""
    try:
        loaded = load(data, PromptTask)
    except (DataError, ConfigError):
        raise no_pairs from None
    column = next((name for name in _RESPONSES if loaded.train and name in loaded.train[0].meta), None)
    if column is None:
        raise no_pairs
    pairs = []
    for number, task in enumerate(loaded.train, start=1):
        responses = task.meta.get(column)
        if not isinstance(responses, list) or len(responses) < 2 or not all(isinstance(r, str) for r in responses):
            raise DataError(f"{column} at row {number} must be a list of two or more texts", given=loaded.source)
        meta = {**{name: value for name, value in task.meta.items() if name != column}, "answer": task.answer}
        meta = {name: value for name, value in meta.items() if value is not None}
        pairs += [CandidatePair(task.prompt, *two, meta, labelled=False) for two in combinations(responses, 2)]
    return loaded, pairs


def _sampled(config: LabelPrefsConfig, loaded: Loaded) -> list[CandidatePair]:
    from rlllm.evals.sampling import sample
    from rlllm.launch import local
    from rlllm.policies.loading import load_policy, load_tokenizer

    source = resolve_model(str(config.model))
    hardware = local.prepare()
    model = load_policy(source, bf16=hardware.bf16).to(hardware.device)
    completions = sample(model, load_tokenizer(source), loaded.train, config.sampling, samples=2, seed=config.seed)
    return [
        CandidatePair(
            task.prompt,
            row[0].completion,
            row[1].completion,
            {**task.meta, **({} if task.answer is None else {"answer": task.answer})},
            labelled=False,
        )
        for task, row in zip(loaded.train, completions, strict=True)
    ]


def _labeller(spec: RewardSpec, loaded: Loaded) -> _Labeller:
    """The function that labels pairs: by a judge's verdicts in both orders, or by a reward's scores."""
    composition = resolve_rewards([spec], loaded)
    judge = composition.rewards[0].target
    if isinstance(judge, Judge):
        return lambda pairs: by_judge(judge, pairs)
    return lambda pairs: by_scores(composition, pairs)


def _report(
    config: LabelPrefsConfig,
    pairs: Sequence[CandidatePair],
    labels: Sequence[PreferenceLabel],
    written: int,
    identical: int,
) -> LabelReport:
    from rlllm.evals.statistics.intervals import wilson

    shares = [label.share for label in labels if label.share is not None]
    decided = [
        label.share == 1.0
        for pair, label in zip(pairs, labels, strict=True)
        if pair.labelled and label.share in (0.0, 1.0)
    ]
    by_order = all(label.scores is None for label in labels)
    ties = sum(share == 0.5 for share in shares)
    return LabelReport(
        output=str(config.output),
        pairs=len(pairs),
        identical=identical,
        written=written,
        ties=ties,
        unjudged=len(labels) - len(shares),
        agreement=wilson(len(shares) - ties, len(shares)).to_json() if by_order else None,
        kappa=kappa_of(decided),
        match=wilson(sum(decided), len(decided)).to_json() if decided else None,
        first_unjudged=next((label.note for label in labels if label.share is None), None),
    )


def _check_output(config: LabelPrefsConfig) -> None:
    if config.output.suffix.lower() not in (".jsonl", ".ndjson"):
        raise ConfigError("the output is a JSON-lines file", given=config.output, hint=f"{config.output.stem}.jsonl")
    if config.output.exists() and not config.overwrite:
        raise ConfigError("the output file exists", given=config.output, hint="name another, or add --overwrite")


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    try:
        write_jsonl(path, rows)
    except OSError as error:
        raise ConfigError(f"the output cannot be written: {error.strerror}", given=path) from error
