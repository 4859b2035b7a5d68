"""The child process of the `math` reward: answers each JSON line with one. Imports math-verify and nothing of rlllm.

It sets no time limits of its own: the parent kills it, and alone hears Ctrl-C.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1024)
def _parse(text: str) -> list[Any]:
    from math_verify import parse

    return parse(text, parsing_timeout=None)


def answer(request: dict[str, str]) -> dict[str, Any]:
    """`{gold}` asks whether the reference can be read; `{gold, answer}` whether the two are equal."""
    from math_verify import verify

    if "gold" not in request:
        return {"ready": True}
    gold = _parse(request["gold"])
    if "answer" not in request:
        return {"gold": _is_read(gold)}
    found = _parse(request["answer"])
    if not found:
        return {"unreadable": True}
    shown = next((str(item) for item in found if isinstance(item, str)), None)
    return {"equal": bool(verify(gold, found, timeout_seconds=None)), "answer": shown}


def _is_read(parsed: list[Any]) -> bool:
    """math-verify falls back to the raw text, which is no reading."""
    return any(not isinstance(item, str) for item in parsed)


def main() -> None:
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:
            reply = {"unreadable": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
