"""Settings of duplicates, contamination, mixtures and whole prepared folders. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError
from rlllm.data.config import DataConfig, Holdout


class NearDuplicates(Section):
    """Which rows repeat an earlier one."""

    over: Literal["row", "prompt"] = "row"
    """What is compared: the prompt with its completions or answer, or the prompt alone, which leaves one row a prompt."""
    threshold: float = Field(0.8, gt=0, le=1)
    """Least Jaccard similarity of the sets of word n-grams, as MinHash estimates it. 1 drops only rows that are equal but for
    case, white space and punctuation."""
    words: int = Field(5, ge=1, le=32)
    """Words of an n-gram; a shorter text repeats another only where both are equal."""
    same_numbers: bool = True
    """Rows whose numbers differ are different problems, however alike their words."""


class ContaminationRules(Section):
    """What of an evaluation set a training row may not hold."""

    against: list[DataConfig] = Field(default_factory=list)
    """Evaluation sets: names as in `data`. Of a set with a held-out part, that part."""
    words: int = Field(8, ge=2, le=32)
    """Words of an n-gram. A shorter evaluation prompt counts only where it is the whole prompt of a row."""
    overlap: float = Field(0.7, gt=0, le=1)
    """Least share of an evaluation prompt's n-grams in one training row (PaLM, arXiv 2204.02311, section 8)."""
    similarity: float = Field(0.5, gt=0, le=1)
    """Least Jaccard similarity of word pairs between a prompt and an evaluation prompt with the same numbers."""
    variants: int = Field(10, ge=1, le=32)
    """Most different training prompts in which an n-gram may occur to count as evidence of rewording; in more, it comes from a
    template. An n-gram in more evaluation prompts than this is not counted either. The counts are approximate."""

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and isinstance(value.get("against"), str | Mapping):
            return {**value, "against": [value["against"]]}
        return value


class Mixture(Section):
    """How many rows of each source, and in which order."""

    weights: list[float] | None = None
    """Share of each source, in the order of `sources`; they need not add up to 1. Unset: by size."""
    temperature: float | None = Field(None, gt=0)
    """Shares by size^(1/T): 1 is by size, large T is uniform."""
    rows: int | None = Field(None, ge=1)
    """Rows in all. Unset: as many as keep the shares without going over `epochs`."""
    limits: list[int | None] | None = None
    """Most rows of each source to draw from, null for all: its first ones that no check dropped."""
    fractions: list[float] | None = None
    """Share of the rows of each source to draw from, 1 for all; which rows these are is chosen by `seed`."""
    epochs: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Most times that each row of a source is used."""
    curriculum: str | None = None
    """Sort rows by this, the least first: a numeric column, or `length` for the characters of the row."""
    seed: int = 0
    """Of the choice of rows and their order."""

    @field_validator("weights", mode="before")
    @classmethod
    def _parse_weights(cls, value: Any) -> Any:
        """Accept `2,1`, the command line's spelling."""
        return value.split(",") if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_rule(self) -> Mixture:
        if self.weights is not None and self.temperature is not None:
            raise ConfigError("shares come from weights or from a temperature, not from both", hint="leave one out")
        weights = self.weights
        if weights is not None and not (all(weight >= 0 for weight in weights) and 0 < sum(weights) < float("inf")):
            raise ConfigError("weights must be finite, at least 0, and one of them more", given=weights)
        if self.limits is not None and any(limit is not None and limit < 0 for limit in self.limits):
            raise ConfigError("a limit is a number of rows", given=self.limits)
        if self.fractions is not None and not all(0 < share <= 1 for share in self.fractions):
            raise ConfigError("a fraction is above 0 and at most 1", given=self.fractions)
        return self

    def check_sources(self, sources: int) -> None:
        """Raise ConfigError where weights, limits or fractions are not one a source."""
        for name, values in (("weights", self.weights), ("limits", self.limits), ("fractions", self.fractions)):
            if values is not None and len(values) != sources:
                raise ConfigError(f"{len(values)} {name} for {sources} sources", given=values, hint="give one a source")


class Preparation(Section):
    """Settings of a prepared folder, as written in a file for `rlllm data build`."""

    sources: list[DataConfig] = Field(min_length=1)
    """What to read, in this order; of rows that repeat each other, the first stays."""
    kind: str | None = None
    """Verb, method or record type to read it as. Unset: the most specific type that fits."""
    near_duplicates: NearDuplicates | None = None
    """Which rows repeat an earlier one. Unset: none is dropped."""
    contamination: ContaminationRules = ContaminationRules()
    """Evaluation sets that training rows may not hold."""
    holdout: Holdout = 0
    """Rows to hold out, below 1 this share of those that no check dropped; whole prompts, chosen by a hash of the prompt."""
    mixture: Mixture = Mixture()
    """How many rows of each source are trained on, and in which order."""
    out: Path
    """Folder to write."""
    overwrite: bool = False
    """Replace a folder that was prepared otherwise."""

    @model_validator(mode="before")
    @classmethod
    def _widen(cls, value: Any) -> Any:
        """Accept one source without a list, and `near_duplicates: true` or its threshold."""
        if not isinstance(value, dict):
            return value
        wide = dict(value)
        if isinstance(wide.get("sources"), str | dict):
            wide["sources"] = [wide["sources"]]
        near = wide.get("near_duplicates")
        if isinstance(near, bool):
            wide["near_duplicates"] = {} if near else None
        elif isinstance(near, int | float):
            wide["near_duplicates"] = {"threshold": near}
        return wide

    @model_validator(mode="after")
    def _fits(self) -> Preparation:
        self.mixture.check_sources(len(self.sources))
        with_holdout = [source.name for source in self.sources if source.holdout is not None]
        if with_holdout:
            raise ConfigError(
                "rows are held out of all sources together", given=with_holdout[0], hint="write holdout beside sources"
            )
        return self

    @classmethod
    def with_settings(cls, values: Mapping[str, Any], overrides: Iterable[tuple[str, Any]]) -> Preparation:
        """The settings of a file, with dotted keys that win over them. Raises ConfigError for values that do not fit."""
        merged = dict(values)
        for key, value in overrides:
            *path, last = key.replace("-", "_").split(".")
            node = merged
            for part in path:
                inner = node.get(part)
                node[part] = dict(inner) if isinstance(inner, Mapping) else {}
                node = node[part]
            node[last] = value
        return cls.checked(merged)

    def settings(self, *, given: bool = False) -> dict[str, Any]:
        """The settings that decide the rows, without the output folder; `given` leaves out defaults."""
        return self.model_dump(mode="json", exclude={"out", "overwrite"}, exclude_unset=given)
