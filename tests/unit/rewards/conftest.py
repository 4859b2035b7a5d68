"""What tests of several rewards stand on."""

from __future__ import annotations

import pytest

from rlllm.rewards.code.reward import Code
from rlllm.sandbox.layers import SandboxError


@pytest.fixture(scope="session")
def isolation() -> None:
    """The sandbox of programs, without which a test is skipped."""
    try:
        Code().score_batch([])
    except SandboxError as error:
        pytest.skip(str(error))
