"""The `code` reward: 1 if a program passes the row's tests, run in a sandbox with full isolation or without any.

Tests and expected values never enter the sandbox of the program they judge. A program that fails, hangs, uses too much
or cheats gets 0.0 with a note; tests that cannot be read give None, and so does a program whose sandbox was killed from
outside; a sandbox that does not start is an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.rewards.code.run_code import RunCodeServer, is_url
from rlllm.rewards.code.run_tests import Bench, Block, WorkerLostError
from rlllm.rewards.code.suites import Suite, UnfitRowError, is_completed, suite_of
from rlllm.sandbox import processors, shared_sandbox
from rlllm.sandbox.jobs import Isolation, Limits
from rlllm.sandbox.packages import modules_of, require

_WALL_PER_CPU = 3.0
"""Wall time that a program has for each second of processor time it may use."""
_SMALLEST_MEMORY = 64
"""MiB that the interpreter itself needs."""
_SHOWN = 300
"""Characters of the code that are kept beside the score."""


@dataclass(frozen=True)
class Code:
    """1 if the code passes every test of the row, else 0; None for rows without tests that can be read.

    Reads the columns of HumanEval (`test`, `entry_point`; Chen et al. 2021, arXiv 2107.03374), MBPP (`test_list`; Austin
    et al. 2021, arXiv 2108.07732), APPS (`input_output`; Hendrycks et al. 2021, arXiv 2105.09938), LiveCodeBench
    (`public_test_cases`; Jain et al. 2024, arXiv 2403.07974), and others that `docs/guides/code.md` lists. The code is the
    fenced block that defines what the tests call, with what it needs of the others; without a fence, the lines that are Python.

    Args:
        isolation: `full`; `none`: programs then run as you, with your files and your network; or the URL of a server that runs
            them, which speaks the protocol of SandboxFusion (`/run_code`).
        seconds: processor time of one program; three times as much of wall time.
        memory_mb: memory of one program.
        partial: the share of tests passed, instead of all or nothing. HumanEval's `check` is one test.
        packages: installed packages that programs and tests may import beside the standard library; what a package
            requires may be imported as well.
    """

    isolation: str = "full"
    seconds: float = 5.0
    memory_mb: int = 512
    partial: bool = False
    packages: tuple[str, ...] = ("numpy",)
    verifies = True

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf"):
            raise ConfigError("code: seconds must be positive", given=self.seconds)
        if self.memory_mb < _SMALLEST_MEMORY:
            raise ConfigError(f"code: memory_mb must be at least {_SMALLEST_MEMORY}", given=self.memory_mb)
        if is_url(self.isolation):
            RunCodeServer(self.isolation)
        elif self.isolation not in ("full", "none"):
            raise ConfigError(
                "code: isolation is full, none, or the URL of a sandbox",
                given=self.isolation,
                hint="isolation: http://localhost:8080/run_code",
            )
        else:
            require(self.packages)

    def score_batch(self, samples: Sequence[Sample]) -> list[Score]:
        """All samples, side by side as far as there are processors, in the order given.

        Raises:
            RlllmError: a layer of the isolation is missing.
            RuntimeError: the sandbox failed; never a score of 0.0.
        """
        benches = _Benches(self)
        pool = ThreadPoolExecutor(min(processors(), max(1, len(samples))), thread_name_prefix="code-reward")
        try:
            return list(pool.map(lambda sample: _score(benches, sample), samples))
        except BaseException:
            benches.stop()  # else Ctrl-C would sit out every test of every script under way
            raise
        finally:
            pool.shutdown(cancel_futures=True)


class _Benches:
    """Where the programs of one batch are judged: without packages, or with them where a program or its tests name one.

    A program that names none starts from the smaller process, and is judged as it would be without the setting.
    """

    def __init__(self, settings: Code) -> None:
        self._settings = settings
        limits = Limits(
            cpu_seconds=settings.seconds,
            wall_seconds=_WALL_PER_CPU * settings.seconds,
            memory_mb=settings.memory_mb,
        )
        server = RunCodeServer(settings.isolation) if is_url(settings.isolation) else None
        self._isolation: Isolation = "none" if settings.isolation == "none" else "full"
        sandbox = None if server else shared_sandbox(self._isolation)
        self._bare = Bench(sandbox, limits, settings.partial, server)
        self._with_packages: Bench | None = None
        self._modules = re.compile(
            "|".join(rf"\b{re.escape(name)}\b" for name in ([] if server else modules_of(settings.packages)))
            or r"\Z\A."
        )
        self._lock = Lock()

    def of(self, suite: Suite, blocks: Sequence[Block]) -> Bench:
        """The bench for a solution."""
        if self._bare.server or not any(map(self._modules.search, [*suite.sources, *(text for _, text in blocks)])):
            return self._bare
        with self._lock:
            if self._with_packages is None:
                sandbox = shared_sandbox(self._isolation, self._settings.packages)
                self._with_packages = Bench(sandbox, self._bare.limits, self._bare.thorough)
            return self._with_packages

    def stop(self) -> None:
        """End every program under way."""
        for bench in (self._bare, self._with_packages):
            if bench:
                bench.stop()


def _score(benches: _Benches, sample: Sample) -> Score:
    try:
        suite = suite_of(sample)
    except UnfitRowError as error:
        return Score(None, note=str(error))
    blocks = code_in(sample.completion, suite)
    code = "\n".join(text for _, text in blocks)
    if not code.strip():
        return Score(0.0, note="no code")
    bench = benches.of(suite, blocks)
    try:
        verdict = suite.judge(blocks, bench)
    except WorkerLostError as lost:
        return Score(None, parsed=code[:_SHOWN], note=str(lost))
    if verdict.passed is None:
        return Score(None, parsed=code[:_SHOWN], note=verdict.note)
    share = verdict.passed / verdict.total
    return Score(share if bench.thorough else float(share == 1), parsed=code[:_SHOWN], note=verdict.note)


def code_in(completion: str, suite: Suite) -> list[Block]:
    """The blocks of a completion that may be its program, in order: fenced ones of Python or of no language.

    What stands before the last `</think>` is no program, unless nothing follows it. Without a fence, the text between tags
    such as `[PYTHON]` or `<code>` counts, else the completion itself, of which nothing says that it is all Python. One that
    goes on with the body of a prompt's function ends where it starts something new: at the stop sequences of the HumanEval
    paper (section 2.1).
    """
    answer = completion.rpartition("</think>")[2]
    text = answer if answer.strip() else completion
    fenced = fenced_blocks(text)
    if fenced:
        blocks = [(bool(_PYTHON.fullmatch(language)), code) for language, code in fenced]
        usable = [
            block for block, (language, _) in zip(blocks, fenced, strict=True) if block[0] or language in _NEUTRAL
        ]
        return [block for block in usable if block[1].strip()]
    for tags in _TAGS:
        if tagged := tags.findall(text):
            return [(True, code) for code in tagged if code.strip()]
    begun = text.lstrip("\n")[:1] in (" ", "\t")
    return [(False, _STOPS.split(text, maxsplit=1)[0] if begun and is_completed(suite) else text)]


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """Language (lower case, perhaps empty) and content of every fenced block; one left open reaches to the end.

    CommonMark's rules, except that a fence may be indented by any number of blanks, as in a list.
    """
    blocks: list[tuple[str, list[str]]] = []
    fence = indent = None
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence is None and mark:
            fence, indent = mark["fence"], re.compile(rf"[ \t]{{0,{len(mark['indent'])}}}")
            blocks.append((mark["language"].lower(), []))
        elif fence and mark and mark["fence"].startswith(fence) and not mark["language"] and not mark["rest"].strip():
            fence = None
        elif fence and indent:
            blocks[-1][1].append(indent.sub("", line, count=1))
    return [(language, "".join(lines)) for language, lines in blocks]


_FENCE = re.compile(
    r"(?P<indent>[ \t]*+)(?P<fence>`{3,}+|~{3,}+)[ \t]*+(?P<language>[\w+#.-]*+)(?P<rest>[^`\n]*+)\n?\Z"
)
_PYTHON = re.compile(r"i?py(thon)?[-_]?[\d.]*|pypy[\d.]*|tool_code|jupyter|sage")
_NEUTRAL = ("", "code")
_TAGS = [
    re.compile(rf"^[ \t]*{opening}(.*?)(?:{closing}|\Z)", re.DOTALL | re.IGNORECASE | re.MULTILINE)
    for opening, closing in (
        (r"\[PYTHON\]", r"\[/PYTHON\]"),
        (r"\[CODE\]", r"\[/CODE\]"),
        (r"\[BEGIN\]", r"\[(?:DONE|END)\]"),
        ("<python>", "</python>"),
        ("<code>", "</code>"),
        ("<solution>", "</solution>"),
        ("<answer>", "</answer>"),
    )
]
"""Marks around code that some models write instead of a fence. One left open reaches to the end."""
_STOPS = re.compile(r"\n(?=class|def|#|if|print)")
