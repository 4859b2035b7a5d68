"""What the trainer does for a component of the slot `dialogue`: dialogues speak by its policy, and its rewards judge them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from rlllm.algorithms.protocols import Context, Dialogue
from rlllm.algorithms.tensor_dict import loss_mask
from rlllm.core.plugin_errors import plugin_boundary
from rlllm.core.records import PromptTask, Sample, Score
from rlllm.policies.completion_text import completion_texts
from rlllm.policies.role_adapters import RoleAdapters
from rlllm.rewards.composition import Composition
from rlllm.rewards.scores import Scores
from rlllm.rollouts.dialogue.play import Speak
from rlllm.rollouts.dialogue.speaking import speaker


class DialoguePlay:
    """Mixin of the trainer."""

    slots: Any
    tasks: Sequence[PromptTask]
    accelerator: Any
    _tokenizer: Any
    model: Any
    model_wrapped: Any
    sampling: Any
    state: Any
    _metrics: Any
    roles: RoleAdapters | None
    _of_all_processes: Any

    def _contexts(self, rows: Sequence[int], size: int) -> list[Context]:
        """What each of the rows completes, in whole groups; nothing without dialogues. Tokens of dialogues count as seen."""
        dialogue = self.slots.dialogue
        if dialogue is None or not self.model.training:
            return []
        tasks = [self.tasks[row] for row in rows[::size]]
        with self._speaking() as speak, plugin_boundary("dialogue", type(dialogue).__name__, dialogue):
            contexts = dialogue.contexts(tasks, speak, self._right)
            dialogue.end(lambda values: self.accelerator.reduce(values.to(self.accelerator.device), reduction="sum"))
        return [context for context in contexts for _ in range(size)]

    @contextmanager
    def _speaking(self) -> Iterator[Speak]:
        """The policy as a speaker; the tokens that it says meanwhile count as seen."""
        spent = 0
        model = self.accelerator.unwrap_model(self.model_wrapped)
        engine = partial(self.slots.engine, model, self._tokenizer)
        sampled = speaker(engine, self._tokenizer, self.sampling, self.roles)

        def speak(asked: Sequence[PromptTask], role: str = "", /) -> list[Sample]:
            nonlocal spent
            said = sampled(asked, role)
            spent += sum(sample.tokens or 0 for sample in said)
            return said

        yield speak
        self.state.num_input_tokens_seen += sum(self._of_all_processes([spent]))
        self._metrics["train"]["num_tokens"] = [
            self.state.num_input_tokens_seen
        ]  # TRL writes it before it asks rewards

    @property
    def _verifier(self) -> int:
        """Place of the reward that says whether an answer is right."""
        rewards: Composition = self.slots.rewards
        return rewards.names.index(rewards.group_filter or rewards.names[0])

    def _right(self, answers: Sequence[Sample]) -> list[bool]:
        """Whether the reward that verifies gives at least 1 to each answer; not where it cannot judge one."""
        rewards: Composition = self.slots.rewards
        alone = replace(rewards, rewards=(rewards.rewards[self._verifier],))
        return [value is not None and value >= 1 for value in alone.score(answers).values[0]]

    def _role_scores(self, samples: Sequence[Sample]) -> Scores:
        """Scores of a rollout of contexts: of answers by the run's rewards, of all else by the dialogue."""
        rewards: Composition = self.slots.rewards
        dialogue = self.slots.dialogue
        with self._speaking() as speak, plugin_boundary("dialogue", type(dialogue).__name__, dialogue):
            own = dialogue.scores(samples, speak, self._right)
        places = [at for at, score in enumerate(own) if score is None]
        judged = rewards.score([samples[at] for at in places])
        none = Score(None, note="no answer")
        columns: list[list[Score | None]] = []
        for number, details in enumerate(judged.details):
            column = [score if number == self._verifier and score is not None else none for score in own]
            for at, score in zip(places, details, strict=True):
                column[at] = score
            columns.append(column)
        values = [[None if score is None else score.value for score in column] for column in columns]
        totals = [rewards.total([column[at] for column in values]) for at in range(len(samples))]
        for at, total in zip(places, judged.totals, strict=True):
            totals[at] = total
        errors = [replace(issue, index=places[issue.index]) for issue in judged.errors]
        return Scores(rewards.names, values, columns, errors, totals)

    def _only_decisions(self, output: dict[str, Any], samples: Sequence[Sample]) -> None:
        """Keep from the loss what stands behind a decision (`Dialogue.learns`), as if the policy had not written it."""
        dialogue: Dialogue = self.slots.dialogue
        if type(dialogue).learns is Dialogue.learns:
            return
        learning = loss_mask(output).clone()
        for at, sample in enumerate(samples):
            end = dialogue.learns(sample)
            if end is not None:
                learning[at, self._tokens_of(output["completion_ids"][at].tolist(), end) :] = 0
        output["tool_mask"] = learning
        output["num_items_in_batch"] = self.accelerator.gather(learning.sum()).sum()

    def _tokens_of(self, ids: Sequence[int], characters: int) -> int:
        """The fewest tokens at the beginning of a completion whose text has so many characters."""
        counts = range(1, len(ids))
        long_enough = (n for n in counts if len(completion_texts(self._tokenizer, [ids[:n]])[0]) >= characters)
        return next(long_enough, len(ids))
