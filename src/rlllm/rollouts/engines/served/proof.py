"""Whether a copy of the policy has the policy's weights: log-probabilities of fixed tokens, by both.

Four things are looked at, since each alone lets something through:

* how far the copy's log-probabilities are from the policy's, against a tolerance for the number format;
* whether the copy's moved at all when the policy's did: bit for bit the same means that nothing was loaded, however small the
  step (a copy that was wrong before may be right by accident, such as one that was left in a trial);
* which share of the policy's move the copy did not make, which is seen far below the tolerance, since the copy's rounding does
  not point into the direction of the step. In 16 bits the policy's own rounding does: there the step has to stand out from it;
* whether the distance grew to several times that of the sync before, by more than a step of that size explains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCES = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 2e-1}
"""Number format of the policy's forward pass -> mean absolute difference in nats that rounding may make."""
_ROUGH = 1e-2
"""Tolerance from which numbers have 16 bits: SmolLM2 in bfloat16 with all its weights differs by 0.1 on average, 3 at most."""
_LARGEST = {False: 10.0, True: 50.0}
"""Whether numbers have 16 bits -> how many tolerances the largest difference of a token may be."""
_RESOLUTION = 1e-3
"""Share of the tolerance from which a move of the policy is one that a copy has to show, too."""
_EXACT = 1e-3
"""Nats (root mean square) up to which a copy counts as exact."""
_MISSING = {True: 0.003, False: 0.1}
"""Whether the copy was exact before -> share of the policy's move that may be missing."""
_CLEAR = 3.0
"""Times a copy's distance that the policy's move has to be, where the copy is not exact: the policy rounds, too, and what its
own rounding adds to the move is in no copy."""
_GROWN = {True: 2.0, False: 4.0}
"""Whether the copy was exact before -> times that the distance may grow from one sync to the next,"""
_SHARE_OF_MOVE = {True: 0.002, False: 0.1}
"""or, whether the copy was exact before -> the share of the policy's move that it may be."""
_CERTAIN = 6.0
"""Standard errors by which a missing share has to stand out."""


@dataclass(frozen=True)
class Scores:
    """(N,) log-probabilities in nats of the same tokens, float64.

    Args:
        policy: by the model that trains.
        copy: by the one that samples.
    """

    policy: Tensor
    copy: Tensor

    @property
    def distance(self) -> Tensor:
        return (self.copy - self.policy).abs()


@dataclass(frozen=True)
class Finding:
    """What is wrong with a copy.

    Args:
        kind: `stale`, `partial` or `different`.
        largest, mean: of the absolute differences, in nats; infinite where a value is no number.
        tolerance: of the mean.
        missing: share of the policy's last move that the copy did not make; None where the policy did not move.
    """

    kind: str
    largest: float
    mean: float
    tolerance: float
    missing: float | None = None

    def describe(self) -> str:
        """The numbers as a phrase."""
        text = f"max |dlogp| {self.largest:.3g}, mean {self.mean:.3g} (tolerance {self.tolerance:g})"
        return text if self.missing is None else f"{text}, {self.missing:.0%} of the policy's last change missing"


def judge(now: Scores, before: Scores | None, tolerance: float) -> Finding | None:
    """What is wrong with the copy; None if nothing is.

    Args:
        now: after the sync.
        before: of the last sync that was found right, or of the start, when the copy may have had other weights; or None.
        tolerance: mean absolute difference in nats that rounding may make.
    """
    largest, mean = float(now.distance.max()), float(now.distance.mean())
    if not math.isfinite(largest):
        return Finding("different", math.inf, math.inf, tolerance)
    finding = Finding("different", largest, mean, tolerance)
    moved = None if before is None else now.policy - before.policy
    if before is not None and moved is not None and _size(moved) > tolerance * _RESOLUTION:
        right_before = float(before.distance.mean()) <= tolerance
        if bool((now.copy == before.copy).all()) and (right_before or mean > tolerance):
            return Finding("stale", largest, mean, tolerance, 1.0)
        if right_before:
            finding = _of_move(finding, now, before, moved)
    if finding.kind != "different" or mean > tolerance or largest > _LARGEST[tolerance >= _ROUGH] * tolerance:
        return finding
    return None


def _of_move(finding: Finding, now: Scores, before: Scores, moved: Tensor) -> Finding:
    """The finding by how the copy, which was right before, followed the policy's move."""
    missing, error = _missing(now, before, moved)
    kind, noise = finding.kind, max(_size(before.distance), finding.tolerance * _RESOLUTION)
    exact = noise < _EXACT
    clear = exact or _size(moved) > _CLEAR * noise
    if clear and abs(missing) > max(_MISSING[exact], _CERTAIN * error):
        kind = "stale" if 0.95 < missing < 1.05 else "partial"
    elif _size(now.distance) > max(_GROWN[exact] * noise, _SHARE_OF_MOVE[exact] * _size(moved)):
        kind = "partial"
    return Finding(kind, finding.largest, finding.mean, finding.tolerance, missing)


def _size(values: Tensor) -> float:
    """Root mean square."""
    return float(values.square().mean().sqrt())


def _missing(now: Scores, before: Scores, moved: Tensor) -> tuple[float, float]:
    """The share of `moved` that the copy did not make, by least squares without an intercept, and its standard error."""
    size = float(moved.square().sum())
    short = moved - (now.copy - before.copy)
    share = float((short * moved).sum()) / size
    residual = short - share * moved
    error = math.sqrt(float(residual.square().sum()) / max(len(moved) - 1, 1) / size)
    return share, error


def probe_rows(vocabulary: int, left_out: set[int], text_ids: list[int], rows: int, length: int) -> list[list[int]]:
    """Fixed rows of token ids: half of them ordinary text, half drawn from the whole vocabulary, which no text reaches.

    Args:
        vocabulary: number of token ids the model knows.
        left_out: ids that stand for something else than text, such as images.
        text_ids: of the text, which is repeated where it is too short.
        rows: how many, at least 2.
        length: tokens of each.
    """
    allowed = torch.tensor([token for token in range(vocabulary) if token not in left_out])
    generator = torch.Generator().manual_seed(0)
    drawn = allowed[torch.randint(len(allowed), (rows - rows // 2, length), generator=generator)].tolist()
    written = rows // 2 if text_ids else 0
    repeated = text_ids * (1 + (written * length) // max(len(text_ids), 1))
    texts = [repeated[row * length : (row + 1) * length] for row in range(written)]
    return [*texts, *drawn] if written else [*drawn, *drawn[: rows // 2]]


@torch.no_grad()
def scores_by(model: object, rows: list[list[int]]) -> Tensor:
    """(rows x (length - 1),) log-probabilities in nats, float64, of every token after the first, at temperature 1.

    The model is used in evaluation mode, row by row in its own precision, and left in the mode it was in.

    Args:
        rows: token ids, all of the same length.
    """
    was_training = model.training  # type: ignore[attr-defined]
    model.eval()  # type: ignore[attr-defined]
    try:
        device = next(model.parameters()).device  # type: ignore[attr-defined]
        parts = []
        for row in rows:
            ids = torch.tensor([row], device=device)
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits  # type: ignore[operator]
            logps = logits[0, :-1].float().log_softmax(-1)
            parts.append(logps.gather(1, ids[0, 1:, None])[:, 0].double().cpu())
        return torch.cat(parts)
    finally:
        model.train(was_training)  # type: ignore[attr-defined]
