"""Arguments of recipes: converted to what the signature declares, or refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from rlllm.core.argument_types import converted
from rlllm.core.errors import ConfigError


@dataclass
class Part:
    rounds: int = 4
    share: float = 0.5
    ends: tuple[float, float] = (0.0, 1.0)


def plain(first, second: int = 0):  # type: ignore[no-untyped-def]
    return first, second


@pytest.mark.parametrize(
    ("target", "given", "expected"),
    [
        (Part, {"rounds": "3", "share": 1}, {"rounds": 3, "share": 1.0}),
        (Part, {"ends": [1, 2]}, {"ends": (1.0, 2.0)}),
        (plain, {"first": "3", "second": "3"}, {"first": "3", "second": 3}),
        (Part, {"unheard_of": "3"}, {"unheard_of": "3"}),
        (len, {"obj": 3}, {"obj": 3}),
    ],
)
def test_arguments_become_what_the_signature_declares(
    target: Any, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert converted(target, given, "the part") == expected


@pytest.mark.parametrize("value", ["x", 2.5, None, [1]])
def test_what_cannot_be_the_declared_type_is_refused_with_name_and_value(value: Any) -> None:
    with pytest.raises(ConfigError, match="rounds of sampler dynamic: input should be a valid integer") as caught:
        converted(Part, {"rounds": value}, "sampler dynamic")
    assert caught.value.given == f"rounds: {value!r}"
