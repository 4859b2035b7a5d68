r"""The kinds of answers that math-verify documents, labelled by hand: the reward and math-verify agree on every one."""

from __future__ import annotations

import logging

import pytest

from rlllm.core.records import Sample
from rlllm.rewards.math.reward import Math

EXAMPLES = [
    # reference, answer, equal
    # numbers and their forms
    ("42", "42", True),
    ("42", "42.0", True),
    ("42", "43", False),
    ("-5", "-5", True),
    ("-5", "5", False),
    ("1000", "1,000", True),
    ("1,000,000", "1000000", True),
    ("0.5", "1/2", True),
    ("\\frac{1}{3}", "0.333333", True),
    ("\\frac{1}{3}", "0.3", False),
    ("\\frac{1}{2}", "\\frac12", True),
    ("\\frac{3}{4}", "\\dfrac{6}{8}", True),
    ("\\frac{5}{2}", "2\\frac{1}{2}", True),
    ("1024", "2^{10}", True),
    ("1000", "10^3", True),
    ("6000", "6 \\times 10^3", True),
    ("120", "5!", True),
    ("10", "\\binom{5}{2}", True),
    # percent
    ("50\\%", "50%", True),
    ("50\\%", "0.5", True),
    ("9\\%", "9", True),
    ("50\\%", "60\\%", False),
    # units and text
    ("10", "10 \\text{ cm}", True),
    ("10", "10\\text{ m}^2", True),
    ("90", "90^\\circ", True),
    ("10", "\\$10", True),
    ("\\text{east}", "\\text{East}", True),
    ("A", "A", True),
    ("A", "B", False),
    # roots, constants, functions
    ("2\\sqrt{2}", "\\sqrt{8}", True),
    ("\\sqrt{2}", "1.414214", True),
    ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}", True),
    ("\\frac{\\pi}{2}", "\\pi/2", True),
    ("\\pi", "3.14", False),
    ("3", "\\log_2 8", True),
    ("\\ln(2)", "\\log(2)", False),
    ("1", "\\sin^2 x + \\cos^2 x", True),
    ("\\frac{1}{2}", "\\sin(\\frac{\\pi}{6})", True),
    # expressions
    ("x^2+2x+1", "(x+1)^2", True),
    ("x+y", "y+x", True),
    ("x+1", "x+2", False),
    ("x+1", "y+1", False),
    ("\\frac{x+1}{2}", "\\frac{x}{2}+\\frac{1}{2}", True),
    ("e^{2x}", "(e^x)^2", True),
    # equations and relations
    ("5", "x = 5", True),
    ("x = 5", "5", True),
    ("x = 5", "y = 5", False),
    ("y = 2x + 1", "y = 2x + 1", True),
    ("2x + y = 3", "y + 2x = 3", True),
    ("y = 2x + 1", "y = 2x - 1", False),
    ("x < 3", "3 > x", True),
    ("x < 3", "x \\leq 3", False),
    ("1 < x < 2", "(1, 2)", True),
    # sets, lists, tuples
    ("\\{1, 2, 3\\}", "\\{3, 2, 1\\}", True),
    ("\\{1, 2\\}", "1, 2", True),
    ("1, 2", "1 \\text{ and } 2", True),
    ("1, 2", "1", False),
    ("\\{1, 2\\}", "\\{1, 3\\}", False),
    ("\\pm 3", "3, -3", True),
    ("3", "\\pm 3", False),
    ("(1, 2)", "(1,2)", True),
    ("(1, 2)", "(2, 1)", False),
    ("(1, 2, 3)", "(1, 2, 3)", True),
    ("\\{1\\} \\cup \\{2\\}", "\\{1, 2\\}", True),
    # intervals
    ("[0, 1)", "[0,1)", True),
    ("[0, 1)", "(0, 1)", False),
    ("[0, 1)", "[0, 1]", False),
    ("(-\\infty, 3)", "\\left(-\\infty, 3\\right)", True),
    ("(-\\infty, 1) \\cup (2, \\infty)", "(2, \\infty) \\cup (-\\infty, 1)", True),
    ("[\\frac{1}{2}, 1]", "[0.5, 1]", True),
    # matrices
    (
        "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
        "\\begin{bmatrix} 1 & 2 \\\\ 3 & 4 \\end{bmatrix}",
        True,
    ),
    (
        "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
        "\\begin{pmatrix} 1 & 3 \\\\ 2 & 4 \\end{pmatrix}",
        False,
    ),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ \\frac{4}{2} \\end{pmatrix}", True),
    # complex numbers
    ("2 + 3i", "3i + 2", True),
    ("3 - i", "-i + 3", True),
]


@pytest.mark.parametrize(("reference", "answer", "equal"), EXAMPLES)
def test_reward_and_math_verify_agree_with_the_label(reference: str, answer: str, equal: bool) -> None:
    reward = Math(timeout=20.0, workers=1)
    assert reward(Sample("question", f"It is $\\boxed{{{answer}}}$.", reference)).value == float(equal)
    assert math_verify_says(reference, answer) is equal


def math_verify_says(reference: str, answer: str) -> bool:
    from math_verify import parse, verify

    logging.disable(logging.WARNING)
    try:
        gold, found = (parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (reference, answer))
        return bool(verify(gold, found, timeout_seconds=None))
    finally:
        logging.disable(logging.NOTSET)
