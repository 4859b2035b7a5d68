"""Learned stopping: attempts at a problem until another one is not worth its price; the answer with most votes counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from rlllm.algorithms.dialogues.random_numbers import uniform
from rlllm.algorithms.protocols import CONTEXT, Context, Dialogue
from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask, Sample, Score
from rlllm.parsing.stopping_prompts import decision, decision_length, read_decision
from rlllm.rollouts.dialogue.play import DECISION, DIALOGUE, DRAFT, Judge, Speak
from rlllm.rollouts.dialogue.regret import RegretTable, counted
from rlllm.rollouts.dialogue.stopping import Attempts, StopValues, Votes, attempts, keys, visits_of

if TYPE_CHECKING:
    from torch import Tensor

_T = TypeVar("_T")


@dataclass
class Stopping(Dialogue):
    """Each problem is attempted up to `attempts` times; who stops earlier pays less.

    In training all attempts are made, so that the utility U_t of stopping at each is known. Three forms learn when to stop:

    - `regret`: a table of regret matching over (attempts, lead), with v_stop = U_t, v_go_on = the utility where the table stops
      later in the same attempts. Groups complete the problem.
    - `hindsight`: the model decides in words. A decision to stop is worth U_t - V_{t+1}, one to go on the negative of it; V
      is fitted backward over all attempts seen.
    - `outcome`: the model decides in words. A decision is worth the utility where the attempts end then, by the model's own
      later decisions.

    Of a decision in words only the tokens up to its end learn.

    Args:
        attempts: at most.
        price: of an attempt, in units of a right answer.
        learn_by: see above.
        decisions: share of groups that complete a decision, where the model decides; the others complete the problem.
        decay: what earlier observations of V weigh after each rollout.
    """

    attempts: int = 6
    price: float = 0.01
    learn_by: Literal["regret", "hindsight", "outcome"] = "regret"
    decisions: float = 0.5
    decay: float = 1.0
    turns: int = field(init=False, default=1)
    table: RegretTable = field(init=False)
    values: StopValues = field(init=False)
    _runs: list[Attempts] = field(init=False, repr=False, default_factory=list)
    _stopped: list[int] = field(init=False, repr=False, default_factory=list)
    _visits: list[tuple[str, float, float]] = field(init=False, repr=False, default_factory=list)
    _read: float = field(init=False, repr=False, default=1.0)

    def __post_init__(self) -> None:
        if self.attempts < 2 or self.price < 0 or not 0 <= self.decisions <= 1 or not 0 < self.decay <= 1:
            raise ConfigError(
                "dialogue stopping: attempts is 2 or more, price 0 or more, decisions from 0 to 1, decay above 0 and at most 1",
                given=f"attempts={self.attempts} price={self.price} decisions={self.decisions} decay={self.decay}",
            )
        self.turns = self.attempts if self.learn_by == "regret" else 2 * self.attempts - 1
        self.table = RegretTable(span=1 + self.price * self.attempts)
        self.values = StopValues(self.attempts, self.decay)

    def contexts(
        self,
        tasks: Sequence[PromptTask],
        speak: Speak,
        judge: Judge,
    ) -> list[Context]:
        drafts = speak([task for task in tasks for _ in range(self.attempts)])
        texts = _rows([sample.completion for sample in drafts], self.attempts)
        right = _rows(judge(drafts), self.attempts)
        self._runs = [
            attempts(row, dict(zip(row, flags, strict=True)), self.price)
            for row, flags in zip(texts, right, strict=True)
        ]
        if self.learn_by == "regret":
            self._stop_by_table()
            return [Context(task.prompt, {"role": DRAFT}) for task in tasks]
        return self._stop_in_words(tasks, texts, speak)

    def _stop_by_table(self) -> None:
        drawn = _rows(uniform(len(self._runs) * self.attempts), self.attempts)
        self._stopped, self._visits = [], []
        for run, row in zip(self._runs, drawn, strict=True):
            stops = [chance < self.table.probability(key) for chance, key in zip(row, run.keys, strict=True)]
            self._stopped.append(run.stopped(stops))
            self._visits += [
                (key, run.utilities[run.stopped(stops, at + 1)], run.utilities[at])
                for at, key in enumerate(run.keys[:-1])
            ]

    def _stop_in_words(
        self,
        tasks: Sequence[PromptTask],
        texts: Sequence[Sequence[str]],
        speak: Speak,
    ) -> list[Context]:
        asked = [
            self._asked(task, row[:made]) for task, row in zip(tasks, texts, strict=True) for made in self._choices
        ]
        replies = _rows([read_decision(sample.completion) for sample in speak(asked)], self.attempts - 1)
        self._read = fmean(reply is not None for row in replies for reply in row)
        chosen = zip(uniform(len(tasks)), uniform(len(tasks)), strict=True)
        self._stopped, contexts = [], []
        for number, (run, row, (which, place)) in enumerate(zip(self._runs, replies, chosen, strict=True)):
            stops = [reply is True for reply in row]
            self._stopped.append(run.stopped(stops))
            if which >= self.decisions:
                contexts.append(Context(tasks[number].prompt, {"role": DRAFT}))
                continue
            at = int(place * len(row))
            worth = self._worth(run, stops, at)
            says = {"role": DECISION, "attempt": at + 1, "stop": worth[0], "go_on": worth[1]}
            contexts.append(Context(asked[number * len(row) + at].prompt, says))
        return contexts

    @property
    def _choices(self) -> range:
        """Numbers of attempts after which there is a choice."""
        return range(1, self.attempts)

    def _asked(self, task: PromptTask, texts: Sequence[str]) -> PromptTask:
        votes = Votes()
        for text in texts:
            votes.add(text)
        return replace(task, prompt=decision(task.prompt, votes.ranked, len(texts), self.attempts))

    def _worth(self, run: Attempts, stops: Sequence[bool], at: int) -> tuple[float, float]:
        """What stopping after an attempt, and going on, is worth."""
        if self.learn_by == "outcome":
            return run.utilities[at], run.utilities[run.stopped([*stops, True], at + 1)]
        following = run.keys[at + 1]
        later = self.values.value(following) if self.values.stopping(following) is not None else run.utilities[at + 1]
        gain = run.utilities[at] - later
        return gain, -gain

    def score(self, sample: Sample) -> Score | None:
        context = sample.meta[CONTEXT]
        if context["role"] == DRAFT:
            return None
        reply = read_decision(sample.completion)
        if reply is None:  # what is not read goes on, and must not be worth more than saying so
            return Score(min(context["stop"], context["go_on"]), note="no decision")
        return Score(context["stop" if reply else "go_on"], parsed="stop" if reply else "continue")

    def learns(self, sample: Sample) -> int | None:
        return decision_length(sample.completion) if sample.meta[CONTEXT]["role"] == DECISION else None

    def end(self, reduce: Callable[[Tensor], Tensor]) -> None:
        import torch

        names = keys(self.attempts)
        place = {key: number for number, key in enumerate(names)}
        visits, followed = visits_of(self._runs)
        sums = torch.tensor([visits.get(key, (0.0, 0.0)) for key in names])
        steps = torch.zeros(len(names), len(names))
        for (before, after), count in followed.items():
            steps[place[before], place[after]] = count
        regrets = counted(self._visits)
        choices = torch.tensor([regrets.get(key, (0, 0.0, 0.0)) for key in names], dtype=torch.float32)
        together = reduce(torch.cat([sums, steps, choices], 1)).tolist()  # those of all processes stay equal
        self.values.update(
            {key: (row[0], row[1]) for key, row in zip(names, together, strict=True) if row[0]},
            {
                (key, after): row[2 + number]
                for key, row in zip(names, together, strict=True)
                for number, after in enumerate(names)
                if row[2 + number]
            },
        )
        self.table.update({key: (int(row[-3]), row[-2], row[-1]) for key, row in zip(names, together, strict=True)})

    def answers(self, tasks: Sequence[PromptTask], speak: Speak) -> list[Sample]:
        """The answers with most votes; whether to stop is decided by what was learned, after each attempt."""
        votes = [Votes() for _ in tasks]
        turns: list[list[dict[str, Any]]] = [[] for _ in tasks]
        live = list(range(len(tasks)))
        for number in range(1, self.attempts + 1):
            said = speak([tasks[at] for at in live])
            for at, sample in zip(live, said, strict=True):
                votes[at].add(sample.completion)
                turns[at].append(_turn(2 * number - 1, DRAFT, sample))
            if number == self.attempts:
                break
            stop = self._decided([(tasks[at], votes[at], turns[at]) for at in live], speak)
            live = [at for at, stopped in zip(live, stop, strict=True) if not stopped]
            if not live:
                break
        return [
            Sample(
                task.prompt,
                vote.solution,
                task.answer,
                {**task.meta, DIALOGUE: said},
                sum(turn["tokens"] for turn in said),
            )
            for task, vote, said in zip(tasks, votes, turns, strict=True)
        ]

    def _decided(
        self,
        live: Sequence[tuple[PromptTask, Votes, list[dict[str, Any]]]],
        speak: Speak,
    ) -> list[bool]:
        """Whether each dialogue stops; decisions in words become turns of theirs."""
        if self.learn_by == "regret":
            return [self.table.visits(vote.key) > 0 and self.table.average(vote.key) >= 0.5 for _, vote, _ in live]
        asked = [
            replace(task, prompt=decision(task.prompt, vote.ranked, vote.attempts, self.attempts))
            for task, vote, _ in live
        ]
        replies = speak(asked)
        for (_, vote, turns), reply in zip(live, replies, strict=True):
            turns.append(_turn(2 * vote.attempts, DECISION, reply))
        return [read_decision(reply.completion) is True for reply in replies]

    @property
    def metrics(self) -> Mapping[str, float]:
        if not self._runs:
            return {}
        ends = list(zip(self._runs, self._stopped, strict=True))
        best = [max(range(len(run.utilities)), key=run.utilities.__getitem__) for run in self._runs]
        values = {
            "stopping/attempts": fmean(at + 1 for _, at in ends),
            "stopping/utility": fmean(run.utilities[at] for run, at in ends),
            "stopping/utility_of_all": fmean(run.utilities[-1] for run in self._runs),
            "stopping/regret": fmean(run.regret(at) for run, at in ends),
            "stopping/premature": fmean(at < top for (_, at), top in zip(ends, best, strict=True)),
            "stopping/overrun": fmean(at > top for (_, at), top in zip(ends, best, strict=True)),
        }
        if self.learn_by != "regret":
            values["stopping/decisions_read"] = self._read
        return values

    def state_dict(self) -> dict[str, Any]:
        return {"table": self.table.to_json(), "values": self.values.to_json()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.table = RegretTable.from_json(state["table"], span=self.table.span)
        self.values = StopValues.from_json(state["values"], most=self.attempts, decay=self.decay)


def _rows(values: Sequence[_T], size: int) -> list[list[_T]]:
    return [list(values[start : start + size]) for start in range(0, len(values), size)]


def _turn(number: int, role: str, sample: Sample) -> dict[str, Any]:
    said = {"text": sample.completion, "tokens": sample.tokens or 0}
    return {"turn": number, "agent": 0, "role": role, "spoke": True, **said}
