"""The installed TRL: its losses on given log-probabilities against the formulas, and the loop against its trainer.

TRL's trainers are built on `nano`. Where a formula is checked, the model is replaced by a function that answers with the
log-probabilities of a batch, so that the loss and its gradient are those of given numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from rlllm.algorithms import _trl
from rlllm.algorithms.losses.base import aggregate
from rlllm.algorithms.losses.rloo import RLOO
from rlllm.algorithms.losses.trl import BY_LOSS_TYPE
from rlllm.algorithms.preference.with_reference import SealedDPOTrainer, SealedKTOTrainer
from rlllm.algorithms.rl_trainer import RLTrainer, Slots
from rlllm.algorithms.sealed_trainers import PairwiseReward, Supervised
from rlllm.algorithms.trl_args import trl_arguments
from rlllm.core.hardware import Hardware
from rlllm.core.records import PromptTask
from rlllm.policies.loading import load_classifier, load_policy, load_tokenizer
from rlllm.policies.model_sources import resolve_model
from rlllm.rewards.composition import build
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.engines.base import Engine
from rlllm.tools.selftest import formulas
from rlllm.tools.selftest.check import Batch, Check, batches, difference, over_batches, same_loss, with_gradient
from rlllm.tools.selftest.formulas import Array
from rlllm.tools.selftest.own_parts import LONGEST, inputs_of

BETA = 0.3
POLICY: Mapping[str, Mapping[str, Any]] = {
    "grpo": {"epsilon": 0.2},
    "bnpo": {"epsilon": 0.2},
    "dr_grpo": {"epsilon": 0.2},
    "dapo": {"epsilon": 0.2, "epsilon_high": 0.28},
    "luspo": {"epsilon": 0.2, "importance_sampling_level": "sequence"},
    "cispo": {"epsilon_high": 1.2},
    "sapo": {"sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05},
    "vespo": {},
}
"""TRL's loss types and the settings under which they are checked."""
_REWARD = RewardSpec.model_validate({"name": "length", "budget": 1, "buffer": 9})
_VESPO = (2.0, 3.0, 3.0, 2.0)
_PAIRS = ("sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired")
PREFERENCE = (*_PAIRS, "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm")
"""Losses of TRL's DPOTrainer."""
_PARITY = 1e-5
"""Tolerance where two models compute in 32 bits."""


def _no_reward(**_: Any) -> list[float]:
    return []


def _ignore(_: Any) -> None:
    pass


class Trainers:
    """TRL's trainers on `nano`, made when they are first needed, in a folder that goes with them."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="rlllm-selftest-")
        self.source = resolve_model("nano")
        self.tokenizer = load_tokenizer(self.source)

    def make(self, kind: Callable[..., Any], config: str, rows: Any, model: Any = None, **settings: Any) -> Any:
        """A trainer of TRL's, or one derived from it, ready to compute a loss.

        Args:
            kind: the class, perhaps with arguments of its own bound.
            config: name of its TRL config.
            rows: its data set.
            model: `nano` as a language model unless given.
            settings: TRL settings.
        """
        hardware = Hardware("cpu", bf16=False, threads=torch.get_num_threads())
        folder = Path(self._folder.name)
        trainer = kind(
            model=load_policy(self.source) if model is None else model,
            args=trl_arguments(config, settings, checkpoints=folder, seed=0, hardware=hardware),
            train_dataset=Dataset.from_list(rows),
            processing_class=self.tokenizer,
        )
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        return trainer

    @cached_property
    def grpo(self) -> Any:
        """GRPOTrainer with its loss `grpo`."""
        return self.policy("grpo")

    @cached_property
    def dpo(self) -> Any:
        """DPOTrainer as `align` uses it."""
        rows = [{"prompt": "1 + 1 =", "chosen": " 2", "rejected": " 3"}] * 2
        return self.make(SealedDPOTrainer, "DPOConfig", rows, beta=BETA, label_smoothing=0.1)

    @cached_property
    def kto(self) -> Any:
        """KTOTrainer as `align` uses it."""
        rows = [{"prompt": f"1 + {place} =", "completion": " 2", "label": place < 2} for place in range(4)]
        settings = {"per_device_train_batch_size": 2, "train_sampling_strategy": "sequential"}
        return self.make(
            SealedKTOTrainer, "KTOConfig", rows, beta=BETA, desirable_weight=1.0, undesirable_weight=0.7, **settings
        )

    @cached_property
    def sft(self) -> Any:
        """SFTTrainer as `sft` uses it."""
        rows = [{"prompt": "1 + 1 =", "completion": " 2"}] * 2
        return self.make(partial(Supervised, encode=lambda _: Dataset.from_list(rows)), "SFTConfig", rows)

    @cached_property
    def rloo(self) -> Any:
        """TRL's own RLOOTrainer, which no verb uses."""
        kind = partial(_trl.RLOOTrainer, reward_funcs=_no_reward)
        settings = {"per_device_train_batch_size": 6, "num_generations": 3, "beta": 0.0}
        return self.make(kind, "RLOOConfig", [{"prompt": "1 + 1 ="}] * 2, **settings)

    @cached_property
    def reward(self) -> Any:
        """RewardTrainer as `train-rm` uses it."""
        rows = [{"prompt": "1 + 1 =", "chosen": " 2", "rejected": " 3"}] * 2
        return self.make(PairwiseReward, "RewardConfig", rows, load_classifier(self.source, self.tokenizer))

    def policy(
        self, loss_type: str, *, slots: Slots | None = None, on_rollout: Callable[..., None] = _ignore, **settings: Any
    ) -> Any:
        """GRPOTrainer with a loss type, or the loop with it where there are slots; `beta` is put in behind, so that no
        reference is loaded."""
        given = {"loss_type": loss_type, "max_completion_length": LONGEST, "num_generations": 3, **settings}
        beta = given.pop("beta", 0.0)
        kind: Callable[..., Any] = partial(_trl.GRPOTrainer, reward_funcs=_no_reward)
        if slots is not None:
            kind = partial(RLTrainer, slots=slots, tasks=[PromptTask("1 + 1 =", "2")] * 2, on_rollout=on_rollout)
        rows = [{"prompt": [{"role": "user", "content": "1 + 1 ="}], "row": place} for place in range(2)]
        trainer = self.make(kind, "GRPOConfig", rows, per_device_train_batch_size=6, **given)
        trainer.beta = beta
        return trainer


def checks() -> list[Check]:
    """TRL's losses, and the loop beside its trainer. Trainers are shared, and built by the first check that needs one."""
    trainers, name = Trainers(), f"TRL {version('trl')}"
    return [
        *(_policy_check(trainers, loss_type, beta) for loss_type in POLICY for beta in (0.0, BETA)),
        *(_preference_check(trainers, kind) for kind in PREFERENCE),
        *(_sft_check(trainers, kind) for kind in ("nll", "dft")),
        Check("loss rloo", f"RLOOTrainer of {name}", over_batches(partial(_rloo, trainers))),
        Check("TRL loss kto", "formula", over_batches(lambda batch: _kto(trainers, batch)), 2e-6),
        Check("TRL loss of a reward model", "formula", over_batches(lambda batch: _reward(trainers, batch)), 2e-6),
        Check("advantage group", "formula", partial(_group_advantage, trainers)),
        Check("mask entropy", "formula", over_batches(partial(_entropy_mask, trainers))),
        *(Check(f"loop with {kind}", name, partial(_loop, trainers, kind), _PARITY) for kind in POLICY),
    ]


def policy_loss(trainer: Any, new: Tensor, batch: Batch) -> Tensor:
    """The loss of a GRPOTrainer on given log-probabilities, as a scalar with a gradient.

    Args:
        trainer: of `Trainers.policy`.
        new: (B, T) log-probabilities.
        batch: everything else.
    """
    mask = torch.tensor(batch.mask)
    ones = torch.ones(len(mask), 1, dtype=torch.long)
    inputs = {
        "prompt_ids": ones,
        "prompt_mask": ones,
        "completion_ids": mask.long(),
        "completion_mask": mask.long(),
        "advantages": torch.tensor(batch.advantages[:, 0]),
        "old_per_token_logps": torch.tensor(batch.old),
        "ref_per_token_logps": torch.tensor(batch.ref),
        "num_items_in_batch": mask.sum(),
    }
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (new, torch.zeros_like(new), None)
    loss: Tensor = trainer._compute_loss(trainer.model, inputs)
    return loss


def _rloo(trainers: Trainers, batch: Batch) -> float:
    """Loss and gradient of ours and of TRL's RLOOTrainer."""
    mask = torch.tensor(batch.mask)
    ones = torch.ones(len(mask), 1, dtype=torch.long)
    inputs = {"prompt_ids": ones, "prompt_mask": ones, "completion_ids": mask.long(), "completion_mask": mask.long()}
    inputs["old_logps"] = torch.tensor((batch.old * batch.mask).sum(1))
    inputs["advantages"] = torch.tensor(batch.advantages[:, 0])

    def theirs(new: Tensor) -> Tensor:
        trainers.rloo._get_per_token_logps_and_entropies = lambda *_, **__: (new, torch.zeros_like(new), None)
        loss: Tensor = trainers.rloo._compute_loss(trainers.rloo.model, inputs)
        return loss

    def ours(new: Tensor) -> Tensor:
        given = inputs_of(batch)
        return aggregate(RLOO()(new, given), given.mask, RLOO.aggregation, tokens=1.0, longest=LONGEST)

    return same_loss(ours, theirs, batch)


def _sft_check(trainers: Trainers, kind: str) -> Check:
    def compare(batch: Batch) -> float:
        trainer, mask = trainers.sft, torch.tensor(batch.mask)
        trainer.args.loss_type = kind
        held = np.exp(batch.new) if kind == "dft" else 1.0
        ids, _ = _rows(batch)

        def loss(new: Tensor) -> Tensor:
            value: Tensor = trainer.compute_loss(
                _answering(lambda _: new * mask, label_mask=mask.bool()), {"input_ids": ids, "attention_mask": ids}
            )
            return value

        return with_gradient(loss, lambda new: float(-(held * new * batch.mask).sum() / batch.mask.sum()), batch)

    return Check(f"TRL loss {kind}", "formula", over_batches(compare))


def policy_formula(loss_type: str, beta: float, batch: Batch) -> Callable[[Array], float]:
    """Log-probabilities -> the loss of a type under `POLICY`; what has no gradient is that of the batch."""
    settings, a, mask = POLICY[loss_type], batch.advantages, batch.mask
    low, high = settings.get("epsilon", 0.2), settings.get("epsilon_high", 0.2)
    held = np.exp(batch.new - batch.old)
    forms: dict[str, Callable[[Array], Array]] = {
        "cispo": lambda new: formulas.cispo(new, held, a, high),
        "sapo": lambda new: formulas.sapo(np.exp(new - batch.old), a, 1.0, 1.05),
        "vespo": lambda new: formulas.vespo(new, held, mask, a, _VESPO),
        "luspo": lambda new: formulas.clipped(formulas.sequence_ratio(new, batch.old, mask), a, low, high),
    }
    form = forms.get(loss_type, lambda new: formulas.clipped(np.exp(new - batch.old), a, low, high))
    how = BY_LOSS_TYPE[loss_type].aggregation

    def formula(new: Array) -> float:
        losses = form(new)
        if beta:
            losses = losses + beta * formulas.k3(new, batch.ref)
        return formulas.aggregated(losses, mask, how, float(mask.sum()), LONGEST)

    return formula


def _policy_check(trainers: Trainers, loss_type: str, beta: float) -> Check:
    def measure() -> float:
        trainer = trainers.policy(loss_type, beta=beta, use_bias_correction_kl=False, **POLICY[loss_type])

        def compare(batch: Batch) -> float:
            formula = policy_formula(loss_type, beta, batch)
            return with_gradient(lambda new: policy_loss(trainer, new, batch), formula, batch)

        return over_batches(compare)()

    return Check(f"TRL loss {loss_type}{' with KL' if beta else ''}", "formula", measure)


def _answering(log_probs: Callable[[Tensor], Tensor], **more: Any) -> Callable[..., Any]:
    """A model that answers with log-probabilities for the token ids it is given, and with further outputs."""

    def answer(*, input_ids: Tensor, **_: Any) -> SimpleNamespace:
        values = log_probs(input_ids)
        rest = torch.zeros_like(values)
        return SimpleNamespace(log_probs=values, entropy=rest, mean_logits=rest, is_top1=rest.bool(), **more)

    return answer


def _rows(batch: Batch) -> tuple[Tensor, Tensor]:
    """Token ids and completion mask of rows whose first token is a prompt, (B, T + 1)."""
    mask = torch.nn.functional.pad(torch.tensor(batch.mask).long(), (1, 0))
    return torch.ones_like(mask), mask


def _preference_formula(kind: str, batch: Batch) -> Callable[[Array], float]:
    """Log-probabilities -> the loss of pairs; the first half of the rows are the chosen ones."""
    counts = np.split(batch.lengths, 2)

    def formula(new: Array) -> float:
        w, l = np.split(((new - batch.ref) * batch.mask).sum(1), 2)  # noqa: E741
        if kind == "sft":
            chosen = np.split(new * batch.mask, 2)[0]
            return float(-chosen.sum() / counts[0].sum())
        if kind == "aot":
            policy, reference = (np.split((logps * batch.mask).sum(1), 2) for logps in (new, batch.ref))
            losses = formulas.aot(policy[0] - policy[1], reference[0] - reference[1], BETA, 0.1)
        else:
            losses = formulas.with_reference(kind, w, l, (counts[0], counts[1]), BETA, 0.1)
        return float(losses.mean())

    return formula


def _preference_check(trainers: Trainers, kind: str) -> Check:
    def compare(batch: Batch) -> float:
        trainer, mask = trainers.dpo, torch.tensor(batch.mask)
        trainer.loss_types, trainer.loss_weights, trainer.step_tokens = [kind], [1.0], None
        trainer.ref_model = _answering(lambda _: torch.tensor(batch.ref) * mask)
        ids, completion_mask = _rows(batch)
        inputs = {"input_ids": ids, "attention_mask": ids, "completion_mask": completion_mask}
        return with_gradient(
            lambda new: trainer._compute_loss(_answering(lambda _: new * mask), inputs, False),
            _preference_formula(kind, batch),
            batch,
        )

    return Check(f"TRL loss {kind}", "formula", over_batches(compare))


def _kto(trainers: Trainers, batch: Batch) -> float:
    trainer, mask, labels = trainers.kto, torch.tensor(batch.mask), np.arange(len(batch.mask)) % 3 > 0
    ids, completion_mask = _rows(batch)
    kl = {"KL_input_ids": 2 * ids, "KL_attention_mask": ids, "KL_completion_mask": completion_mask}
    inputs = {"input_ids": ids, "attention_mask": ids, "completion_mask": completion_mask, **kl}
    inputs["label"] = torch.tensor(labels)

    def model(values: Tensor, mismatched: Array) -> Callable[..., Any]:
        other = torch.tensor(mismatched) * mask
        return _answering(lambda ids: other if int(ids[0, 0]) == 2 else values * mask)

    trainer.ref_model = model(torch.tensor(batch.ref), batch.values)
    z = max(0.0, float(((batch.old - batch.values) * batch.mask).sum(1).mean()))
    return with_gradient(
        lambda new: trainer._compute_loss(model(new, batch.old), inputs, False),
        lambda new: float(formulas.kto(((new - batch.ref) * batch.mask).sum(1), labels, z, BETA, (1.0, 0.7)).mean()),
        batch,
    )


def _reward(trainers: Trainers, batch: Batch) -> float:
    ids, _ = _rows(batch)
    margin = np.abs(batch.rewards[np.isnan(batch.rewards).sum(1) == 0][0])
    inputs = {"attention_mask": ids, "margin": torch.tensor(margin)}

    def score(new: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=new[:, :1])

    return with_gradient(
        lambda new: trainers.reward.compute_loss(lambda **_: score(new), dict(inputs)),
        lambda new: float(formulas.bradley_terry(new[:3, 0], new[3:, 0], margin).mean()),
        batch,
    )


class _Words(Engine):
    """An engine that writes completions of 1 to 6 tokens."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Any) -> list[list[int]]:
        return [[7] * (place * place % 6) + [self.tokenizer.eos_token_id] for place in range(len(prompts))]


def _group_advantage(trainers: Trainers) -> float:
    """The advantages that TRL computes from the rewards of a rollout."""
    rows: list[dict[str, Any]] = []
    rewards = build([_REWARD])
    loop = trainers.policy("grpo", slots=Slots(rewards=rewards, engine=_Words), on_rollout=rows.extend)
    loop._generate_and_score_completions([loop.train_dataset[place // 3] for place in range(6)])
    given = np.array([row["reward"] for row in rows]).reshape(2, 3)
    return difference([row["advantage"] for row in rows], formulas.group(given).reshape(-1))


def _entropy_mask(trainers: Trainers, batch: Batch) -> float:
    entropies = np.exp(batch.values).astype(np.float32).astype(np.float64)  # TRL ranks in 32 bits
    computed = trainers.grpo.get_high_entropy_mask(torch.tensor(entropies), torch.tensor(batch.mask), 0.8)
    return difference(computed, formulas.highest_entropies(entropies, batch.mask, 0.2))


def _loop(trainers: Trainers, loss_type: str) -> float:
    """Loss and gradients of the loop beside those of TRL's trainer, on one rollout and equal weights."""
    slots = Slots(rewards=build([_REWARD]), loss=BY_LOSS_TYPE[loss_type]())
    both = [trainers.policy(loss_type, slots=given, **POLICY[loss_type]) for given in (None, slots)]
    batch = next(batches())
    draw = torch.Generator().manual_seed(0)
    shape = batch.mask.shape
    advantages = torch.tensor(batch.advantages[:, 0], dtype=torch.float32)
    advantages[2] = 0.0  # the loop leaves such a row out
    inputs = {
        "prompt_ids": torch.randint(5, 90, (len(batch.mask), 4), generator=draw),
        "prompt_mask": torch.ones(len(batch.mask), 4, dtype=torch.long),
        "completion_ids": torch.randint(5, 90, shape, generator=draw),
        "completion_mask": torch.tensor(batch.mask).long(),
        "advantages": advantages,
        "num_items_in_batch": torch.tensor(batch.mask.sum()),
    }
    results = []
    for trainer in both:
        loss = trainer._compute_loss(trainer.model, dict(inputs))
        loss.backward()
        gradients = [parameter.grad for parameter in trainer.model.parameters() if parameter.grad is not None]
        results.append((loss, torch.cat([gradient.flatten() for gradient in gradients])))
    (stock, expected), (own, computed) = results
    return max(difference(own, stock), difference(computed / expected.abs().max(), expected / expected.abs().max()))
