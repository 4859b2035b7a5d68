"""What each process measured of its own rows is logged as the mean over all processes: the log is of the whole batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.algorithms.loss_computation import merged


class SharedLog:
    """Mixin before GRPOTrainer: wraps `log`."""

    accelerator: Any
    model: Any
    _metrics: Any

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self.accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            own = self._metrics["train" if self.model.training else "eval"]
            own.update(of_all(gather_object([{name: list(values) for name, values in own.items()}])))
        super().log(logs, *args, **kwargs)  # type: ignore[misc]


def of_all(processes: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    """The values of each metric as the whole batch would have had them, from those of every process.

    What every process has noted equally often is averaged value by value; extremes are kept as extremes. A value that all
    processes have gathered already stays what it is.

    Args:
        processes: metric -> its values since the last log, of each process.
    """
    names = dict.fromkeys(name for values in processes for name in values)
    together: dict[str, list[float]] = {}
    for name in names:
        columns = [values[name] for values in processes if name in values]
        if len({len(column) for column in columns}) == 1:
            together[name] = [merged(name, row, [1.0] * len(row)) for row in zip(*columns, strict=True)]
        else:
            together[name] = [value for column in columns for value in column]
    return together
