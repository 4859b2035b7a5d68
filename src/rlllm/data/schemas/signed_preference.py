"""Pairs from two responses and a signed strength of preference, the form of HelpSteer2-Preference and HelpSteer3."""

from __future__ import annotations

from typing import Any

from rlllm.data.schemas.base import Converter, Row, number, text, without


def pair_by_sign(prompt: str, first: str, second: str, strength: str) -> Converter:
    """A pair from these columns. A negative strength prefers the first response, a positive one the second, 0 neither."""

    def convert(row: Row) -> list[dict[str, Any]]:
        signed = number(row[strength], strength)
        responses = {name: text(row[name], name) for name in (first, second)}
        if signed == 0:
            return []
        better, worse = (first, second) if signed < 0 else (second, first)
        sides = {"chosen": responses[better], "rejected": responses[worse], "margin": abs(signed)}
        return [{**without(row, prompt, first, second), "prompt": row[prompt], **sides}]

    return convert
