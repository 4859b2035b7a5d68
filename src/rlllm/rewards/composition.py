"""Several weighted rewards that score the same samples, with a count of each reward's errors.

None means that a reward cannot judge a sample. An exception, NaN, anything else that is no number, and a missed deadline are
errors: each is recorded with its sample, never becomes 0.0, and stops the run with the reward's name if there are too many.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

from rlllm.core.errors import ConfigError, RewardError
from rlllm.core.records import Sample, Score, fingerprint
from rlllm.core.watchdog import scoring
from rlllm.rewards.binding import bind, display_names
from rlllm.rewards.bound import BoundReward
from rlllm.rewards.config import RewardSpec
from rlllm.rewards.isolation.memory import LEAK, resident
from rlllm.rewards.isolation.quarantine import FILE, Quarantine
from rlllm.rewards.score_parsing import Failure, scored
from rlllm.rewards.scores import Issue, Scores

_SMALLEST_SHARE_BASE = 8
"""Samples a reward must have seen before a share of errors means anything."""


@dataclass(slots=True)
class _Tally:
    """Errors of one reward since the composition was built."""

    seen: int = 0
    failed: int = 0
    called: bool = False
    """Whether it has scored a batch in this process; samples of a measurement that was read from a file are only seen."""
    messages: Counter[str] = field(default_factory=Counter)
    first: tuple[str, str] | None = None
    """Message and completion of the first error."""
    grown: int = 0
    """Bytes that the reward's process grew by while it scored, from its second batch on."""


@dataclass(frozen=True)
class Composition:
    """The rewards of a run. Counts errors across calls of `score`, which several threads may make at once.

    Args:
        rewards: bound rewards with unique names.
        max_error_rate: share of samples on which a reward may fail before the run stops.
        quarantine: where the samples are written that a reward failed on; nowhere by default.
    """

    rewards: tuple[BoundReward, ...]
    max_error_rate: float = 0.05
    quarantine: Quarantine | None = None
    tallies: dict[str, _Tally] = field(default_factory=dict, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def names(self) -> list[str]:
        return [reward.name for reward in self.rewards]

    @property
    def weights(self) -> list[float]:
        return [reward.weight for reward in self.rewards]

    @property
    def monitored(self) -> list[str]:
        """Names of the rewards of weight 0, which are logged and not maximised."""
        return [reward.name for reward in self.rewards if not reward.weight]

    @property
    def group_filter(self) -> str | None:
        """Name of the reward by which samplers judge groups where they name none; None where every weight is 0.

        The first that declares to verify; without one, the first that does not declare to shape; without one, the first.
        """
        trained = [reward for reward in self.rewards if reward.weight]
        ranks = {True: 0, None: 1, False: 2}
        chosen = min(trained, key=lambda reward: ranks[reward.verifies], default=None)
        return chosen.name if chosen else None

    def score(self, samples: Sequence[Sample]) -> Scores:
        """Score a batch with every reward.

        Raises:
            RewardError: a reward failed on all of its first batch, or on too large a share of at least 8 samples.
            RlllmError: a reward found its own setup wrong (an unreadable model, say).
        """
        values, details, errors = [], [], []
        for reward in self.rewards:
            results = self._results(reward, samples)
            failures = [
                Issue(reward.name, i, r.phrase, r.seconds) for i, r in enumerate(results) if isinstance(r, Failure)
            ]
            self._count(reward.name, failures, samples)
            scores = [None if isinstance(result, Failure) else result for result in results]
            values.append([score.value if score else None for score in scores])
            details.append(scores)
            errors += failures
        failed = {(issue.reward, issue.index) for issue in errors}
        totals = [
            None
            if any(reward.weight and (reward.name, index) in failed for reward in self.rewards)
            else self.total([column[index] for column in values])
            for index in range(len(samples))
        ]
        return Scores(self.names, values, details, errors, totals)

    def total(self, row: Sequence[float | None]) -> float | None:
        """Weighted sum of one sample's values, leaving out None; None if every reward with a weight said None.

        Where no reward has a weight, all are only monitored, and the sum is 0.
        """
        if not any(self.weights):
            return 0.0
        terms = [w * value for w, value in zip(self.weights, row, strict=True) if w and value is not None]
        return math.fsum(terms) if terms else None

    def scored_by(self, batches: Mapping[str, Callable[[Sequence[Sample]], Any]]) -> Composition:
        """The same rewards, some of them computed by other functions that give the same scores; their own models are freed.

        Args:
            batches: reward name -> function that scores several samples.
        """
        for reward in self.rewards:
            if reward.name in batches and reward.release is not None:
                reward.release()
        here: dict[str, Any] = {"score_sample": None, "deadline": None, "process_id": os.getpid}
        changed = (replace(r, score_batch=batches[r.name], **here) if r.name in batches else r for r in self.rewards)
        return replace(self, rewards=tuple(changed))

    def quarantined(self, folder: Path) -> Composition:
        """The same rewards with the same counts, which write the samples they fail on to `quarantine.jsonl` of a run."""
        return replace(self, quarantine=Quarantine(folder / FILE))

    def counted_apart(self) -> Composition:
        """The same rewards with counts of their own: what they fail on says nothing of what these have scored."""
        return replace(self, tallies={}, _lock=Lock())

    def faults(self) -> list[dict[str, Any]]:
        """Every reward that failed or leaked memory: `reward`, samples `seen` and `failed`, the `first` error message, and
        the bytes by which its process has `grown` while it scored (0 for less than `LEAK`)."""
        rows = [
            {
                "reward": name,
                "seen": tally.seen,
                "failed": tally.failed,
                "first": tally.first and tally.first[0],
                "grown": tally.grown if tally.grown >= LEAK else 0,
            }
            for name, tally in self.tallies.items()
        ]
        return [row for row in rows if row["failed"] or row["grown"]]

    @staticmethod
    def joined_faults(processes: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
        """One row for each reward, of the `faults` of several processes."""
        joined: dict[str, dict[str, Any]] = {}
        for row in (row for rows in processes for row in rows):
            total = joined.setdefault(row["reward"], {**row, "seen": 0, "failed": 0, "first": None, "grown": 0})
            total["seen"] += row["seen"]
            total["failed"] += row["failed"]
            total["first"] = total["first"] or row["first"]
            total["grown"] = max(total["grown"], row["grown"])
        return list(joined.values())

    def seen(self) -> dict[str, int]:
        """Reward name -> samples that it was given."""
        return {name: tally.seen for name, tally in self.tallies.items()}

    def note_seen(self, samples: Mapping[str, int]) -> None:
        """Count samples that an equal composition was given, without a failure, in a measurement that holds here as well."""
        for name, count in samples.items():
            self.tallies.setdefault(name, _Tally()).seen += count

    def counts(self) -> dict[str, dict[str, Any]]:
        """Reward name -> what it was given, failed on, and grew by; state of a checkpoint, so that a resume forgets nothing."""
        return {
            name: {
                "seen": tally.seen,
                "failed": tally.failed,
                "messages": dict(tally.messages),
                "first": tally.first,
                "grown": tally.grown,
            }
            for name, tally in self.tallies.items()
        }

    @staticmethod
    def joined_counts(processes: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
        """The `counts` of several processes as those of one."""
        joined: dict[str, dict[str, Any]] = {}
        for counts in processes:
            for name, own in counts.items():
                total = joined.setdefault(name, {"seen": 0, "failed": 0, "messages": {}, "first": None, "grown": 0})
                total["seen"] += own["seen"]
                total["failed"] += own["failed"]
                total["messages"] = dict(Counter(total["messages"]) + Counter(own["messages"]))
                total["first"] = total["first"] or own["first"]
                total["grown"] = max(total["grown"], own["grown"])
        return joined

    def restore_counts(self, counts: Mapping[str, Mapping[str, Any]]) -> None:
        """Go on from the `counts` of an earlier start."""
        for name, own in counts.items():
            tally = self.tallies.setdefault(name, _Tally())
            tally.seen, tally.failed, tally.grown = own["seen"], own["failed"], own["grown"]
            tally.messages = Counter(own["messages"])
            tally.first = tuple(own["first"]) if own["first"] else None

    def fingerprint(self) -> str:
        """Hash of every reward's source code, arguments and weight; changes whenever a score could."""
        return fingerprint([[reward.name, reward.fingerprint] for reward in self.rewards])

    def _results(self, reward: BoundReward, samples: Sequence[Sample]) -> list[Score | Failure]:
        """Results of one reward; measures the memory of the process that it runs in."""
        process, before = reward.process_id(), resident(reward.process_id())
        with scoring(reward.name, len(samples)):
            results = scored(reward.score_sample, reward.score_batch, samples)
        after = resident(process) if process == reward.process_id() else None
        with self._lock:
            tally = self.tallies.setdefault(reward.name, _Tally())
            if before is not None and after is not None and tally.called:  # the first batch loads what a reward needs
                tally.grown += after - before
            tally.called = True
        return results

    def _count(self, name: str, failures: Sequence[Issue], samples: Sequence[Sample]) -> None:
        with self._lock:
            if self.quarantine is not None:
                self.quarantine.add(name, [(samples[issue.index], issue) for issue in failures])
            self._add(name, failures, samples)

    def _add(self, name: str, failures: Sequence[Issue], samples: Sequence[Sample]) -> None:
        tally = self.tallies.setdefault(name, _Tally())
        first_batch = tally.seen == 0
        tally.seen += len(samples)
        tally.failed += len(failures)
        tally.messages.update(issue.message for issue in failures)
        if failures and tally.first is None:
            tally.first = (failures[0].message, samples[failures[0].index].completion)
        everything = first_batch and bool(samples) and tally.failed == tally.seen
        too_often = tally.seen >= _SMALLEST_SHARE_BASE and tally.failed > self.max_error_rate * tally.seen
        if everything or too_often:
            raise _too_many_errors(name, tally)


def build(specs: Sequence[RewardSpec], *, max_error_rate: float = 0.05, monitored_only: bool = False) -> Composition:
    """Load rewards by name and bind their arguments; nothing is scored and no model is loaded.

    Args:
        specs: the rewards, with weights.
        max_error_rate: share of samples on which a reward may fail before the run stops.
        monitored_only: whether all may have weight 0, because nothing learns from them.

    Raises:
        ConfigError: no reward, no weight, an unknown name, a file that does not import, a wrong argument.
        PluginError: an installed plugin that was named is broken.
    """
    if not specs:
        raise ConfigError("no rewards are given", hint="list them with: rlllm rewards ls")
    if not monitored_only and not any(spec.weight for spec in specs):
        raise ConfigError("every reward has weight 0", given=", ".join(spec.name for spec in specs))
    names = display_names(specs)
    rewards = (_with_deadline(spec, bind(spec, name)) for spec, name in zip(specs, names, strict=True))
    return Composition(tuple(rewards), max_error_rate)


def _with_deadline(spec: RewardSpec, bound: BoundReward) -> BoundReward:
    """The reward in a process of its own, where it has a deadline."""
    if bound.deadline is None:
        return bound
    from rlllm.rewards.isolation.process import in_own_process

    return in_own_process(spec, bound)


def _too_many_errors(name: str, tally: _Tally) -> RewardError:
    assert tally.first is not None
    message, completion = tally.first
    if tally.failed == tally.seen and len(tally.messages) == 1:
        what = f"the reward {name} {message} for all {tally.seen} completions"
    else:
        what = f"the reward {name} failed on {tally.failed} of {tally.seen} completions; first it {message}"
    return RewardError(
        what,
        given=f"completion {completion[:200]!r}",
        hint="call the reward on that text alone; where it cannot judge, it should return None",
    )
