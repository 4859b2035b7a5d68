"""The `calculator` environment: a tool that evaluates an arithmetic expression exactly."""

from __future__ import annotations

from typing import Any

from rlllm.parsing.expressions import evaluate


class Calculator:
    """One tool and no state. It judges nothing: take a reward that reads the answer, such as `exact`."""

    def reset(self, **row: Any) -> None:
        """Nothing is left from the rollout before."""

    def calculate(self, expression: str) -> str:
        """Work out an arithmetic expression.

        Args:
            expression: Whole numbers with + - * / and brackets, such as 3 * (4 + 5).

        Returns:
            The exact value: a whole number, or a fraction such as 7/2.
        """
        value, _ = evaluate(expression)
        return str(value)
