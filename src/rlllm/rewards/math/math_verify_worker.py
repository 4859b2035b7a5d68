"""The child process of the `math` reward: answers each JSON line with one. Imports math-verify, and of rlllm the loop alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rlllm.rewards.isolation.script_loop import serve


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[list[Any], bool]:
    """math-verify's reading, and whether it is of the first thing found: in a box, of everything inside."""
    from math_verify import parse

    first = parse(text, parsing_timeout=None, extraction_mode="first_match")
    if _is_read(first):
        return first, True
    return parse(text, parsing_timeout=None), False


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """`{gold}` asks whether the reference can be read; `{gold, answer}` if the two are equal; `{}` if all is loaded."""
    from math_verify import verify

    if "gold" not in request:
        return {"ready": _is_read(_parse(r"\boxed{1}")[0])}  # loads sympy, which on a busy machine outlasts a deadline
    gold, _ = _parse(request["gold"])
    if "answer" not in request:
        return {"gold": _is_read(gold)}
    reading, whole = _parse(request["answer"])
    if not reading:
        return {"unreadable": True}
    text = next((str(item)[:200] for item in reading if isinstance(item, str)), None)
    equal = bool(verify(gold, reading, timeout_seconds=None)) and not _only_rounded(gold, reading)
    return {"equal": equal, "whole": whole, "answer": text}


def _only_rounded(gold: list[Any], reading: list[Any]) -> bool:
    """Whether two numbers differ, and are one only to six decimals: math-verify takes all that is below 5e-7 for equal."""
    from sympy import Expr

    sides = [next((item for item in side if isinstance(item, Expr)), None) for side in (gold, reading)]
    if any(side is None or side.free_symbols or not side.is_number for side in sides):
        return False
    first, second = (complex(side.evalf(30)) for side in sides if side is not None)
    distance, size = abs(first - second), max(abs(first), abs(second))
    return distance < 1e-5 and distance > 1e-5 * size


def _is_read(parsed: list[Any]) -> bool:
    """math-verify falls back to the raw text, which is no reading."""
    return any(not isinstance(item, str) for item in parsed)


if __name__ == "__main__":
    serve(answer)
