"""TRACER: a proposer and a reviewer, whose choice to speak is learned by regret matching."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from rlllm.algorithms.dialogues.random_numbers import uniform
from rlllm.algorithms.protocols import CONTEXT, Context, Dialogue
from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask, Sample, Score
from rlllm.parsing.dialogue_prompts import read_review
from rlllm.rollouts.dialogue.play import (
    PROPOSER,
    REVIEWER,
    Judge,
    Protocol,
    Speak,
    State,
    Turn,
    answers,
    play,
    review_value,
)
from rlllm.rollouts.dialogue.regret import RegretTable, counted
from rlllm.rollouts.dialogue.replay import Audit, outcomes

if TYPE_CHECKING:
    from torch import Tensor

_FEWEST_TURNS = 3
"""Of a dialogue in which something said can change a later proposal."""


@dataclass
class TRACER(Dialogue):
    """A dialogue on every problem, of which the group completes one turn (arXiv 2605.28699; released code).

    A proposal is worth what the run's rewards say. A review is worth 1 where its verdict is true, 0 where it is false, 1/2
    where the solution cannot be read, and (1 + no_verdict) / 2 where the verdict cannot be. Groups compare completions of one
    context, so that roles never compete.

    At every turn both actions are priced with what could have been said, and the table learns from both after the rollout.

    With `replays` a completion is worth what it does to the outcome instead: the share of right answers among so many replays
    of the dialogue behind it (C3, arXiv 2605.02801), by the rollout's policy and table.

    Args:
        turns: of a dialogue; proposals at odd ones, reviews at even ones.
        agents: turn t belongs to agent (t - 1) mod agents, which has rows of its own in the table.
        controllers: whether the table decides who speaks. Without, everybody always does.
        reviewer: whether there are reviews.
        learn: whose turns are learned from.
        two_sided: whether a proposal that was not spoken is sampled for its value. Without (released code), a row of the table
            that has come to prefer silence cannot change.
        call_cost: taken off the value of speaking.
        no_verdict: value of a review whose verdict cannot be read, from -1 (a false verdict) to 0 (released code).
        floor: least probability with which a turn can be learned from, whatever the table says of it.
        plus: clips the sums that decide at 0 (regret matching+).
        history: earlier turns that a prompt shows.
        marked: whether only a marked answer makes a solution readable.
        replays: of the dialogue behind each completion; 0 pays a completion for its role.
        adapters: `shared`: one policy for both roles, told apart by their prompts. `per-role`: each role speaks and learns by a
            LoRA adapter of its own (with `lora`); a turn is learned by the adapter of its role alone.
    """

    turns: int = 5
    agents: int = 2
    controllers: bool = True
    reviewer: bool = True
    learn: Literal["both", "proposer", "reviewer"] = "both"
    two_sided: bool = True
    call_cost: float = 0.0
    no_verdict: float = 0.0
    floor: float = 0.1
    plus: bool = False
    history: int = 4
    marked: bool = True
    replays: int = 0
    adapters: Literal["shared", "per-role"] = "shared"
    table: RegretTable = field(init=False)
    _played: list[State] = field(init=False, repr=False, default_factory=list)
    _learned: list[Turn] = field(init=False, repr=False, default_factory=list)
    _tasks: Sequence[PromptTask] = field(init=False, repr=False, default=())
    _replayed: dict[str, float] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.turns < 1 or self.agents < 1 or self.history < 0:
            raise ConfigError(
                "dialogue tracer: turns and agents are 1 or more, history is 0 or more",
                given=f"turns={self.turns} agents={self.agents} history={self.history}",
            )
        if not 0 <= self.floor <= 1 or self.call_cost < 0:
            raise ConfigError(
                "dialogue tracer: floor is from 0 to 1, call_cost is 0 or more",
                given=f"floor={self.floor} call_cost={self.call_cost}",
            )
        if not -1 <= self.no_verdict <= 0:
            raise ConfigError("dialogue tracer: no_verdict is from -1 to 0", given=f"no_verdict={self.no_verdict}")
        if self.learn == REVIEWER and not (self.reviewer and self.turns > 1):
            raise ConfigError(
                "dialogue tracer: a reviewer is to be trained, and there are no reviews",
                given=f"learn={self.learn} reviewer={self.reviewer} turns={self.turns}",
            )
        if self.replays < 0 or (self.replays and self.turns < _FEWEST_TURNS):
            raise ConfigError(
                f"dialogue tracer: replays is 0 or more, and where there are some turns is {_FEWEST_TURNS} or more, since an "
                "answer changes only where another proposal follows",
                given=f"replays={self.replays} turns={self.turns}",
                hint="dialogue.replays=0 pays a turn for its role",
            )
        if self.adapters == "per-role" and not (self.reviewer and self.turns > 1):
            raise ConfigError(
                "dialogue tracer: there are no reviews, and so no second role with an adapter of its own",
                given=f"adapters={self.adapters} reviewer={self.reviewer} turns={self.turns}",
                hint="dialogue.adapters=shared",
            )
        self.table = RegretTable(self.plus, 2.0 + self.call_cost)

    @property
    def utterances_behind(self) -> int:
        return self.replays * (self._last_proposal - 1)

    @property
    def _last_proposal(self) -> int:
        """Number of the last turn that can change the answer."""
        return self.turns - 1 + self.turns % 2

    @property
    def role_adapters(self) -> Sequence[str]:
        return (PROPOSER, REVIEWER) if self.adapters == "per-role" else ()

    @property
    def protocol(self) -> Protocol:
        own_adapters = bool(self.role_adapters)
        return Protocol(
            self.turns, self.agents, self.controllers, self.reviewer, self.history, self.marked, own_adapters
        )

    def contexts(
        self,
        tasks: Sequence[PromptTask],
        speak: Speak,
        judge: Judge,
    ) -> list[Context]:
        self._tasks = tasks
        self._played = play(
            tasks,
            self.protocol,
            speak,
            probability=self.table.probability,
            draw=uniform,
            judge=judge,
            price_silence=self.two_sided,
        )
        self._learned = [
            self._chosen(state, chance) for state, chance in zip(self._played, uniform(len(tasks)), strict=True)
        ]
        return [
            Context(turn.prompt, {"turn": turn.number, "role": turn.role, "right": turn.pending_right}, turn.role)
            for turn in self._learned
        ]

    def _chosen(self, state: State, chance: float) -> Turn:
        """One of the turns that can be learned from, each with the same probability: those that were spoken, and some more so
        that no role starves; of the roles that learn, where there is one."""
        can = [turn for turn in state.turns if turn.drawn < max(turn.probability, self.floor)]
        if self.replays:
            can = [turn for turn in can if turn.number <= self._last_proposal]
        wanted = [turn for turn in can if self.learn in ("both", turn.role)] or can
        return wanted[int(chance * len(wanted))]

    def score(self, sample: Sample) -> Score | None:
        context = sample.meta[CONTEXT]
        if context["role"] == PROPOSER:
            return None
        verdict, right = read_review(sample.completion), context["right"]
        known = {True: "right", False: "wrong", None: "unreadable"}
        said = None if verdict is None else known[verdict]
        value = review_value(verdict, right, self.no_verdict)
        return Score((1 + value) / 2, parsed=said, note=f"the solution is {known[right]}")

    def scores(self, samples: Sequence[Sample], speak: Speak, judge: Judge) -> list[Score | None]:
        if not self.replays:
            return super().scores(samples, speak, judge)
        size, spent = len(samples) // len(self._tasks), 0

        def counted_speak(asked: Sequence[PromptTask], *role: str) -> list[Sample]:
            nonlocal spent
            said = speak(asked, *role)
            spent += sum(sample.tokens or 0 for sample in said)
            return said

        texts = [sample.completion for sample in samples]
        audited = zip(self._tasks, self._played, self._learned, strict=True)
        audits = [Audit(*of, texts[size * at : size * (at + 1)]) for at, of in enumerate(audited)]
        right = outcomes(
            audits,
            replace(self.protocol, turns=self._last_proposal),
            counted_speak,
            probability=self.table.probability,
            draw=uniform,
            judge=judge,
            replays=self.replays,
        )
        self._replayed = {**_credits(self._learned, right), "dialogue/replayed_tokens": spent / len(samples)}
        ends = f"of {self.replays} replays end right"
        return [Score(value, note=f"{round(value * self.replays)} {ends}") for row in right for value in row]

    def end(self, reduce: Callable[[Tensor], Tensor]) -> None:
        import torch

        turns = [turn for state in self._played for turn in state.turns if turn.key]
        sums = counted((turn.key, *turn.values(self.call_cost, self.no_verdict)) for turn in turns)
        keys = self.protocol.keys()
        own = torch.tensor([sums.get(key, (0, 0.0, 0.0)) for key in keys], dtype=torch.float32)
        rows = reduce(own).tolist()  # the tables of all processes stay equal
        self.table.update({key: (int(row[0]), row[1], row[2]) for key, row in zip(keys, rows, strict=True)})

    def answers(self, tasks: Sequence[PromptTask], speak: Speak) -> list[Sample]:
        """The last pending solutions; at each turn the action that was played more often, and speech where none was."""
        states = play(
            tasks,
            self.protocol,
            speak,
            probability=lambda key: float(self.table.average(key) >= 0.5),
            draw=lambda count: [0.5] * count,
        )
        return answers(tasks, states)

    @property
    def metrics(self) -> Mapping[str, float]:
        turns = [turn for state in self._played for turn in state.turns]
        if not turns:
            return {}
        values = {
            "dialogue/right": fmean(bool(state.right) for state in self._played),
            "dialogue/first_right": fmean(bool(state.turns[0].right) for state in self._played),
            "dialogue/calls": fmean(sum(turn.spoke for turn in state.turns) for state in self._played),
            "dialogue/tokens": fmean(sum(turn.tokens for turn in state.turns) for state in self._played),
            "dialogue/average_regret": self.table.average_regret,
            "dialogue/learned_reviews": fmean(turn.role == REVIEWER for turn in self._learned),
        }
        for role in (PROPOSER, REVIEWER):
            own = [turn for turn in turns if turn.role == role and turn.key]
            if own:
                values[f"dialogue/{role}_speaks"] = fmean(turn.probability for turn in own)
        values |= self._replayed
        verdicts = [turn for turn in turns if turn.role == REVIEWER and turn.text is not None]
        if verdicts:
            values["dialogue/reviews_true"] = fmean(
                review_value(turn.verdict, turn.pending_right) > 0 for turn in verdicts
            )
            values["dialogue/reviews_read"] = fmean(turn.verdict is not None for turn in verdicts)
        return values

    def state_dict(self) -> dict[str, Any]:
        return self.table.to_json()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.table = RegretTable.from_json(state, plus=self.plus, span=self.table.span)


def _credits(turns: Sequence[Turn], outcomes: Sequence[Sequence[float]]) -> dict[str, float]:
    """Share of replays that end right, and the mean size of the credits of each role's completions.

    Args:
        turns: that were audited.
        outcomes: of the completions of each.
    """
    import torch

    from rlllm.algorithms.advantages.group import leave_one_out

    sizes = leave_one_out(torch.tensor(outcomes)).abs().mean(1).tolist()
    values = {"dialogue/replays_right": fmean(value for row in outcomes for value in row)}
    for role in (PROPOSER, REVIEWER):
        own = [size for turn, size in zip(turns, sizes, strict=True) if turn.role == role]
        if own:
            values[f"dialogue/{role}_credit"] = fmean(own)
    return values
