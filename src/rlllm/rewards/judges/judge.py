"""Judges that write: rewards which read a verdict, and the reward that asks a judge for one.

`verdict` trains a judge: the text scored is the judge's own, so a verdict that is missing is a wrong one. `judge` uses a
judge on someone else's text: there, what the judge failed to say is None with a note and never counts against the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from rlllm.core.errors import ConfigError
from rlllm.core.records import Prompt, Sample, Score
from rlllm.parsing import judge_prompts
from rlllm.rewards.http.endpoint import Endpoint, Refusal, Reply
from rlllm.rewards.judges.local_judge import LocalJudge

_NO_VERDICT = "no readable verdict"


@dataclass(frozen=True)
class Verdict:
    """1 if the completion's verdict names the better side ("A" or "B", the sample's answer), else 0.

    A completion without a readable verdict gets 0: it is the judge's own output, and a judge that does not decide is wrong.
    None only where the sample's answer is no side.
    """

    verifies = True

    def __call__(self, sample: Sample) -> Score:
        if sample.answer not in judge_prompts.SIDES:
            return Score(None, note="the sample's answer is neither A nor B")
        verdict = judge_prompts.read_verdict(sample.completion)
        return Score(float(verdict == sample.answer), parsed=verdict, note=None if verdict else _NO_VERDICT)


@dataclass(frozen=True)
class VerdictForm:
    """1 if a critique stands before exactly one verdict, at the end of the completion; else 0."""

    verifies = False

    def __call__(self, sample: Sample) -> Score:
        return Score(float(judge_prompts.well_formed(sample.completion)))


class Respondent(Protocol):
    """Whatever answers prompts: an endpoint, or a model on this machine."""

    def complete(self, prompts: Sequence[str]) -> list[Reply]:
        """One reply, or the reason why there is none, for each prompt in order."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to one prompt."""

    prompt: Prompt
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class JudgeResult:
    """What a judge said of a comparison in both orders: "A", "B", or None where its verdict could not be read."""

    forward: str | None
    """Verdict with `first` shown as A."""
    backward: str | None
    """Verdict with `first` shown as B."""
    note: str | None = None
    """Why a verdict is missing."""

    @property
    def decided(self) -> bool:
        """Both orders have a verdict."""
        return self.forward is not None and self.backward is not None

    @property
    def consistent(self) -> bool:
        """Both orders prefer the same answer."""
        return self.decided and self.forward != self.backward

    @property
    def share(self) -> float | None:
        """Share of the two orders that prefer `first`: 1, 0.5 or 0; None unless both have a verdict."""
        return ((self.forward == "A") + (self.backward == "B")) / 2 if self.decided else None


@dataclass(frozen=True)
class Judge:
    """Asks a judge what a completion is worth, from 0 to 1.

    Alone, a completion is rated from 1 to 10, and the reward is (rating - 1) / 9. Where the row has a column `reference`,
    it is compared with that text in both orders instead: 1 if it wins both, 0 if it loses both, 0.5 if the position decides.
    Without a readable rating, or without a verdict in either order, the reward is None and the note says why.

    Args:
        path: folder or Hub id of a causal language model; give either this or an endpoint.
        endpoint: base URL of an OpenAI-compatible endpoint.
        model: the model's name at the endpoint.
        rubric: what to judge by, as text or as a file that holds it.
        key_env, timeout, retries, backoff, parallel, cache: as in `rewards.http.endpoint.Endpoint`.
        max_new_tokens: length limit of a reply.
        batch_size: prompts a local model answers at once.

    Raises:
        ConfigError: neither or both of path and endpoint, or a setting of one given for the other.
        RewardError: the endpoint answered none of a batch.
        ModelError: the local model does not load.
    """

    path: str | None = None
    endpoint: str | None = None
    model: str | None = None
    rubric: str = ""
    key_env: str | None = None
    timeout: float = 60.0
    retries: int = 3
    backoff: float = 1.0
    parallel: int = 8
    cache: str | None = None
    max_new_tokens: int = 256
    batch_size: int = 16

    def __post_init__(self) -> None:
        if (self.path is None) == (self.endpoint is None):
            raise ConfigError(
                "the judge reward needs a model: a path, or an endpoint and not both",
                given=f"path={self.path}, endpoint={self.endpoint}",
                hint="{name: judge, path: runs/judge} or {name: judge, endpoint: http://localhost:8000/v1, model: NAME}",
            )
        remote = [name for name in ("model", "key_env", "cache") if getattr(self, name) is not None]
        if self.path is not None and remote:
            raise ConfigError(f"{remote[0]} belongs to an endpoint, and this judge is a local model", given=self.path)
        assert self.respondent is not None, "built here, so that a wrong setting fails before anything loads"
        assert self.criteria is not None, "read here, for the same reason"

    @classmethod
    def of(cls, respondent: Respondent, rubric: str = "") -> Judge:
        """A judge over anything that answers prompts, such as a model already in memory."""
        judge = cls(path="a judge in memory", rubric=rubric)
        judge.__dict__["respondent"] = respondent
        return judge

    def score_batch(self, samples: Sequence[Sample]) -> list[Score]:
        """One score per sample."""
        referred = [i for i, sample in enumerate(samples) if _reference(sample) is not None]
        rated = [i for i, sample in enumerate(samples) if _reference(sample) is None]
        opinions = self.compare([_against_reference(samples[i]) for i in referred])
        scores = dict(zip(referred, map(_of_opinion, opinions), strict=True))
        scores |= zip(rated, self._rate([samples[i] for i in rated]), strict=True)
        return [scores[index] for index in range(len(samples))]

    def compare(self, comparisons: Sequence[Comparison]) -> list[JudgeResult]:
        """The judge's verdicts on each comparison, in both orders."""
        forward = [judge_prompts.comparison(c.prompt, c.first, c.second, self.criteria) for c in comparisons]
        backward = [judge_prompts.comparison(c.prompt, c.second, c.first, self.criteria) for c in comparisons]
        replies = self._ask([*forward, *backward])
        return [_opinion(*pair) for pair in zip(replies[: len(forward)], replies[len(forward) :], strict=True)]

    def _rate(self, samples: Sequence[Sample]) -> list[Score]:
        prompts = [judge_prompts.rating(sample.prompt, sample.completion, self.criteria) for sample in samples]
        return [_of_rating(reply) for reply in self._ask(prompts)]

    def _ask(self, prompts: Sequence[str]) -> list[Reply]:
        return self.respondent.complete(prompts) if prompts else []

    @cached_property
    def criteria(self) -> str:
        """The rubric's text. Raises ConfigError for a file name without a file."""
        return read_rubric(self.rubric)

    @cached_property
    def respondent(self) -> Respondent:
        """What answers."""
        if self.endpoint is None:
            return LocalJudge(str(self.path), self.max_new_tokens, self.batch_size)
        return Endpoint(
            self.endpoint,
            self.model or "",
            key_env=self.key_env,
            timeout=self.timeout,
            retries=self.retries,
            backoff=self.backoff,
            parallel=self.parallel,
            max_new_tokens=self.max_new_tokens,
            cache=self.cache,
        )


def read_rubric(rubric: str) -> str:
    """A rubric given as text or as a file. Raises ConfigError for what looks like a file and is none, or is empty."""
    named = rubric.strip()
    if not named or "\n" in named or not named.lower().endswith((".txt", ".md")):
        return rubric
    try:
        text = Path(named).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the rubric file cannot be read: {error}", given=named, hint="give a text file, or the text itself"
        ) from error
    if not text.strip():
        raise ConfigError("the rubric file is empty", given=named)
    return text


def _opinion(forward: Reply, backward: Reply) -> JudgeResult:
    verdicts = [None if isinstance(r, Refusal) else judge_prompts.read_verdict(r) for r in (forward, backward)]
    notes = [_note(r, _NO_VERDICT) for r, v in zip((forward, backward), verdicts, strict=True) if v is None]
    return JudgeResult(verdicts[0], verdicts[1], "; ".join(dict.fromkeys(notes)) or None)


def _of_opinion(opinion: JudgeResult) -> Score:
    parsed = f"{opinion.forward or '?'} as A, {opinion.backward or '?'} as B"
    return Score(opinion.share, parsed=parsed, note=opinion.note)


def _of_rating(reply: Reply) -> Score:
    rating = None if isinstance(reply, Refusal) else judge_prompts.read_rating(reply)
    if rating is None:
        return Score(None, note=_note(reply, "no readable score"))
    lowest, highest = judge_prompts.LOWEST, judge_prompts.HIGHEST
    return Score((rating - lowest) / (highest - lowest), parsed=f"{rating:g}", note=str(reply).strip()[:200])


def _note(reply: Reply, unreadable: str) -> str:
    return reply.reason if isinstance(reply, Refusal) else f"{unreadable}: {' '.join(reply.split())[-120:]}"


def _reference(sample: Sample) -> str | None:
    reference: Any = sample.meta.get("reference")
    return reference if isinstance(reference, str) and reference.strip() else None


def _against_reference(sample: Sample) -> Comparison:
    return Comparison(sample.prompt, sample.completion, _reference(sample) or "")
