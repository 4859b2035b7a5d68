"""All layouts, the more specific before the more general, and which of them a row is in."""

from __future__ import annotations

from collections.abc import Sequence

from rlllm.core.records import Record
from rlllm.data.schemas.base import Row, RowSchema
from rlllm.data.schemas.dialogues import DIALOGUES
from rlllm.data.schemas.options import OPTIONS
from rlllm.data.schemas.preferences import PREFERENCES
from rlllm.data.schemas.problems import PROBLEMS
from rlllm.data.schemas.programs import PROGRAMS
from rlllm.data.schemas.steps import STEPS
from rlllm.data.schemas.stored import STORED

LAYOUTS: tuple[RowSchema, ...] = (*STORED, *STEPS, *PREFERENCES, *PROGRAMS, *OPTIONS, *PROBLEMS, *DIALOGUES)


def recognise(rows: Sequence[Row], kind: type[Record]) -> RowSchema | None:
    """The first layout that makes records of `kind` and is that of more than half of these rows."""
    candidates = (layout for layout in LAYOUTS if layout.makes(kind))
    return next((layout for layout in candidates if 2 * sum(map(layout.fits, rows)) > len(rows)), None)
