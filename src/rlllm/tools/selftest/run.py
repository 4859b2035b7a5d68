"""All checks of an installation, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlllm.tools.selftest.check import Check, Result


def selftest(say: Callable[[str], None] = lambda _: None) -> Iterator[Result]:
    """Compare everything that is computed here with the formulas and the libraries that are installed.

    A part that cannot be loaded with what is installed is one failed result. `polgrad`, a second implementation of the
    formulas of TRL, verl and OpenRLHF, is not required; where it is missing, its comparisons are left out.

    Args:
        say: called with the name of each group of checks before it starts.
    """
    from rlllm.core.errors import describe
    from rlllm.launch import local
    from rlllm.tools.selftest.check import EXACT, Result

    local.prepare()
    groups = {"formulas": _own, "TRL": _trl}
    if find_spec("polgrad"):
        groups["polgrad"] = _polgrad
    for name, load in groups.items():
        say(name)
        try:
            checks = load()
        except Exception as error:
            yield Result(f"everything of {name}", name, None, EXACT, describe(error))
            continue
        for check in checks:
            yield check.run()


def _own() -> list[Check]:
    from rlllm.tools.selftest.own_parts import checks

    return checks()


def _trl() -> list[Check]:
    from rlllm.tools.selftest.trl_parts import checks

    return checks()


def _polgrad() -> list[Check]:
    from rlllm.tools.selftest.polgrad_parts import checks

    return checks()
