"""`python -m rlllm_cli`, the same as `rlllm`."""

from __future__ import annotations

import sys

from rlllm_cli.main import run

sys.exit(run())
