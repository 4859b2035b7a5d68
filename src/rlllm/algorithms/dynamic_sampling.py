"""The sampler's hand in a rollout: other prompts, further rollouts for groups that teach nothing, groups from the past.

Every number a sampler decides by is gathered from all processes, and every process takes the same number of rollouts of
the same size; their samplers, and with them their checkpoints, stay one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms.loss_computation import learning
from rlllm.algorithms.rollout import Rollout, group_advantages, join, merge_metrics, packed, unpacked
from rlllm.algorithms.samplers.prompt_samplers import PromptSampler


class DynamicSampling:
    """Mixin of the loop: `_dynamically_sampled` makes the rollout to learn from by calls of `_sampled`."""

    sampler: PromptSampler
    accelerator: Any
    num_generations: int
    reward_weights: Tensor
    train_dataset: Any
    processing_class: Any
    scale_rewards: str
    multi_objective_aggregation: str
    _metrics: Any
    _note: Any
    _sampled: Any
    _signals: Any

    def _dynamically_sampled(self, inputs: Sequence[Mapping[str, Any]]) -> tuple[Rollout, list[Rollout]]:
        """The rollout to learn from, as many groups as were asked for, and what was sampled in vain."""
        logged = self._metrics["train"]
        before = {name: len(values) for name, values in logged.items()}
        made = [self._sampled(self._proposed(inputs))]
        accepted = [self._accepted(made[0])]
        for _ in range(self.sampler.rounds):
            rows = self._missing(made, torch.cat(accepted, dim=1))
            if not rows:
                break
            made.append(self._sampled(self._asked(rows)))
            accepted.append(self._accepted(made[-1]))
        merge_metrics(logged, before, [len(one.asked) for one in made])
        flags = torch.cat(accepted, dim=1)
        if self.sampler.rounds:
            self._note_cost(made, flags)
        rollout, rejected, mixed = self._chosen(made, flags[self.accelerator.process_index].tolist())
        replayed = False
        if self.sampler.remembers:
            rollout, flat, replayed = self._with_replay(rollout, mixed)
            rejected += flat
        for one in made:
            own = one.own_rewards(self._weights)
            self.sampler.observe(self._everywhere(one.asked), self.accelerator.gather(own))
        self._note(getattr(self.sampler, "metrics", {}))
        return (self._renewed(rollout) if len(made) > 1 or replayed else rollout), rejected

    def _proposed(self, inputs: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """The rows of the rollout with the prompts the sampler puts in the place of others."""
        rows = [int(one["row"]) for one in inputs[:: self.num_generations]]
        proposed = self._mine(self.sampler.propose(self._everywhere(rows)))
        if proposed == rows:
            return inputs
        return self._asked(proposed)

    def _asked(self, rows: Sequence[int]) -> list[Mapping[str, Any]]:
        """Rows of the data set, each as often as it is to be completed."""
        return [self.train_dataset[row] for row in rows for _ in range(self.num_generations)]

    def _missing(self, made: Sequence[Rollout], accepted: Tensor) -> list[int]:
        """This process's prompts of a further rollout; none where no process lacks a group.

        As many as the share of accepted groups so far lets expect to be needed, and never more than a rollout's.

        Args:
            accepted: (processes, groups so far) bool.
        """
        size = len(made[0].asked)
        need = int((size - accepted.sum(1)).max())
        if need <= 0:
            return []
        share = float(accepted.float().mean())
        count = min(size, math.ceil(need / share)) if share else size
        wanted = count * self.accelerator.num_processes
        drawn = self.sampler.draw(wanted, self._everywhere([row for one in made for row in one.asked]))
        return self._mine(drawn) if len(drawn) == wanted else []

    def _chosen(self, made: Sequence[Rollout], accepted: Sequence[bool]) -> tuple[Rollout, list[Rollout], list[bool]]:
        """The first accepted groups, filled up with others to the size of a rollout; the rest; which chosen ones are
        accepted."""
        if len(made) == 1:
            return made[0], [], list(accepted)
        size, everything = len(made[0].asked), range(len(accepted))
        order = sorted(everything, key=lambda group: not accepted[group])
        kept = set(order[:size])
        chosen, rest, first = [], [], 0
        for one in made:
            own = range(len(one.asked))
            chosen.append(one.groups([group for group in own if first + group in kept]))
            rest.append(one.groups([group for group in own if first + group not in kept]))
            first += len(own)
        pad_id = self.processing_class.pad_token_id
        flags = [accepted[group] for group in everything if group in kept]
        return join([one for one in chosen if one.rows], pad_id), [one for one in rest if one.rows], flags

    def _with_replay(self, rollout: Rollout, mixed: Sequence[bool]) -> tuple[Rollout, list[Rollout], bool]:
        """The rollout with earlier groups in place of those not accepted; these; and whether any process replayed."""
        if "old_per_token_logps" not in rollout.output:
            logps = self._signals(rollout.output, {"logps"})["logps"]
            rollout = rollout.with_output(old_per_token_logps=logps)
        flat = [group for group, fine in enumerate(mixed) if not fine]
        counts = self._everywhere([len(flat)])
        stored = self.sampler.replay(sum(counts))
        start = sum(counts[: self.accelerator.process_index])
        mine = stored[start : start + len(flat)]
        taught = rollout.groups([group for group, fine in enumerate(mixed) if fine])
        self.sampler.store(_gather_objects(packed(taught, self._weights)))
        self._note({"sampling/replayed_share": len(stored) / (len(mixed) * self.accelerator.num_processes)})
        if not mine:
            return rollout, [], bool(stored)
        replaced = set(flat[: len(mine)])
        fresh = rollout.groups([group for group in range(len(mixed)) if group not in replaced])
        pad_id = self.processing_class.pad_token_id
        old = unpacked(mine, pad_id, self.accelerator.device)
        joined = join([fresh, old], pad_id) if fresh.rows else old
        return joined, [rollout.groups(sorted(replaced))], True

    def _renewed(self, rollout: Rollout) -> Rollout:
        """The rollout with the advantages and the token count that TRL would have given it as a whole."""
        rewards = self.accelerator.gather(rollout.rewards)
        advantages = group_advantages(
            rewards, self._weights, rollout.group_size, self.scale_rewards, self.multi_objective_aggregation
        )
        start = self.accelerator.process_index * len(rollout.rows)
        tokens = self.accelerator.gather(learning(rollout.output).sum()).sum()
        return rollout.with_output(advantages=advantages[start : start + len(rollout.rows)], num_items_in_batch=tokens)

    def _note_cost(self, made: Sequence[Rollout], accepted: Tensor) -> None:
        tokens = [sample.tokens or 0 for one in made[1:] for sample in one.samples if sample is not None]
        self._note(
            {
                "sampling/rounds": len(made) - 1,
                "sampling/prompts_tried": accepted.numel(),
                "sampling/kept_share": float(accepted.float().mean()),
                "sampling/extra_tokens": sum(self._everywhere([sum(tokens)])),
            }
        )

    def _accepted(self, rollout: Rollout) -> Tensor:
        """(processes, N) bool: which groups of every process the sampler accepts."""
        return self.sampler.accepts(self._everyones(rollout)).view(self.accelerator.num_processes, -1)

    def _everyones(self, rollout: Rollout) -> Tensor:
        """The (N, G) rewards of all processes, one after the other."""
        return self.accelerator.gather(rollout.grouped(self._weights))

    @property
    def _weights(self) -> Tensor:
        return self.reward_weights.to(self.accelerator.device)

    def _everywhere(self, numbers: Sequence[int]) -> list[int]:
        """The numbers of all processes, one after the other; every process has equally many."""
        return self.accelerator.gather(torch.tensor(numbers, device=self.accelerator.device)).tolist()

    def _mine(self, numbers: Sequence[int]) -> list[int]:
        share = len(numbers) // self.accelerator.num_processes
        start = self.accelerator.process_index * share
        return list(numbers[start : start + share])


def _gather_objects(objects: list[Any]) -> list[Any]:
    from accelerate.utils import gather_object

    return gather_object(objects)
