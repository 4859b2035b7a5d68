"""Score parsing: what a reward returned, read as a `Score` or as a `Failure`. A failure never becomes a number.

A number is what Python counts as real (booleans and NumPy's scalars included). A tensor is none: it may carry a gradient and
sit on a device, so the reward has to call `.item()` itself.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from numbers import Real
from typing import Any

from rlllm.core.errors import RlllmError, describe
from rlllm.core.plugin_errors import PluginPlace, existing_attributes, plugin_place
from rlllm.core.records import Sample, Score
from rlllm.core.redaction import without_keys
from rlllm.core.stop_signals import raise_swallowed_stop
from rlllm.core.watchdog import scoring_sample

_LONGEST_MESSAGE = 300
_NO_LISTS = (str, bytes, bytearray, Mapping, set, frozenset)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a reward has no score for a sample, as the rest of a sentence that begins with the reward's name."""

    phrase: str
    seconds: float | None = field(default=None, compare=False)
    """How long the call took, where it was timed."""


def scored(
    score_sample: Callable[[Sample], Any] | None,
    score_batch: Callable[[Sequence[Sample]], Any] | None,
    samples: Sequence[Sample],
) -> list[Score | Failure]:
    """Call a reward in this process and thread, and read what it returns; one result for each sample.

    Args:
        score_sample, score_batch: the reward's two forms, of which exactly one is set.

    Raises:
        RlllmError: the reward found its own setup wrong.
    """
    if score_batch is None:
        assert score_sample is not None
        return [_attempt(partial(_read_one, score_sample, sample), score_sample) for sample in samples]
    results = _attempt(partial(_read_all, score_batch, samples), score_batch)
    return [results] * len(samples) if isinstance(results, Failure) else results


def read(raw: Any) -> Score | Failure:
    """The score in a raw return value (a boolean counts as 0 or 1), or what is wrong with it."""
    if isinstance(raw, Failure):
        return raw
    score = raw if isinstance(raw, Score) else Score(raw)
    value = score.value
    if value is not None:
        if not isinstance(value, Real):
            return Failure(f"returned {_kind(value)}, not a number")
        try:
            value = float(value)
        except OverflowError:
            return Failure("returned a number too large for a float")
        if not math.isfinite(value):
            return Failure("returned NaN" if math.isnan(value) else f"returned {value}")
    return Score(value, _text(score.parsed), without_keys(_text(score.note)))


def failure(error: BaseException, seconds: float | None = None, reward: object = None) -> Failure:
    """An exception of a reward with the file and line it came from and, for a misspelt field of a record, the fields there are.

    Args:
        reward: the function or object that raised it.
    """
    try:
        text = describe(error)
    except Exception:  # an exception whose own __str__ raises
        text = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = plugin_place(error, reward)
    place = own or (PluginPlace(frames[-1].filename, frames[-1].lineno or 0) if frames else None)
    fields = existing_attributes(error)
    phrase = f"raised {text[:_LONGEST_MESSAGE]}" + (f" ({place})" if place else "")
    return Failure(phrase + (f"; it has {', '.join(fields)}" if fields else ""), seconds)


def late(limit: float | None, seconds: float, place: str = "") -> Failure:
    """What is said of a sample whose deadline passed."""
    return Failure(f"took longer than {limit:g} s{place}", seconds)


def _read_one(reward: Callable[[Sample], Any], sample: Sample) -> Score | Failure:
    scoring_sample(sample.prompt, sample.completion)
    return read(reward(sample))


def _read_all(reward: Callable[[Sequence[Sample]], Any], samples: Sequence[Sample]) -> list[Score | Failure] | Failure:
    return _as_list(reward(samples), len(samples))


def _attempt(call: Callable[[], Any], reward: object) -> Any:
    start = time.perf_counter()
    try:
        result = call()
    except (RlllmError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit in a reward must not end the run, least of all with code 0
        raise_swallowed_stop()
        return failure(error, time.perf_counter() - start, reward)
    raise_swallowed_stop()
    return Failure(result.phrase, time.perf_counter() - start) if isinstance(result, Failure) else result


def _as_list(returned: Any, expected: int) -> list[Score | Failure] | Failure:
    if isinstance(returned, Failure):
        return returned
    if isinstance(returned, _NO_LISTS) or not _can_be_listed(returned):
        return Failure(f"returned {_kind(returned)} from score_batch, not a list")
    values = list(islice(returned, expected + 1))
    if len(values) > expected:
        return Failure(f"returned more values from score_batch than the {expected} samples it was given")
    if len(values) < expected:
        return Failure(f"returned {len(values)} values from score_batch for {expected} samples")
    return [read(value) for value in values]


def _can_be_listed(value: Any) -> bool:
    return (
        isinstance(value, Iterable) and getattr(value, "shape", (0,)) != ()
    )  # a 0-dim array has __iter__, and refuses


def _kind(value: object) -> str:
    """A type's name, with its package where it has one to be looked up in."""
    package = type(value).__module__.partition(".")[0]
    own = package in ("builtins", "__main__") or package.startswith("rlllm_file_")
    return type(value).__name__ if own else f"{package}.{type(value).__name__}"


def _text(value: object) -> str | None:
    return None if value is None else str(value)
