"""Completions sampled segment by segment: a component of the slot `erase` judges each candidate, and what it rejects is sampled
again from the same prefix.

All rows of a rollout are at the same segment, so that the candidates of a group can be compared. The prefix is encoded anew
for every segment and attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlllm.algorithms.protocols import Candidates, Erasure

if TYPE_CHECKING:
    from torch import Tensor

Sample = Callable[[list[list[int]], int], list[list[int]]]
"""Prefixes and a number of tokens -> at most so many new tokens of each."""
Entropies = Callable[[list[list[int]], list[list[int]]], "list[Tensor]"]
"""Prefixes and their new tokens -> (tokens,) entropies of each, in nats."""


@dataclass
class SegmentedRollout:
    """What was sampled.

    Args:
        completions: token ids of each row.
        erased_tokens: tokens of candidates that are in no completion.
        candidates: by segment, how many were sampled.
        erased: by segment, how many of these were erased.
        forced: segments that were kept although the last candidate was rejected as well.
    """

    completions: list[list[int]]
    erased_tokens: int = 0
    candidates: list[int] = field(default_factory=list)
    erased: list[int] = field(default_factory=list)
    forced: int = 0


def sample_segments(
    prompts: Sequence[Sequence[int]],
    erasure: Erasure,
    *,
    group_size: int,
    longest: int,
    stops: Collection[int],
    sample: Sample,
    entropies: Entropies,
) -> SegmentedRollout:
    """Complete the prompts, which stand in contiguous groups.

    Args:
        longest: tokens of a completion at most.
        stops: tokens that end a completion.
    """
    result = SegmentedRollout([[] for _ in prompts])
    erasure.begin(len(prompts), group_size)
    live = list(range(len(prompts)))
    for number, start in enumerate(range(0, longest, erasure.segment_length)):
        if not live:
            break
        prefixes = [[*prompts[row], *result.completions[row]] for row in live]
        length = min(erasure.segment_length, longest - start)
        segments = sample(prefixes, length)
        judged = list(range(len(live)))
        candidates, erased = len(live), 0
        for attempt in range(erasure.max_erasures + 1):
            if not erasure.max_erasures or not judged:
                break
            values = entropies([prefixes[at] for at in judged], [segments[at] for at in judged])
            rejected = erasure.rejects(Candidates(number, attempt, [live[at] for at in judged], values)).tolist()
            judged = [at for at, reject in zip(judged, rejected, strict=True) if reject]
            if attempt == erasure.max_erasures:
                result.forced += len(judged)
                break
            if not judged:
                break
            erased += len(judged)
            candidates += len(judged)
            result.erased_tokens += sum(len(segments[at]) for at in judged)
            for at, segment in zip(judged, sample([prefixes[at] for at in judged], length), strict=True):
                segments[at] = segment
        for row, segment in zip(live, segments, strict=True):
            result.completions[row].extend(segment)
        result.candidates.append(candidates)
        result.erased.append(erased)
        live = [row for row, segment in zip(live, segments, strict=True) if segment[-1] not in stops]
    return result


def described(result: SegmentedRollout) -> dict[str, float]:
    """Metrics of a rollout, of this process."""
    candidates, erased = sum(result.candidates), sum(result.erased)
    kept = sum(map(len, result.completions))
    values = {
        "erase/rate": erased / max(candidates, 1),
        "erase/candidates_per_segment": candidates / max(candidates - erased, 1),
        "erase/erased_tokens": float(result.erased_tokens),
        "erase/erased_share": result.erased_tokens / max(result.erased_tokens + kept, 1),
        "erase/forced_share": result.forced / max(candidates - erased, 1),
    }
    for number, (count, lost) in enumerate(zip(result.candidates[:4], result.erased[:4], strict=True), 1):
        values[f"erase/rate_segment_{number}"] = lost / max(count, 1)
    return values
