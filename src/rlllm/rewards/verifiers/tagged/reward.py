"""The rewards of tagged reasoning (`parsing.tagged_reasoning`), each in [0, 1], after the specification of VAC-GRPO.

A completion that does not parse gets 0 from each of them, so that nothing can be earned without the form. `consistency` and
`cues` are gated: they pay where the answer is right, so that a good process with a wrong verdict earns nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlllm.core.errors import ConfigError
from rlllm.core.records import REFLECTED, Sample, Score
from rlllm.data.procedural.cues import LEXICON, relation_of, sign_of
from rlllm.parsing.tagged_reasoning import TAGS, TaggedReasoning, parse_tagged, tag_fault
from rlllm.rewards.verifiers.exact import NO_REFERENCE, reference_answers

UNREADABLE = "the five tags do not stand once each, in order"


@dataclass(frozen=True)
class Tagged:
    """1 if the five tags parse and the answer is the reference, else 0; None without a reference. Case and blanks do not count.

    Args:
        tags: names of the tags, in the order of what is seen, heard, how it relates, the thought, and the answer.
    """

    tags: Sequence[str] = TAGS
    verifies = True

    def __post_init__(self) -> None:
        check_tags("tagged", self.tags)

    def __call__(self, sample: Sample) -> Score:
        if not reference_answers(sample):
            return Score(None, note=NO_REFERENCE)
        reasoning = parse_tagged(sample.completion, self.tags)
        if reasoning is None:
            return Score(0.0, note=UNREADABLE)
        return Score(float(_right(reasoning, sample)), parsed=reasoning.answer)


@dataclass(frozen=True)
class TaggedForm:
    """1 if the five tags stand once each, in order and without one in another, else 0. Whether the answer is right does not
    matter.

    Args:
        tags: as of `tagged`.
    """

    tags: Sequence[str] = TAGS
    verifies = False

    def __post_init__(self) -> None:
        check_tags("tagged-form", self.tags)

    def __call__(self, sample: Sample) -> Score:
        parsed = parse_tagged(sample.completion, self.tags) is not None
        return Score(float(parsed), note=None if parsed else UNREADABLE)


@dataclass(frozen=True)
class Consistency:
    """How well the stated relation of the two channels holds, where the answer is right.

    Args:
        variant: `labelled` gives 1 if it is the column `relation` of the row, else 0; None for a row without the column.
            `structural` gives 1 if it follows from the signs of the cues that the completion itself names, 0 if it does not,
            and 0.5 where a channel has no sign.
        gate: pay where the answer is right; false pays for every completion that parses.
        lexicon: word -> sign, for `structural`. Default: the words of the data set `cues`.
        tags: as of `tagged`.
    """

    variant: Literal["labelled", "structural"] = "labelled"
    gate: bool = True
    lexicon: Mapping[str, int] | None = None
    tags: Sequence[str] = TAGS
    verifies = False

    def __post_init__(self) -> None:
        check_tags("consistency", self.tags)
        if self.lexicon is not None and self.variant == "labelled":
            raise ConfigError(
                "the reward consistency reads no lexicon where it compares with the row's relation",
                given="lexicon with variant=labelled",
                hint="variant=structural",
            )

    def __call__(self, sample: Sample) -> Score:
        relation = sample.meta.get("relation")
        if self.variant == "labelled" and not relation:
            return Score(None, note="the row has no relation")
        reasoning = parse_tagged(sample.completion, self.tags)
        if reasoning is None:
            return Score(0.0, note=UNREADABLE)
        if self.gate and (closed := _closed(reasoning, sample)):
            return closed
        if self.variant == "labelled":
            return Score(float(reasoning.relation == relation), parsed=reasoning.relation)
        lexicon = LEXICON if self.lexicon is None else self.lexicon
        face, voice = (sign_of(_words(text), lexicon) for text in (reasoning.visual, reasoning.audio))
        follows = relation_of(face, voice)
        value = 0.5 if follows is None else float(reasoning.relation == follows)
        return Score(value, parsed=f"{reasoning.relation} of signs {face:+d} and {voice:+d}")


@dataclass(frozen=True)
class CueProcess:
    """F1 of the cues that are named, each in its channel, against the columns `cues_v` and `cues_a`, where the answer is right.

    None for a row without these columns.

    Args:
        cap: cues in both channels together beyond which nothing is paid, so that naming every cue there is does not pay.
        gate: as of `consistency`.
        tags: as of `tagged`.
    """

    cap: int = 8
    gate: bool = True
    tags: Sequence[str] = TAGS
    verifies = False

    def __post_init__(self) -> None:
        check_tags("cues", self.tags)
        if self.cap < 1:
            raise ConfigError("the reward cues: cap is at least 1", given=f"cap={self.cap}")

    def __call__(self, sample: Sample) -> Score:
        if "cues_v" not in sample.meta or "cues_a" not in sample.meta:
            return Score(None, note="the row has no columns cues_v and cues_a")
        reasoning = parse_tagged(sample.completion, self.tags)
        if reasoning is None:
            return Score(0.0, note=UNREADABLE)
        if self.gate and (closed := _closed(reasoning, sample)):
            return closed
        seen, heard = _words(reasoning.visual), _words(reasoning.audio)
        if len(seen) + len(heard) > self.cap:
            return Score(0.0, note=f"{len(seen) + len(heard)} cues, and {self.cap} at most pay")
        used = _placed(seen, heard)
        expected = _placed(_lowered(sample.meta["cues_v"]), _lowered(sample.meta["cues_a"]))
        return Score(f1(used, expected), parsed=" ".join((*seen, "|", *heard)))


@dataclass(frozen=True)
class ReflectionGain:
    """What a second answer changes: 1 where it is right and the first was not, 0 where the first was right, else 0.5.

    0 where the second answer does not parse; None where there is no first answer, since nothing was reflected on, and without a
    reference.

    Args:
        tags: as of `tagged`.
    """

    tags: Sequence[str] = TAGS
    verifies = False

    def __post_init__(self) -> None:
        check_tags("reflection", self.tags)

    def __call__(self, sample: Sample) -> Score:
        if REFLECTED not in sample.meta:
            return Score(None, note="no first answer: the run has no reflection")
        if not reference_answers(sample):
            return Score(None, note=NO_REFERENCE)
        second = parse_tagged(sample.completion, self.tags)
        if second is None:
            return Score(0.0, note=UNREADABLE)
        first = parse_tagged(str(sample.meta[REFLECTED]), self.tags)
        right = [reasoning is not None and _right(reasoning, sample) for reasoning in (first, second)]
        words = ["right" if value else "wrong" for value in right]
        return Score(0.5 + 0.5 * (right[1] - right[0]), parsed=f"{words[0]} to {words[1]}")


def f1(used: set[Any], expected: set[Any]) -> float:
    """Harmonic mean of precision and recall of two sets; 1 where both are empty, 0 where they share nothing."""
    if not used and not expected:
        return 1.0
    return 2 * len(used & expected) / (len(used) + len(expected))


def check_tags(reward: str, tags: Sequence[str]) -> None:
    """Raise ConfigError unless these can be the five tags."""
    if fault := tag_fault(tags):
        raise ConfigError(
            f"the reward {reward}: {fault}",
            given=", ".join(map(str, tags)) or "none",
            hint=f"tags: [{', '.join(TAGS)}]",
        )


def _right(reasoning: TaggedReasoning, sample: Sample) -> bool:
    return reasoning.answer.lower() in {answer.lower() for answer in reference_answers(sample)}


def _closed(reasoning: TaggedReasoning, sample: Sample) -> Score | None:
    """The score behind a closed gate: 0 for a wrong answer, None (no score) without a reference; None for an open gate."""
    if not reference_answers(sample):
        return Score(None, note=NO_REFERENCE)
    return None if _right(reasoning, sample) else Score(0.0, parsed=reasoning.answer, note="the answer is wrong")


def _words(text: str) -> list[str]:
    """Cues as they are listed, with blanks, commas or semicolons between; of `gaze=off` what stands behind the `=`. What has
    neither letter nor digit, such as the mark of a sign, is no cue."""
    listed = text.lower().replace(",", " ").replace(";", " ").split()
    words = (word.rpartition("=")[2] for word in listed)
    return [word for word in words if any(map(str.isalnum, word))]


def _lowered(words: Sequence[str]) -> list[str]:
    return [str(word).lower() for word in words]


def _placed(seen: Sequence[str], heard: Sequence[str]) -> set[tuple[str, str]]:
    return {*(("visual", word) for word in seen), *(("audio", word) for word in heard)}
