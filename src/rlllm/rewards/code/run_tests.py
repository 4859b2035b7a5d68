"""Run the tests of a program: the program runs in a sandbox, and its results are compared outside of it.

Scripts are compared by what they print. Functions are called from a second sandbox that runs the tests; a broker in this
process passes calls and answers on without parsing them, so neither data nor code of a solution is ever opened here.
An answer without a call, or one that is too large, fails the solution; a sandbox that does not start is an error.
"""

from __future__ import annotations

import json
import marshal
import math
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from threading import Event, Timer
from types import ModuleType
from typing import Any

from rlllm.rewards.code import assembly, recorded, solution_program, tests_program, tests_runner, wire
from rlllm.rewards.code.run_code import RunCodeServer
from rlllm.sandbox.jobs import Job, Limits, Outcome, Program, Sandbox

_GRACE = 5.0
"""Seconds of wall time that the tests have beyond their solution, and the broker beyond both."""
_LAST_WORDS = 1.0
"""Seconds for a program that hung up to end by itself, so that it can be said how it ended."""
_ROUNDS = 50
"""How often tests and solution take turns where calls are recorded."""
_REPORT_KB = 16 * 1024
"""What a program may write that reports calls or answers."""
_KINDS = {kind.decode() for kind in (wire.VALUE, wire.RAISED, wire.OPAQUE)}


Block = tuple[bool, str]
"""A block of code in a completion: whether it is labelled as Python, and its text."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Tests passed of all tests; `passed` None if the tests cannot judge any solution."""

    passed: int | None
    total: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """Where solutions are judged."""

    sandbox: Sandbox | None
    limits: Limits = field(default_factory=Limits)
    """Of one program: of a solution with all its calls, or of one run of a script."""
    thorough: bool = False
    """Run on after a failed test, to count those that pass."""
    server: RunCodeServer | None = None
    """Runs programs from start to end in the place of the sandbox."""
    _jobs: set[Job] = field(default_factory=set, compare=False)
    _stopped: Event = field(default_factory=Event, compare=False)

    @contextmanager
    def started(self, *programs: Program) -> Iterator[list[Job]]:
        """The programs under way; none is left afterwards, whatever happens."""
        jobs: list[Job] = []
        try:
            for program in programs:
                assert self.sandbox is not None
                jobs.append(self.sandbox.start(program))
                self._jobs.add(jobs[-1])
                if self._stopped.is_set():
                    raise _StoppedError
            yield jobs
        finally:
            for job in jobs:
                job.kill()
            for job in jobs:
                job.wait()
                job.channel.close()
            self._jobs.difference_update(jobs)

    def outcome(self, program: Program) -> Outcome:
        """How a program that nobody talks to ended."""
        if self.server is None:
            with self.started(program) as (job,):
                return job.wait()
        if self._stopped.is_set():
            raise _StoppedError
        return self.server.run(program)

    def stop(self) -> None:
        """End every program under way, and whatever judgement would start another."""
        self._stopped.set()
        for job in list(self._jobs):
            job.kill()


@dataclass(frozen=True, slots=True)
class ScriptTests:
    """Runs of a script: standard input, and what is to stand on standard output."""

    cases: Sequence[tuple[str, str]]
    tolerance: float = 0.0
    relative_tolerance: float = 0.0

    @property
    def sources(self) -> list[str]:
        """Python that runs beside the solution: none."""
        return []

    def judge(self, blocks: Sequence[Block], bench: Bench) -> Verdict:
        """Run the cases in order; after one that runs out of time no other is tried."""
        reads_input = any(given for given, _ in self.cases)
        plan = {"blocks": blocks, "names": [], "prefix": "", "preamble": True, "reads_input": reads_input}
        source = _program(
            solution_program, "run", json.dumps(plan), parts=[assembly], portable=bench.server is not None
        )
        passed, note = 0, None
        for number, (given, wanted) in enumerate(self.cases, start=1):
            program = Program(source, given.encode("utf-8", "replace"), _roomy(bench.limits, wanted))
            outcome = bench.outcome(program)
            fault = _script_fault(outcome, wanted, self.tolerance, self.relative_tolerance)
            if fault is None:
                passed += 1
                continue
            note = note or f"test {number} of {len(self.cases)}: {fault}"
            if not bench.thorough or outcome.ended == "time":
                break
        return Verdict(passed, len(self.cases), note)


@dataclass(frozen=True, slots=True)
class Examination:
    """Tests that call functions of the solution."""

    tests: Sequence[dict[str, Any]]
    """Each `{"source": ...}`, or a call: `call`, `args`, `kwargs`, `expected` (any of these; encoded), `tolerance` and
    `relative_tolerance`."""
    setup: Sequence[str] = ()
    """Sources that run before the tests, in their process, where `names` are known."""
    names: Sequence[str] = ()
    """Names in the tests that stand for functions and classes of the solution."""
    prefix: str = ""
    """The beginning of the program, where the code goes on from it; the tests may use what it defines."""
    helpers: Sequence[str] = ()
    """Those of the names that nothing but the solution could define, and that it need not: without them no verdict."""
    classes: Sequence[str] = ()
    """Those of the names that the tests use as classes: they make objects of them."""
    preamble: bool = False
    """The solution may use the standard modules that LiveCodeBench and APPS import before it."""

    @property
    def sources(self) -> list[str]:
        """Python that runs beside the solution: the tests, and what stands before them."""
        return [self.prefix, *self.setup, *(test.get("source", "") for test in self.tests)]

    def judge(self, blocks: Sequence[Block], bench: Bench) -> Verdict:
        """Run the tests in order; all after the solution's process has ended are failed."""
        if bench.server is not None:
            return self._by_record(blocks, bench)
        plan = json.dumps({**asdict(self), "thorough": bench.thorough})
        tests = _program(tests_program, "examine", plan, parts=[tests_runner, wire])
        served = _program(solution_program, "serve", json.dumps(self._solution_plan(blocks)), parts=[assembly, wire])
        patient = replace(bench.limits, wall_seconds=bench.limits.wall_seconds + _GRACE)
        with bench.started(Program(served, limits=bench.limits), Program(tests, limits=patient)) as (first, second):
            return _Broker(first, second, patient.wall_seconds + _GRACE).verdict(len(self.tests), bench.thorough)

    def _by_record(self, blocks: Sequence[Block], bench: Bench) -> Verdict:
        """The verdict of sandboxes that run a program from start to end: see the module `recorded`."""
        plan = {**asdict(self), "thorough": bench.thorough, "answers": []}
        patient = replace(bench.limits, wall_seconds=bench.limits.wall_seconds + _GRACE, output_kb=_REPORT_KB)
        parts = [recorded, tests_runner, wire]
        total = len(self.tests)
        for _ in range(_ROUNDS):
            tests = _program(tests_program, "examine_recorded", json.dumps(plan), parts, portable=True)
            ran = _ran(bench.outcome(Program(tests, limits=patient)))
            report = _report(ran)
            if report is None:
                if not plan["answers"]:
                    return Verdict(None, total, f"the tests {_ending(ran)} before they called the solution")
                return Verdict(0, total, f"test 1 of {total}: the tests {_ending(ran)}")
            if report["unfit"] is not None:
                return Verdict(None, total, report["unfit"])
            results = report["results"]
            decided = results[: results.index(False)] if False in results else results
            failed = [number for number, note in enumerate(decided) if note is not None]
            if len(decided) == total or (failed and not bench.thorough):
                first = f"test {failed[0] + 1} of {total}: {decided[failed[0]]}" if failed else None
                return Verdict(sum(note is None for note in decided), total, first)
            plan["answers"] = self._recorded_answers(blocks, bench, report["calls"])
        return Verdict(None, total, f"the tests were not decided after {_ROUNDS} rounds of calls")

    def _recorded_answers(
        self, blocks: Sequence[Block], bench: Bench, calls: list[list[str]]
    ) -> list[list[tuple[str, str, str]]]:
        """The solution's answers to the calls of each test, all in one run of it; how it ended, where it gave none."""
        plan = {**self._solution_plan(blocks), "calls": [call for part in calls for call in part]}
        source = _program(recorded, "answer_all", json.dumps(plan), [assembly, solution_program, wire], portable=True)
        outcome = _ran(bench.outcome(Program(source, limits=replace(bench.limits, output_kb=_REPORT_KB))))
        lines = outcome.stdout.decode("utf-8", "replace").splitlines()
        gone = wire.GONE.decode(), f"the solution {_ending(outcome)}"
        given = iter([(line[:1], line[1:]) if line[:1] in _KINDS else gone for line in lines])
        return [[(call, *next(given, gone)) for call in part] for part in calls]

    def _solution_plan(self, blocks: Sequence[Block]) -> dict[str, Any]:
        """What the solution's process is told: its own code, and the names that it is asked for. Nothing of the tests."""
        called = [test["call"] for test in self.tests if "call" in test]
        names = list(dict.fromkeys([*self.names, *called]))
        names = [name for name in names if name not in self.helpers] or names
        return {
            "blocks": blocks,
            "names": names,
            "prefix": self.prefix,
            "preamble": self.preamble,
            "reads_input": False,
        }


def _report(outcome: Outcome) -> dict[str, Any] | None:
    """What the tests printed at their end; None where they did not come to it."""
    _, mark, text = outcome.stdout.decode("utf-8", "replace").rpartition(recorded.MARK)
    report: dict[str, Any] | None = json.loads(text) if mark and outcome.ended == "exit" else None
    return report


class WorkerLostError(RuntimeError):
    """The process in which a program ran is gone, by no fault of the program; nothing is known about it."""


class _StoppedError(Exception):
    """The batch is given up."""


class _FaultError(Exception):
    """Why a solution fails from here on."""


class _HungUpError(Exception):
    """The other side has closed its channel, or was silent for too long."""


class _Line:
    """The parent's end of a job's channel. Whatever comes in is bounded; nothing blocks beyond the deadline."""

    def __init__(self, channel: socket.socket, largest: int, deadline: float) -> None:
        self._channel, self._largest, self._deadline = channel, largest, deadline

    def send(self, kind: bytes, payload: bytes, nonce: bytes = wire.NO_NONCE) -> None:
        self._channel.settimeout(self._seconds_left())
        try:
            self._channel.sendall(wire.frame(kind, payload, nonce))
        except OSError as error:
            raise _HungUpError from error

    def receive(self) -> tuple[bytes, bytes, bytes]:
        """Kind, payload and nonce."""
        header = self._exactly(wire.HEADER)
        size = int.from_bytes(header[:4], "big")
        if size > self._largest:
            raise _FaultError("the solution sent an answer that is too large")
        return header[-1:], self._exactly(size), header[4 : 4 + wire.NONCE]

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            self._channel.settimeout(self._seconds_left())
            try:
                part = self._channel.recv(min(size, 1 << 16))
            except OSError as error:
                raise _HungUpError from error
            if not part:
                raise _HungUpError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _seconds_left(self) -> float:
        return max(0.001, self._deadline - time.monotonic())


class _Broker:
    """Between a solution and its tests: asks the one what the other wants to know."""

    def __init__(self, solution: Job, tests: Job, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self._solution, self._tests = solution, tests
        self._answers = _Line(solution.channel, wire.LARGEST_ANSWER, deadline)
        self._questions = _Line(tests.channel, wire.LARGEST_CALL, deadline)

    def verdict(self, total: int, thorough: bool) -> Verdict:
        notes: list[str | None] = []
        asked = False
        try:
            while len(notes) < total and (thorough or not any(notes)):
                kind, payload, _ = self._questions.receive()
                if kind == wire.UNFIT:
                    return Verdict(None, total, payload.decode("utf-8", "replace"))
                if kind == wire.RESULT:
                    notes.append(json.loads(payload))
                else:
                    asked = True
                    self._questions.send(*self._ask(payload))
        except _FaultError as fault:
            notes.append(str(fault))
        except _HungUpError:
            ending = f"the tests {_ending(_outcome(self._tests))}"
            if not asked:
                return Verdict(None, total, f"{ending} before they called the solution")
            notes.append(ending)
        first = next((f"test {number} of {total}: {note}" for number, note in enumerate(notes, 1) if note), None)
        return Verdict(sum(note is None for note in notes), total, first)

    def _ask(self, payload: bytes) -> tuple[bytes, bytes]:
        nonce = secrets.token_bytes(wire.NONCE)
        try:
            self._answers.send(wire.CALL, payload, nonce)
            kind, answer, repeated = self._answers.receive()
        except _HungUpError:
            raise _FaultError(f"the solution {_ending(_outcome(self._solution))}") from None
        if repeated != nonce or kind not in (wire.VALUE, wire.RAISED, wire.OPAQUE):
            raise _FaultError("the solution sent an answer that nobody asked for")
        return kind, answer


def _outcome(job: Job) -> Outcome:
    """How a program that hung up ended."""
    late = Timer(_LAST_WORDS, job.kill)
    late.start()
    try:
        return _ran(job.wait())
    finally:
        late.cancel()


def _ran(outcome: Outcome) -> Outcome:
    if outcome.ended == "lost":
        raise WorkerLostError("the process of the sandbox that ran the program is gone; out of memory?")
    if outcome.ended == "setup":
        raise RuntimeError(f"the sandbox did not start a program: {outcome.stderr[-300:].decode('utf-8', 'replace')}")
    return outcome


def _roomy(limits: Limits, wanted: str) -> Limits:
    """Limits under which the wanted output can be written, with as much again for blanks and messages."""
    return replace(limits, output_kb=max(limits.output_kb, 2 * len(wanted.encode("utf-8", "replace")) // 1024))


def _script_fault(outcome: Outcome, wanted: str, tolerance: float, relative: float) -> str | None:
    """Why a run of a script is no pass; None if it is one."""
    if _ran(outcome).ended != "exit" or outcome.code != 0:
        return f"the solution {_ending(outcome)}"
    try:
        output = outcome.stdout.decode()
    except UnicodeDecodeError:
        return "the output is no UTF-8 text"
    return None if same_output(output, wanted, tolerance, relative) else "the output differs"


def same_output(output: str, expected: str, tolerance: float = 0.0, relative: float = 0.0) -> bool:
    """Equal line by line, apart from blanks at the ends of lines and empty lines at the end.

    Words that are numbers on both sides may differ by `tolerance`, or by the share `relative` of the larger one.
    """
    lines, expected_lines = _lines(output), _lines(expected)
    if len(lines) != len(expected_lines):
        return False
    near = tolerance > 0 or relative > 0
    return all(
        a == b or (near and _near(a, b, tolerance, relative)) for a, b in zip(lines, expected_lines, strict=True)
    )


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _near(output: str, expected: str, tolerance: float, relative: float) -> bool:
    words, expected_words = output.split(), expected.split()
    if len(words) != len(expected_words):
        return False
    return all(a == b or _close(a, b, tolerance, relative) for a, b in zip(words, expected_words, strict=True))


def _close(output: str, expected: str, tolerance: float, relative: float) -> bool:
    try:
        return math.isclose(float(output), float(expected), rel_tol=relative, abs_tol=tolerance)
    except ValueError:
        return False


def _ending(outcome: Outcome) -> str:
    """How a program ended, as the end of a sentence."""
    if outcome.ended == "signal":
        return f"was ended by {_signal_name(outcome.code)}"
    if outcome.ended != "exit":
        return f"ran over the {outcome.ended} limit"
    last = outcome.stderr[-2000:].decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
    return f"ended with status {outcome.code}" + (f": {last}" if last and outcome.code else "")


def _signal_name(code: int | None) -> str:
    try:
        return signal.Signals(code or 0).name
    except ValueError:
        return f"signal {code}"


def _program(part: ModuleType, function: str, plan: str, parts: Sequence[ModuleType], portable: bool = False) -> str:
    """Source that calls a function of one of this folder's sandbox programs with other modules of it and a plan.

    Args:
        portable: for an interpreter of any version, and not for this very one.
    """
    code = _source_of if portable else _loaded
    names = [part.__name__.rpartition(".")[2] for part in parts]
    lines = ["import marshal, types", "space = {'__name__': 'program'}", f"exec({code(part)}, space)"]
    for name, needed in zip(names, parts, strict=True):
        lines += [
            f"{name} = types.ModuleType({name!r})",
            f"exec({code(needed)}, {name}.__dict__)",
        ]
    return "\n".join([*lines, f"space[{function!r}]({', '.join([*names, ascii(plan)])})", ""])


def _loaded(part: ModuleType) -> str:
    return f"marshal.loads({_compiled(part)!r})"


@cache
def _source_of(part: ModuleType) -> str:
    assert part.__file__ is not None
    place = Path(part.__file__)
    return f"compile({place.read_text(encoding='utf-8')!a}, {place.name!r}, 'exec', dont_inherit=True)"


@cache
def _compiled(part: ModuleType) -> bytes:
    """A module of this folder, compiled once for all programs: the sandbox runs this very interpreter."""
    assert part.__file__ is not None
    place = Path(part.__file__)
    return marshal.dumps(compile(place.read_bytes(), place.name, "exec", dont_inherit=True))
