"""The `verifiers` reward: what the rewards of the row's task of a verifiers taskset say of the completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlllm.core.records import Sample, Score
from rlllm.data.others.verifiers import CONFIG, TASK, TASKSET, Taskset, judged, on_loop


@dataclass(frozen=True)
class VerifiersTask:
    """The weighted sum of the rewards of the row's task; None for rows of other data sets, and for tasks that reward nothing.

    The functions are those of the taskset, run in this process. In `environment=verifiers` the reward `environment` is the
    same, and also sees the state that the tools left behind.
    """

    verifies = True

    def __call__(self, sample: Sample) -> Score:
        if TASK not in sample.meta:
            return Score(None, note="the row is not from a taskset of verifiers")
        taskset = Taskset.named(sample.meta[TASKSET], sample.meta.get(CONFIG) or {})
        work = judged(taskset, sample.meta[TASK], sample.prompt, _turns(sample), taskset.new_state())
        reward = on_loop(work)
        return Score(reward, note="the task rewards nothing") if reward is None else Score(reward)


def _turns(sample: Sample) -> Sequence[Mapping[str, Any]]:
    return sample.meta.get("transcript") or [{"role": "assistant", "content": sample.completion}]
