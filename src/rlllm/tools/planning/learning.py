"""Whether a run can learn: what the rollouts of a probe say of those to come, and of the settings that sample them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlllm.algorithms.components import Components
from rlllm.evals.statistics.intervals import Interval
from rlllm.evals.statistics.prompt_chances import CONFIDENCE, PromptChances
from rlllm.training.plan import RLPlan

GROUP_SIZES = (2, 4, 8, 16, 32)
"""Sizes of a group for which the share of mixed groups is predicted."""
ENOUGH_MIXED = 0.7
"""Share of mixed groups that a group size should give."""
NONE_MIXED = 0.02
"""Up to this share, at the upper end of the interval, a run will not learn: of 50 groups at most one says anything."""
FEW_MIXED = 0.1
"""Below this expected share most of the sampling is for nothing."""
ALL_CUT = 0.9
"""From this share of cut completions on, rewards judge where the limit fell."""
SOME_CUT = 0.05
_VALUES = 20
_ROOM = 1.5
"""A limit is lowered to the longest completion that was seen times this, and only where that halves it."""


@dataclass(frozen=True, slots=True)
class Learning:
    """What the probe says of the rollouts to come. Intervals hold 80 %.

    Args:
        prompts: prompts that were sampled in the probe.
        completions: completions of them.
        reward: mean reward of a completion.
        values: the different rewards that were seen, at most `_VALUES`.
        passes: share of completions to which the first reward gives at least 1; None where it gives no such value.
        mixed: group size -> share of groups whose rewards are not all the same.
        group_size: of the run.
        first_differs: of the probe's mixed groups, the share in which the first reward differs; None without mixed groups.
        cut: share of completions that end at the length limit.
        tokens: mean and largest number of tokens of a completion.
        hard: share of prompts that will hardly ever have a mixed group, because nearly all their completions are worth little.
        easy: the same, because nearly all are worth much.
        flat_rows: rows of the training data whose completions were all worth the same, as numbers of the row.
        between: share of the variance of passing that lies between prompts.
    """

    prompts: int
    completions: int
    reward: Interval
    values: Sequence[float]
    passes: Interval | None
    mixed: Mapping[int, Interval]
    group_size: int
    first_differs: float | None
    cut: Interval
    tokens: tuple[float, int]
    hard: float
    easy: float
    flat_rows: Sequence[int]
    between: float

    def to_json(self) -> dict[str, Any]:
        intervals = {
            "reward": self.reward.to_json(),
            "passes": self.passes.to_json() if self.passes else None,
            "mixed": {str(size): share.to_json() for size, share in self.mixed.items()},
            "cut": self.cut.to_json(),
        }
        return {
            **asdict(self),
            **intervals,
            "flat_rows": list(self.flat_rows),
            "values": list(self.values),
            "confidence": CONFIDENCE,
        }


def learning_of(plan: RLPlan[Any], samples: Sequence[Mapping[str, Any]], groups: int) -> Learning | None:
    """What completions say of the run; None where none was judged.

    Args:
        plan: of the run.
        samples: rows of `samples.jsonl`.
        groups: of the prediction: all groups of the run.
    """
    own = [row for row in samples if row["reward"] is not None and not row.get("demonstration")]
    if not own:
        return None
    rewards = _by_row(own, lambda row: round(float(row["reward"]), 6))
    first, total = plan.rewards.names[0], len(plan.loaded.train)
    values = [(row, row["rewards"][first]["value"]) for row in own]
    passed = _by_row([row for row, value in values if value is not None], lambda row: float(_first(row, first) >= 1))
    chances, size = PromptChances(list(rewards.values()), total), plan.batches.group_size
    sizes = sorted({*GROUP_SIZES, size} - {1})
    own_prediction = chances.predict(size, groups)
    mixed = {wanted: chances.predict(wanted, groups).mixed for wanted in sizes}
    pass_chances = PromptChances(list(passed.values()), total) if passed else None
    cut = PromptChances(list(_by_row(own, lambda row: float(row["truncated"])).values()), total)
    hard, easy = chances.flat_share(size)
    tokens = [int(row["tokens"] or 0) for row in own]
    return Learning(
        prompts=len(rewards),
        completions=len(own),
        reward=own_prediction.mean,
        values=chances.outcomes[:_VALUES],
        passes=pass_chances.predict(size, groups).mean if pass_chances else None,
        mixed=mixed,
        group_size=size,
        first_differs=_first_differs(own, first),
        cut=cut.predict(size, groups).mean,
        tokens=(sum(tokens) / len(tokens), max(tokens)),
        hard=hard,
        easy=easy,
        flat_rows=sorted(row for row, outcomes in rewards.items() if len(set(outcomes)) == 1 and len(outcomes) > 1),
        between=pass_chances.between if pass_chances else 0.5,
    )


def _by_row(samples: Sequence[Mapping[str, Any]], value: Any) -> dict[int, list[float]]:
    """Training row -> a value of each of its completions."""
    found: dict[int, list[float]] = defaultdict(list)
    for sample in samples:
        found[sample["row"]].append(value(sample))
    return dict(found)


def _first(sample: Mapping[str, Any], name: str) -> float:
    return float(sample["rewards"][name]["value"])


def _first_differs(samples: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Of the prompts whose rewards differ, the share whose values of the first reward do."""
    groups: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for sample in samples:
        groups[sample["row"]].append(sample)
    mixed = [group for group in groups.values() if len({round(float(row["reward"]), 6) for row in group}) > 1]
    differ = [group for group in mixed if len({row["rewards"][name]["value"] for row in group}) > 1]
    return len(differ) / len(mixed) if mixed else None


def verdict_of(plan: RLPlan[Any], learning: Learning) -> tuple[str, str]:
    """One of `can`, `hardly`, `cannot` or `unknown`, and why."""
    advantage: Any = Components.of(plan.slots).by_slot["advantage"]
    if advantage.ignores_rewards:
        return (
            "unknown",
            "this method learns from what the model is sure of, and rewards only watch: a probe cannot tell",
        )
    if learning.cut.estimate >= ALL_CUT:
        return "cannot", (
            f"will not learn to answer: {learning.cut.estimate:.0%} of the completions are cut at "
            f"max_new_tokens={plan.config.rollout.max_new_tokens}, and what is judged is where they were cut"
        )
    if learning.group_size == 1:
        differ = len(learning.values) > 1
        return ("can", "can learn: rewards differ over the rollout") if differ else ("cannot", _same(learning))
    share = learning.mixed[learning.group_size]
    if share.high <= NONE_MIXED:
        return "cannot", _same(learning)
    if share.estimate < FEW_MIXED:
        return "hardly", (
            f"will hardly learn: {share.estimate:.0%} of the groups will be mixed, the rest is sampled for nothing"
        )
    if learning.first_differs is not None and learning.first_differs < NONE_MIXED:
        others = " and ".join(reward.name for reward in plan.rewards.rewards[1:] if reward.weight)
        return "hardly", (
            f"will hardly learn {plan.rewards.names[0]}: {share.estimate:.0%} of the groups will be mixed, but by {others} "
            "alone"
        )
    return "can", f"can learn: {share.estimate:.0%} of the groups will be mixed"


def _same(learning: Learning) -> str:
    seen = f"{learning.completions:,} completions of {learning.prompts:,} prompts"
    if len(learning.values) == 1:
        return f"will not learn: no group will be mixed; all {seen} are worth {learning.values[0]:g}"
    share = len(learning.flat_rows) / learning.prompts
    return f"will not learn: no group will be mixed; of {share:.1%} of the prompts all completions are worth the same ({seen})"


def advice_of(plan: RLPlan[Any], learning: Learning) -> Iterator[str]:
    """What to type instead, as far as the probe says so."""
    limit, longest = plan.config.rollout.max_new_tokens, learning.tokens[1]
    if learning.cut.estimate >= SOME_CUT:
        yield (
            f"rollout.max_new_tokens={2 * limit}: {learning.cut.estimate:.0%} of the completions are cut at {limit}; or let "
            "the model learn to end first (rlllm sft)"
        )
    elif learning.cut.high < SOME_CUT and _ROOM * longest <= limit / 2:
        yield (
            f"rollout.max_new_tokens={_rounded(_ROOM * longest)}: the longest of {learning.completions:,} completions has "
            f"{longest} tokens, and the limit {limit} only costs memory"
        )
    if learning.group_size > 1 and learning.cut.estimate < ALL_CUT:
        yield from _advice_on_groups(learning)


def _advice_on_groups(learning: Learning) -> Iterator[str]:
    enough = [size for size, share in learning.mixed.items() if share.estimate >= ENOUGH_MIXED]
    own = learning.mixed[learning.group_size]
    largest = max(learning.mixed)
    if own.estimate < ENOUGH_MIXED and enough:
        yield f"rollout.group_size={min(enough)}: {learning.mixed[min(enough)].estimate:.0%} of the groups will be mixed"
    elif own.estimate < ENOUGH_MIXED and learning.hard > learning.easy:
        yield (
            f"easier rows, or a start model that knows more (rlllm sft): even groups of {largest} are mixed in "
            f"{learning.mixed[largest].estimate:.0%}"
        )
    elif own.estimate < ENOUGH_MIXED:
        yield f"harder rows: even groups of {largest} are mixed in {learning.mixed[largest].estimate:.0%}"
    if FEW_MIXED <= learning.hard + learning.easy <= 1 - FEW_MIXED:
        yield (
            f"drop {learning.hard + learning.easy:.0%} of the prompts, which are hardly ever mixed ({learning.hard:.0%} too "
            f"hard, {learning.easy:.0%} too easy): sampler=pass-band finds them, or --json lists those of the probe"
        )
    if learning.first_differs is not None and learning.first_differs < 0.5:
        yield (
            f"look at the rewards: in {1 - learning.first_differs:.0%} of the mixed groups the first reward is the same for "
            "all, and another one alone would be learned"
        )


def _rounded(tokens: float) -> int:
    """The next multiple of 16."""
    return int(-(-tokens // 16) * 16)
