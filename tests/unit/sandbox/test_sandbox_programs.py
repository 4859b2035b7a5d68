"""Programs under both isolations: what a script may expect of its interpreter, and what the run gets to know of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlllm.sandbox import kernel, missing_layers, open_sandbox
from rlllm.sandbox.jobs import Isolation, Limits, Program, Sandbox
from rlllm.sandbox.layers import SandboxError, layer_missing

SHORT = Limits(cpu_seconds=1.0, wall_seconds=1.0, output_kb=16, memory_mb=256)


def opened(isolation: Isolation) -> Sandbox:
    if isolation == "full" and (lacking := missing_layers()):
        pytest.skip(f"full isolation is refused here: {lacking[0]}")
    return open_sandbox(isolation, workers=2)


@pytest.fixture(scope="module", params=["full", "none"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    made = opened(request.param)
    yield made
    made.close()


@pytest.fixture(scope="module")
def isolated() -> Iterator[Sandbox]:
    made = opened("full")
    yield made
    made.close()


PROGRAMS = [
    ("print(1)", b"", "exit", 0, b"1\n"),
    ("", b"", "exit", 0, b""),
    ("print(input()[::-1])", b"abc\n", "exit", 0, b"cba\n"),
    ("import sys; print(len(sys.stdin.read()))", b"x" * 300_000, "exit", 0, b"300000\n"),
    ("print('žluť 🦊')", b"", "exit", 0, "žluť 🦊\n".encode()),
    ("print(__name__, __file__ is not None)", b"", "exit", 0, b"__main__ True\n"),
    ("import sys; print('out', end=''); sys.exit(7)", b"", "exit", 7, b"out"),
    ("raise SystemExit", b"", "exit", 0, b""),
    ("raise SystemExit('no')", b"", "exit", 1, b""),
    ("def f(: pass", b"", "exit", 1, b""),
    ("1 / 0", b"", "exit", 1, b""),
    ("x = '\ud800'", b"", "exit", 1, b""),
    ("x = 1\0", b"", "exit", 1, b""),
    ("import atexit; atexit.register(print, 'bye'); print('hi')", b"", "exit", 0, b"hi\nbye\n"),
    ("import threading, time; threading.Thread(target=lambda: (time.sleep(.1), print('t'))).start()", b"", "exit", 0, b"t\n"),
    ("import os; os._exit(3)", b"", "exit", 3, b""),
    ("import os; os.abort()", b"", "signal", 6, b""),
    ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", b"", "signal", 9, b""),
    ("import ctypes; ctypes.string_at(0)", b"", "signal", 11, b""),
    ("while True: pass", b"", "time", None, b""),
    ("import time; time.sleep(60)", b"", "time", None, b""),
    ("x = bytearray(1 << 30)", b"", "memory", None, b""),
    ("import os, time\nif os.fork() == 0: time.sleep(60)\nprint('parent')", b"", "exit", 0, b"parent\n"),
    ("import sys; sys.stdout.close()", b"", "exit", 0, b""),
    ("import os; os.close(0); os.close(1); os.close(2)", b"", "exit", None, b""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "stdin", "ended", "code", "stdout"), PROGRAMS, ids=[repr(one[0][:40]) for one in PROGRAMS]
)
def test_a_program_ends_as_under_an_interpreter(
    sandbox: Sandbox, source: str, stdin: bytes, ended: str, code: int | None, stdout: bytes
) -> None:
    outcome = sandbox.run([Program(source, stdin, SHORT)])[0]
    assert (outcome.ended, outcome.stdout) == (ended, stdout), outcome
    assert code is None or outcome.code == code
    assert 0 < outcome.seconds < 4


def test_a_traceback_shows_the_program_and_nothing_of_the_launcher(isolated: Sandbox) -> None:
    stderr = isolated.run([Program("def f():\n    return 1 / 0\nf()")])[0].stderr.decode()
    assert 'File "program.py", line 3, in <module>' in stderr
    assert "return 1 / 0" in stderr
    assert "rlllm" not in stderr


def test_output_over_the_limit_is_cut_and_named(sandbox: Sandbox) -> None:
    outcome = sandbox.run([Program("print('x' * 100_000)", limits=SHORT)])[0]
    assert (outcome.ended, len(outcome.stdout)) == ("output", SHORT.output_kb * 1024)


def test_outcomes_come_in_the_order_of_the_programs(sandbox: Sandbox) -> None:
    programs = [Program(f"import time; time.sleep({0.02 * (n % 3)}); print({n})") for n in range(12)]
    assert [int(outcome.stdout) for outcome in sandbox.run(programs)] == list(range(12))
    assert sandbox.run([]) == []


def test_the_channel_talks_both_ways_while_the_program_runs(sandbox: Sandbox) -> None:
    echo = "import socket\ns = socket.socket(fileno=3)\nwhile data := s.recv(100): s.sendall(data.upper())"
    job = sandbox.start(Program(echo))
    job.channel.settimeout(5)
    for word in (b"one", b"two"):
        job.channel.sendall(word)
        assert job.channel.recv(100) == word.upper()
    job.channel.close()
    assert job.wait().code == 0


def test_a_job_can_be_killed_from_another_thread_and_waited_for_twice(sandbox: Sandbox) -> None:
    job = sandbox.start(Program("import time; time.sleep(60)"))
    threading.Timer(0.2, job.kill).start()
    outcome = job.wait()
    job.kill()
    assert (outcome.ended, outcome.code) == ("signal", 9)
    assert outcome.seconds < 5
    assert job.wait() is outcome


def test_more_jobs_may_be_started_than_there_are_workers(sandbox: Sandbox) -> None:
    jobs = [sandbox.start(Program("import os; os.read(3, 1)")) for _ in range(5)]
    for job in jobs:
        job.channel.sendall(b"x")
    assert [job.wait().code for job in jobs] == [0] * 5


def test_several_threads_share_one_sandbox(sandbox: Sandbox) -> None:
    found: dict[int, list[bytes]] = {}

    def use(name: int) -> None:
        found[name] = [one.stdout for one in sandbox.run([Program(f"print({name})")] * 5)]

    threads = [threading.Thread(target=use, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: [b"%d\n" % name] * 5 for name in range(6)}


def descendants() -> int:
    rows = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True).stdout.split("\n")[1:]
    parents = {int(pid): int(parent) for pid, parent in (row.split() for row in rows if row)}
    below, new = {os.getpid()}, True
    while new:
        new = {pid for pid, parent in parents.items() if parent in below} - below
        below |= new
    return len(below)


def test_hundreds_of_jobs_leave_no_descriptors_processes_or_mounts(isolated: Sandbox) -> None:
    isolated.run([Program("1")] * 10)
    descriptors, processes = len(os.listdir("/proc/self/fd")), descendants()
    mounts = Path("/proc/self/mounts").read_text()
    crowd = "import os, time\nfor _ in range(3):\n    if os.fork() == 0: time.sleep(60)\nopen('x', 'w').write('y')"
    outcomes = isolated.run([Program(crowd), Program("1 / 0"), Program("print(1)")] * 100)
    assert {outcome.ended for outcome in outcomes} == {"exit"}
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert abs(descendants() - processes) <= 1  # ps itself
    assert Path("/proc/self/mounts").read_text() == mounts


def test_a_worker_that_dies_is_replaced_and_its_job_says_so() -> None:
    sandbox = opened("full")
    try:
        job = sandbox.start(Program("import time; time.sleep(60)"))
        job._worker.process.kill()  # type: ignore[attr-defined]
        assert job.wait().ended == "lost"
        idle = sandbox._idle[0]  # type: ignore[attr-defined]
        idle.process.kill()
        idle.process.wait()
        assert [one.stdout for one in sandbox.run([Program("print(1)")] * 6)] == [b"1\n"] * 6
    finally:
        sandbox.close()


def test_a_job_that_is_dropped_gives_its_worker_up() -> None:
    sandbox = opened("full")
    try:
        before = descendants()
        job = sandbox.start(Program("import time; time.sleep(60)"))
        del job
        assert descendants() < before + 1
        assert sandbox.run([Program("print(1)")])[0].stdout == b"1\n"
    finally:
        sandbox.close()


HOST = """
import sys, threading
sys.path.insert(0, {sources!r})
from rlllm.sandbox import open_sandbox
from rlllm.sandbox.jobs import Program, Limits
threading.Thread(target=threading.Event().wait, daemon=True).start()
job = open_sandbox("full", workers=2).start(Program("import time; time.sleep(61)", limits=Limits(wall_seconds=60)))
print("ready", flush=True)
job.wait()
"""


def test_nothing_survives_a_killed_parent(isolated: Sandbox) -> None:
    sources = str(Path(__file__).resolve().parents[3] / "src")
    before = descendants()
    host = subprocess.Popen([sys.executable, "-c", HOST.format(sources=sources)], stdout=subprocess.PIPE)
    assert host.stdout is not None
    assert host.stdout.readline() == b"ready\n"
    group = workers_of(host.pid)
    assert group
    host.kill()
    host.wait()
    deadline = time.monotonic() + 5
    while (left := [pid for pid in group if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []
    assert descendants() <= before + 1


def workers_of(parent: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in found] + [below for pid in found for below in workers_of(int(pid))]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_closed_sandbox_refuses_and_closing_twice_is_nothing() -> None:
    sandbox = opened("full")
    sandbox.close()
    sandbox.close()
    with pytest.raises(SandboxError, match="closed"):
        sandbox.run([Program("1")])
    with pytest.raises(SandboxError, match="closed"):
        sandbox.start(Program("1"))


def test_closing_ends_what_is_still_running() -> None:
    sandbox = opened("full")
    before = descendants()
    job = sandbox.start(Program("import time; time.sleep(60)"))
    threading.Timer(0.2, sandbox.close).start()
    started = time.monotonic()
    assert job.wait().ended == "lost"
    assert time.monotonic() - started < 5
    assert descendants() < before


def test_an_interrupt_ends_the_programs_that_are_under_way(sandbox: Sandbox) -> None:
    started = time.monotonic()
    threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        sandbox.run([Program("import time; time.sleep(60)", limits=Limits(wall_seconds=30))] * 5)
    assert sandbox.run([Program("print(1)")])[0].stdout == b"1\n"
    assert time.monotonic() - started < 5


def test_large_programs_and_inputs_arrive_whole(sandbox: Sandbox) -> None:
    source = f"import sys\nx = {'x' * 3_000_000!r}\nprint(len(x), len(sys.stdin.buffer.read()))"
    assert sandbox.run([Program(source, b"\0" * 20_000_000)])[0].stdout == b"3000000 20000000\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try another user")
def test_an_ordinary_user_has_the_same_isolation() -> None:
    interpreter = "/usr/bin/python3"
    if (
        not os.path.exists(interpreter)
        or subprocess.run([interpreter, "-c", "import sys; assert sys.version_info >= (3, 11)"]).returncode
    ):
        pytest.skip("no interpreter that every user can run")
    sources = str(Path(__file__).resolve().parents[3] / "src")
    script = (
        f"import os, sys\nsys.path.insert(0, {sources!r})\n"
        "from rlllm.sandbox import open_sandbox\nfrom rlllm.sandbox.jobs import Program\n"
        "one = open_sandbox('full', 1).run([Program('import os; print(os.getuid())')])[0]\nprint(os.getuid(), one.stdout)"
    )
    done = subprocess.run(
        [interpreter, "-c", script], user=65534, group=65534, extra_groups=[], cwd="/", capture_output=True, text=True
    )
    assert done.stdout == "65534 b'1000\\n'\n", done.stderr


def test_a_missing_layer_is_named_with_what_to_do() -> None:
    error = str(layer_missing("landlock", "Function not implemented"))
    assert error.startswith("programs cannot be isolated here: no landlock")
    assert "Linux 5.13" in error
    assert "--sandbox none" in error


def test_an_interpreter_that_cannot_start_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SandboxError, match="no worker"):
        open_sandbox("full", workers=1)


def test_a_program_that_cannot_be_confined_is_not_run(isolated: Sandbox) -> None:
    outcome = isolated.run([Program("print(1)", limits=Limits(memory_mb=1 << 50))])[0]
    assert (outcome.ended, outcome.stdout) == ("setup", b"")
    assert b"OverflowError" in outcome.stderr


def test_processor_time_of_orphans_counts(isolated: Sandbox) -> None:
    relay = (
        "import os, time\nif os.fork(): time.sleep(60)\nwhile True:\n    start = time.process_time()\n"
        "    while time.process_time() - start < 0.05: pass\n    if os.fork(): os._exit(0)\n"
    )
    outcome = isolated.run([Program(relay, limits=Limits(cpu_seconds=0.5, wall_seconds=30.0))])[0]
    assert outcome.ended == "time"
    assert outcome.seconds < 25


def test_a_fork_is_refused_and_its_end_leaves_the_sandbox_to_the_parent(isolated: Sandbox) -> None:
    child = os.fork()
    if child == 0:
        refused = 1
        try:
            isolated.run([Program("print(1)")])
        except SandboxError:
            refused = 0
        finally:
            isolated.close()
            os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [one.stdout for one in isolated.run([Program("print(1)")] * 4)] == [b"1\n"] * 4


ORDINARY = "import asyncio, multiprocessing\nasync def three():\n    await asyncio.sleep(0.01)\n    return 3\n"


def test_event_loops_and_pipes_work_without_options_of_sockets(sandbox: Sandbox) -> None:
    source = ORDINARY + "near, far = multiprocessing.Pipe()\nnear.send('x')\nprint(asyncio.run(three()), far.recv())"
    assert sandbox.run([Program(source)])[0].stdout == b"3 x\n"


REFUSING = """
import sys
sys.path.insert(0, {sources!r})
from rlllm.sandbox import kernel, open_sandbox, seccomp
lines = [seccomp._line(0x20, 0), seccomp._line(0x15, {number}, 0, 1), seccomp._line(6, 0x50001), seccomp._line(6, 0x7FFF0000)]
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
seccomp.Filter(b"".join(lines)).install()
open_sandbox("full", workers=1)
"""
REFUSALS = {
    "pidfd_open": (434, "process handles"),
    "setns": (308, "pid namespace"),
    "landlock_add_rule": (445, "landlock"),
}


@pytest.mark.skipif(kernel.machine() != "x86_64", reason="the numbers are those of x86_64")
@pytest.mark.parametrize(("number", "layer"), REFUSALS.values(), ids=REFUSALS)
def test_a_call_that_the_kernel_refuses_is_named_by_its_layer_with_the_way_out(number: int, layer: str) -> None:
    source = REFUSING.format(sources=str(Path(__file__).resolve().parents[3] / "src"), number=number)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"programs cannot be isolated here: no {layer}\ngiven: [Errno 1] " in done.stderr
    assert "--sandbox none runs them without any isolation" in done.stderr
