"""Resampling: other prompts, further rollouts for groups that are not accepted, and replayed groups, as a sampler decides.

Every number a sampler decides by is gathered from all processes, and every process takes the same number of rollouts of
the same size; their samplers, and with them their checkpoints, stay equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms.batch import group_advantages
from rlllm.algorithms.protocols import Sampler
from rlllm.algorithms.rollout import Rollout, join, merge_metrics, packed, unpacked
from rlllm.algorithms.signals.logps import Logps
from rlllm.algorithms.tensor_dict import loss_mask


class Resampling:
    """Mixin of the trainer: `_rollout_to_learn_from` makes the rollout to learn from by calls of `_sampled`."""

    sampler: Sampler
    filter_column: int
    """Column of the reward by which the sampler judges groups."""
    accelerator: Any
    num_generations: int
    reward_weights: Tensor
    train_dataset: Any
    _tokenizer: Any
    scale_rewards: str
    multi_objective_aggregation: str
    _metrics: Any
    _note: Any
    _sampled: Any
    _shared_pass: Any
    _signal_context: Any
    _with_pixels: Any

    def _rollout_to_learn_from(self, inputs: Sequence[Mapping[str, Any]]) -> tuple[Rollout, list[Rollout]]:
        """The rollout to learn from, as many groups as were asked for, and the groups that were sampled and left out."""
        logged = self._metrics["train"]
        before = {name: len(values) for name, values in logged.items()}
        rollouts = [self._sampled(self._proposed(inputs))]
        accepted = [self._accepted(rollouts[0])]
        for _ in range(self.sampler.max_rounds):
            rows = self._missing(rollouts, torch.cat(accepted, dim=1))
            if not rows:
                break
            rollouts.append(self._sampled(self._inputs_of(rows)))
            accepted.append(self._accepted(rollouts[-1]))
        merge_metrics(logged, before, [len(rollout.group_rows) for rollout in rollouts])
        flags = torch.cat(accepted, dim=1)
        if self.sampler.max_rounds:
            self._note_cost(rollouts, flags)
        chosen, left_out, informative = self._chosen(rollouts, flags[self.accelerator.process_index].tolist())
        replayed = False
        if self.sampler.replays:
            chosen, replaced, replayed = self._with_replay(chosen, informative)
            left_out += replaced
        for rollout in rollouts:
            own = rollout.of_policy(rollout.judged(self.filter_column))
            self.sampler.observe(self._of_all_processes(rollout.group_rows), self.accelerator.gather(own))
        return (self._renewed(chosen) if len(rollouts) > 1 or replayed else chosen), left_out

    def _proposed(self, inputs: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """The rows of the rollout with the prompts the sampler puts in the place of others."""
        rows = [int(item["row"]) for item in inputs[:: self.num_generations]]
        proposed = self._of_this_process(self.sampler.propose(self._of_all_processes(rows)))
        return inputs if proposed == rows else self._inputs_of(proposed)

    def _inputs_of(self, rows: Sequence[int]) -> list[Mapping[str, Any]]:
        """Rows of the data set, each as often as it is to be completed."""
        return [self.train_dataset[row] for row in rows for _ in range(self.num_generations)]

    def _missing(self, rollouts: Sequence[Rollout], accepted: Tensor) -> list[int]:
        """This process's prompts of a further rollout; none where no process lacks a group.

        They are as many as the share of accepted groups so far makes necessary, and never more than a rollout's.

        Args:
            accepted: (processes, groups so far) bool.
        """
        size = len(rollouts[0].group_rows)
        lacking = int((size - accepted.sum(1)).max())
        if lacking <= 0:
            return []
        share = float(accepted.float().mean())
        count = min(size, math.ceil(lacking / share)) if share else size
        wanted = count * self.accelerator.num_processes
        tried = self._of_all_processes([row for rollout in rollouts for row in rollout.group_rows])
        rows = self.sampler.draw(wanted, tried)
        return self._of_this_process(rows) if len(rows) == wanted else []

    def _chosen(
        self, rollouts: Sequence[Rollout], accepted: Sequence[bool]
    ) -> tuple[Rollout, list[Rollout], list[bool]]:
        """The first accepted groups, filled up with others to the size of a rollout; the rest; and which of the chosen groups
        are accepted."""
        if len(rollouts) == 1:
            return rollouts[0], [], list(accepted)
        size, everything = len(rollouts[0].group_rows), range(len(accepted))
        taken = set(sorted(everything, key=lambda group: not accepted[group])[:size])
        chosen, rest, first = [], [], 0
        for rollout in rollouts:
            groups = range(len(rollout.group_rows))
            chosen.append(rollout.groups([group for group in groups if first + group in taken]))
            rest.append(rollout.groups([group for group in groups if first + group not in taken]))
            first += len(groups)
        pad_id = self._tokenizer.pad_token_id
        flags = [accepted[group] for group in everything if group in taken]
        filled = [rollout for rollout in chosen if rollout.rows]
        return join(filled, pad_id), [rollout for rollout in rest if rollout.rows], flags

    def _with_replay(self, rollout: Rollout, informative: Sequence[bool]) -> tuple[Rollout, list[Rollout], bool]:
        """The rollout with earlier groups in place of those not accepted; these; and whether any process replayed."""
        if "old_per_token_logps" not in rollout.output:
            logps = self._shared_pass({"logps": Logps()}, self._signal_context(rollout))["logps"]
            rollout = rollout.with_output(old_per_token_logps=logps)
        zero_variance = [group for group, accepted in enumerate(informative) if not accepted]
        counts = self._of_all_processes([len(zero_variance)])
        stored = self.sampler.replay(sum(counts))
        start = sum(counts[: self.accelerator.process_index])
        own = stored[start : start + len(zero_variance)]
        to_store = rollout.groups([group for group, accepted in enumerate(informative) if accepted])
        self.sampler.store(gather_objects(packed(to_store, self.filter_column)))
        self._note({"sampling/replayed_share": len(stored) / (len(informative) * self.accelerator.num_processes)})
        if not own:
            return rollout, [], bool(stored)
        replaced = set(zero_variance[: len(own)])
        fresh = rollout.groups([group for group in range(len(informative)) if group not in replaced])
        pad_id = self._tokenizer.pad_token_id
        old = unpacked(own, pad_id, self.accelerator.device)
        joined = join([fresh, old], pad_id) if fresh.rows else old
        return joined, [rollout.groups(sorted(replaced))], True

    def _renewed(self, rollout: Rollout) -> Rollout:
        """The rollout with the advantages, the token count and the images that TRL would have given it as a whole."""
        rollout = self._with_pixels(rollout)
        advantages = self._normalised(rollout.rewards, self._weights, rollout.group_size)
        tokens = self.accelerator.gather(loss_mask(rollout.output).sum()).sum()
        return rollout.with_output(advantages=advantages, num_items_in_batch=tokens)

    def _normalised(self, rewards: Tensor, weights: Tensor, group_size: int) -> Tensor:
        """(B,) advantages of this process's (B, R) rewards, with statistics over all processes, as TRL computes them."""
        everywhere = self.accelerator.gather(rewards)
        scale, aggregation = self.scale_rewards, self.multi_objective_aggregation
        advantages = group_advantages(everywhere, weights, group_size, scale, aggregation)
        start = self.accelerator.process_index * len(rewards)
        return advantages[start : start + len(rewards)]

    def _note_cost(self, rollouts: Sequence[Rollout], accepted: Tensor) -> None:
        further = [sample for rollout in rollouts[1:] for sample in rollout.samples if sample is not None]
        tokens = sum(sample.tokens or 0 for sample in further)
        self._note(
            {
                "sampling/rounds": len(rollouts) - 1,
                "sampling/prompts_tried": accepted.numel(),
                "sampling/kept_share": float(accepted.float().mean()),
                "sampling/extra_tokens": sum(self._of_all_processes([tokens])),
            }
        )

    def _accepted(self, rollout: Rollout) -> Tensor:
        """(processes, N) bool: which groups of every process the sampler accepts."""
        rewards = self.accelerator.gather(rollout.judged(self.filter_column))
        return self.sampler.accepts(rewards).view(self.accelerator.num_processes, -1)

    @property
    def _weights(self) -> Tensor:
        return self.reward_weights.to(self.accelerator.device)

    def _of_all_processes(self, numbers: Sequence[int]) -> list[int]:
        """The numbers of all processes, one after the other; every process has equally many."""
        return self.accelerator.gather(torch.tensor(numbers, device=self.accelerator.device)).tolist()

    def _of_this_process(self, numbers: Sequence[int]) -> list[int]:
        share = len(numbers) // self.accelerator.num_processes
        start = self.accelerator.process_index * share
        return list(numbers[start : start + share])


def gather_objects(objects: list[Any]) -> list[Any]:
    """The objects of all processes, one after the other."""
    from accelerate.utils import gather_object

    return gather_object(objects)
