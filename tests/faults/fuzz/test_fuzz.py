"""Generated command lines and data files: no traceback, no "bug in rlllm", no hang, and no wrong exit code."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import command_lines
import data_files
import pytest
from command_lines import Case

from rlllm_cli.main import run

SECONDS = 10
"""Of processor time that a case may take."""


class TookTooLongError(BaseException):
    """Raised in the middle of a case that hangs."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises TookTooLongError after so much processor time of this process, which a busy machine does not change."""

    def late(*_: object) -> None:
        raise TookTooLongError

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@pytest.fixture
def problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Iterable[Case]], list[str]]:
    """Runs cases, each in a folder of its own, and says what is wrong with which."""
    monkeypatch.delenv("RLLLM_TRACEBACK", raising=False)

    def problem(number: int, case: Case) -> str | None:
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in case.files.items():
            (folder / name).write_bytes(content)
        os.chdir(folder)
        capsys.readouterr()
        try:
            with limited(SECONDS):
                code: int | str = run(case.words)
        except BaseException as error:
            code = repr(error)
        streams = capsys.readouterr()
        said = streams.out + streams.err
        wrong = code not in case.codes or "Traceback (most recent" in said or "bug in rlllm" in said
        wrong = wrong or (code != 0 and not streams.err.startswith(("error: ", "reading ")))
        left = sorted(path.name for path in folder.iterdir() if path.name not in case.files)
        if not wrong and not left:
            return None
        return (
            f"case {number}: {case.words} -> {code}, allowed {sorted(case.codes)}, left {left}: {streams.err[:400]!r}"
        )

    home = Path.cwd()

    def all_problems(cases: Iterable[Case]) -> list[str]:
        try:
            return [text for number, case in enumerate(cases) if (text := problem(number, case))]
        finally:
            os.chdir(home)

    return all_problems


def test_thirty_command_lines_end_as_they_should(problems: Callable[[Iterable[Case]], list[str]]) -> None:
    assert not problems(command_lines.cases(seed=1, number=30))


def test_thirty_data_files_end_as_they_should(problems: Callable[[Iterable[Case]], list[str]]) -> None:
    assert not problems(data_files.cases(seed=1, number=30))


@pytest.mark.slow
def test_five_hundred_command_lines_end_as_they_should(problems: Callable[[Iterable[Case]], list[str]]) -> None:
    assert not problems(command_lines.cases(seed=2, number=500))


@pytest.mark.slow
def test_seven_hundred_data_files_end_as_they_should(problems: Callable[[Iterable[Case]], list[str]]) -> None:
    assert not problems(data_files.cases(seed=2, number=700))
