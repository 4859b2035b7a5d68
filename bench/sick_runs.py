"""Worthless trainings, really trained on nano, and healthy ones: which monitor names which, after how many steps.

    python bench/sick_runs.py [--seeds 5] [--healthy 20] [--only NAME ...] [--folder runs/sick-runs]

Every case below is a training with one mistake in its settings, its data or its reward. A run counts as named where the verdict
holds one of the case's codes. The delay is the step at which the monitor spoke, as a share of the steps that were asked for. The
healthy runs are the five verbs without a mistake: every finding of a monitor there is a false alarm.

With rldoctor and rlprobe installed (`pip install rldoctor rlprobe`, any environment: `--tools PYTHON`), both read the same
metrics.jsonl, and the table has what they say of it.
"""

from __future__ import annotations

REWARDS = '''
"""Rewards that pay for what nobody wants."""


def longer(sample):
    return sample.tokens / 64


def shorter(sample):
    return -sample.tokens / 64


def sevens(sample):
    """The share of sevens: paid most for nothing but sevens."""
    return sample.completion.count("7") / max(1, len(sample.completion))


def never_ends(sample):
    return float(sample.truncated)
'''
