"""`rlllm align`: learn from preferences, by a loss on pairs or labels, or through a reward and the loop (PPO and its kin)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from rlllm.core.errors import ConfigError
from rlllm.core.runs import Run
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import RolloutConfig
from rlllm.training import reward_cards
from rlllm.training.before_after import annotator
from rlllm.training.families import configs_of
from rlllm.training.plan import Plan, plan_training, resolve_rewards
from rlllm.training.rl_settings import LoopSettings, plan_loop


class AlignStage(LoopSettings):
    """Settings of `rlllm align`. Its rewards are what online methods maximise; other methods only measure them."""

    stage: ClassVar[str] = "align"
    trl_configs: ClassVar[tuple[str, ...]] = configs_of("dpo", "kto", "orpo", "cpo", "tpo", "rl")
    aliases: ClassVar[Mapping[str, str]] = LoopSettings.loop_aliases

    method: str = "dpo"
    """How to learn; see `rlllm methods ls --stage align`."""
    judge: RewardSpec | None = None
    """The reward that judges held-out completions before and after (a name, or `{name: model, path: RUN}`), and watches beside
    the others in an online method. Data of the procedural world are judged by its gold utility unless another is named."""
    rollout: RolloutConfig = RolloutConfig(max_new_tokens=256)
    """How completions are sampled, in training and for the judge."""
    rounds: int = Field(3, ge=1)
    """Rounds of sampling and training, for methods that work in rounds."""

    def plan(self) -> Plan:
        plan = plan_training(self, self.method)
        judge = self.judge or annotator(plan)
        if judge:
            plan = replace(plan, judge=resolve_rewards([judge], plan.loaded))
        if plan.family.name == "rl":
            plan = reward_cards.attach(
                plan_loop(plan, self._monitored(judge)), self.rewards, required=self.require_card
            )
        elif self.rewards:
            plan = replace(plan, rewards=resolve_rewards(self.rewards, plan.loaded))
        plan.family.check(plan)
        return plan

    def _monitored(self, judge: RewardSpec | None) -> list[RewardSpec]:
        """The rewards, and the judge beside them with weight 0 unless it is one of them."""
        if not self.rewards:
            raise ConfigError(
                f"method {self.method} maximises a reward, and none is named",
                hint="--reward RUN (a reward model), or a name from: rlllm rewards ls",
            )
        if judge is None or any(reward.name == judge.name and reward.params == judge.params for reward in self.rewards):
            return self.rewards
        return [*self.rewards, judge.model_copy(update={"weight": 0.0})]


def run(config: AlignStage, **options: Any) -> Run:
    """Align a model; measures it on held-out prompts before and after, if there is a judge or a reward.

    Options are those of `training.flow.run_to_verdict`: listener, resume, overwrite, recipe, command.
    """
    plan = config.plan()
    reward_cards.announce(plan, options.get("listener"))
    return plan.family.run(plan, **options)
