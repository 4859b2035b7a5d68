"""What authors of plugins import: the types that a component receives, returns, or inherits from.

A plugin is a reward, metric, dataset, dataset schema, sampler, advantage, mask, loss, signal, engine, environment, trainer,
monitor or method of your own. `docs/guides/plugins/` has a page for each kind. The names below are loaded on first use, so that
importing this module loads no model library. A name is public if it stands here or in `rlllm`; others may change at any time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names again, since type checkers cannot follow the table below
    from rlllm.algorithms.batch import RolloutBatch as RolloutBatch
    from rlllm.algorithms.checkpoints import SealedCheckpoints as SealedCheckpoints
    from rlllm.algorithms.forward_pass import ForwardView as ForwardView
    from rlllm.algorithms.losses.base import LossInputs as LossInputs
    from rlllm.algorithms.methods.base import Method as Method
    from rlllm.algorithms.protocols import Advantage as Advantage
    from rlllm.algorithms.protocols import Candidates as Candidates
    from rlllm.algorithms.protocols import Context as Context
    from rlllm.algorithms.protocols import Dialogue as Dialogue
    from rlllm.algorithms.protocols import Erasure as Erasure
    from rlllm.algorithms.protocols import Loss as Loss
    from rlllm.algorithms.protocols import Mask as Mask
    from rlllm.algorithms.protocols import OffPolicy as OffPolicy
    from rlllm.algorithms.protocols import Reflection as Reflection
    from rlllm.algorithms.protocols import Sampler as Sampler
    from rlllm.algorithms.protocols import Setup as Setup
    from rlllm.algorithms.signals.base import Signal as Signal
    from rlllm.algorithms.signals.base import SignalContext as SignalContext
    from rlllm.algorithms.stored_group import StoredGroup as StoredGroup
    from rlllm.core.config import Section as Section
    from rlllm.core.errors import ConfigError as ConfigError
    from rlllm.core.errors import DataError as DataError
    from rlllm.core.errors import ModelError as ModelError
    from rlllm.core.errors import PluginError as PluginError
    from rlllm.core.errors import RewardError as RewardError
    from rlllm.core.errors import RlllmError as RlllmError
    from rlllm.core.events import ProgressCallback as ProgressCallback
    from rlllm.core.images import open_image as open_image
    from rlllm.core.records import Conversation as Conversation
    from rlllm.core.records import LabelledCompletion as LabelledCompletion
    from rlllm.core.records import PreferencePair as PreferencePair
    from rlllm.core.records import PromptTask as PromptTask
    from rlllm.core.records import Sample as Sample
    from rlllm.core.records import Score as Score
    from rlllm.core.records import StepwiseSolution as StepwiseSolution
    from rlllm.core.records import images_of as images_of
    from rlllm.data.request import DataRequest as DataRequest
    from rlllm.data.schemas.base import RowError as RowError
    from rlllm.data.schemas.base import RowSchema as RowSchema
    from rlllm.evals.items import record_row as record_row
    from rlllm.evals.items import sampled_row as sampled_row
    from rlllm.evals.metrics.base import ExternalTask as ExternalTask
    from rlllm.evals.metrics.base import Metric as Metric
    from rlllm.evals.monitors.dynamics.base import Finding as Finding
    from rlllm.evals.monitors.dynamics.base import LoggedStep as LoggedStep
    from rlllm.evals.monitors.dynamics.base import Monitor as Monitor
    from rlllm.evals.monitors.dynamics.base import TrainingFacts as TrainingFacts
    from rlllm.evals.request import EvalRequest as EvalRequest
    from rlllm.evals.request import Evaluation as Evaluation
    from rlllm.evals.statistics.intervals import Interval as Interval
    from rlllm.evals.statistics.intervals import mean_interval as mean_interval
    from rlllm.rewards.bound import BoundReward as BoundReward
    from rlllm.rewards.composition import Composition as Composition
    from rlllm.rollouts.config import SamplingConfig as SamplingConfig
    from rlllm.rollouts.engines.base import Engine as Engine
    from rlllm.rollouts.environments.base import Environment as Environment
    from rlllm.training.before_after import measure_alignment as measure_alignment
    from rlllm.training.flow import Job as Job
    from rlllm.training.flow import train as train
    from rlllm.training.plan import Plan as Plan
    from rlllm.training.plan import start_plan as start_plan
    from rlllm.training.settings import PreferenceSettings as PreferenceSettings
    from rlllm.training.settings import TrainingConfig as TrainingConfig
    from rlllm.training.trainers.base import Trainer as Trainer
    from rlllm.training.trainers.preference import build_trainer as build_trainer
    from rlllm.training.trainers.preference import label_rows as label_rows
    from rlllm.training.trainers.preference import pair_rows as pair_rows
    from rlllm.training.trainers.preference import plan_preferences as plan_preferences
    from rlllm.training.trainers.preference import reference_of as reference_of

_PUBLIC = {
    "Advantage": "rlllm.algorithms.protocols",
    "BoundReward": "rlllm.rewards.bound",
    "build_trainer": "rlllm.training.trainers.preference",
    "Candidates": "rlllm.algorithms.protocols",
    "Composition": "rlllm.rewards.composition",
    "ConfigError": "rlllm.core.errors",
    "Context": "rlllm.algorithms.protocols",
    "Conversation": "rlllm.core.records",
    "DataError": "rlllm.core.errors",
    "DataRequest": "rlllm.data.request",
    "Dialogue": "rlllm.algorithms.protocols",
    "Engine": "rlllm.rollouts.engines.base",
    "Environment": "rlllm.rollouts.environments.base",
    "Erasure": "rlllm.algorithms.protocols",
    "EvalRequest": "rlllm.evals.request",
    "Evaluation": "rlllm.evals.request",
    "ExternalTask": "rlllm.evals.metrics.base",
    "Finding": "rlllm.evals.monitors.dynamics.base",
    "ForwardView": "rlllm.algorithms.forward_pass",
    "images_of": "rlllm.core.records",
    "Interval": "rlllm.evals.statistics.intervals",
    "Job": "rlllm.training.flow",
    "label_rows": "rlllm.training.trainers.preference",
    "LabelledCompletion": "rlllm.core.records",
    "LoggedStep": "rlllm.evals.monitors.dynamics.base",
    "Loss": "rlllm.algorithms.protocols",
    "LossInputs": "rlllm.algorithms.losses.base",
    "Mask": "rlllm.algorithms.protocols",
    "mean_interval": "rlllm.evals.statistics.intervals",
    "measure_alignment": "rlllm.training.before_after",
    "Method": "rlllm.algorithms.methods.base",
    "Metric": "rlllm.evals.metrics.base",
    "ModelError": "rlllm.core.errors",
    "Monitor": "rlllm.evals.monitors.dynamics.base",
    "OffPolicy": "rlllm.algorithms.protocols",
    "open_image": "rlllm.core.images",
    "pair_rows": "rlllm.training.trainers.preference",
    "Plan": "rlllm.training.plan",
    "plan_preferences": "rlllm.training.trainers.preference",
    "PluginError": "rlllm.core.errors",
    "PreferencePair": "rlllm.core.records",
    "PreferenceSettings": "rlllm.training.settings",
    "ProgressCallback": "rlllm.core.events",
    "PromptTask": "rlllm.core.records",
    "record_row": "rlllm.evals.items",
    "reference_of": "rlllm.training.trainers.preference",
    "Reflection": "rlllm.algorithms.protocols",
    "RewardError": "rlllm.core.errors",
    "RlllmError": "rlllm.core.errors",
    "RolloutBatch": "rlllm.algorithms.batch",
    "RowError": "rlllm.data.schemas.base",
    "RowSchema": "rlllm.data.schemas.base",
    "Sample": "rlllm.core.records",
    "sampled_row": "rlllm.evals.items",
    "Sampler": "rlllm.algorithms.protocols",
    "SamplingConfig": "rlllm.rollouts.config",
    "Score": "rlllm.core.records",
    "SealedCheckpoints": "rlllm.algorithms.checkpoints",
    "Section": "rlllm.core.config",
    "Setup": "rlllm.algorithms.protocols",
    "Signal": "rlllm.algorithms.signals.base",
    "SignalContext": "rlllm.algorithms.signals.base",
    "start_plan": "rlllm.training.plan",
    "StepwiseSolution": "rlllm.core.records",
    "StoredGroup": "rlllm.algorithms.stored_group",
    "train": "rlllm.training.flow",
    "Trainer": "rlllm.training.trainers.base",
    "TrainingConfig": "rlllm.training.settings",
    "TrainingFacts": "rlllm.evals.monitors.dynamics.base",
}
"""Name -> module that defines it."""
__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'rlllm.plugins' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
