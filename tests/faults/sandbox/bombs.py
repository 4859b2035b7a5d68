"""Programs that use more than they may, as data: what the isolation has to say of each, and a bounded form for a plain harness.

The bounded form stays under a bound that no machine minds and prints `BROKE` once it has passed the limit that the isolated
one runs under, which shows that the limit, and not the program, made the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlllm.sandbox.jobs import Limits

LIMITS = Limits(cpu_seconds=1.0, wall_seconds=2.0, memory_mb=192, processes=8, output_kb=64, disk_mb=2)


@dataclass(frozen=True)
class Bomb:
    """`endings`: how it may end; `bounded`: the plain form."""

    name: str
    source: str
    endings: frozenset[str]
    bounded: str


_EXIT, _TIME, _MEMORY, _OUTPUT = (frozenset({ending}) for ending in ("exit", "time", "memory", "output"))

_SOCKETS = """import resource, socket, time
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
try: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
except (OSError, ValueError): pass
held, sent = [], 0
while len(held) < {pairs} and sent < {mib} << 20:
    try: pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError: break
    held.append(pair)
    for one in pair:
        try: one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        except OSError: pass
        one.setblocking(False)
        try:
            while True: sent += one.send(bytes(50_000))
        except OSError: pass
"""

BOMBS = [
    Bomb(
        "fork bomb",
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        _TIME,
        "import os\npids = []\nfor _ in range(12):\n    pid = os.fork()\n    if pid == 0:\n        os._exit(0)\n"
        "    pids.append(pid)\nprint('BROKE', len(pids))\nfor pid in pids: os.waitpid(pid, 0)",
    ),
    Bomb(
        "threads without end",
        "import threading, time\nwhile True:\n    try:\n"
        "        threading.Thread(target=time.sleep, args=(9,)).start()\n"
        "    except RuntimeError:\n        time.sleep(9)",
        _TIME,
        "import threading\nwait = threading.Event()\n"
        "threads = [threading.Thread(target=wait.wait) for _ in range(12)]\n"
        "for t in threads: t.start()\nprint('BROKE', threading.active_count())\nwait.set()",
    ),
    Bomb("memory", "held = []\nwhile True: held.append(bytearray(1 << 20))", _MEMORY,
         "held = [bytearray(1 << 20) for _ in range(200)]\nprint('BROKE')"),
    Bomb(
        "memory of many processes",
        "import os, time\nfor _ in range(5):\n    if os.fork() == 0:\n"
        "        held = os.urandom(90 << 20)\n        time.sleep(9)\n"
        "time.sleep(9)",
        _MEMORY,
        "import os\npids = []\nfor _ in range(3):\n    pid = os.fork()\n    if pid == 0:\n"
        "        held = bytearray(70 << 20)\n"
        "        os._exit(0)\n    pids.append(pid)\nprint('BROKE')\nfor pid in pids: os.waitpid(pid, 0)",
    ),
    Bomb("shared memory",
           "import mmap\nheld = [mmap.mmap(-1, 8 << 20) for _ in range(100)]\nprint('BROKE')", _EXIT | _MEMORY,
         "import mmap\nheld = [mmap.mmap(-1, 8 << 20) for _ in range(30)]\nprint('BROKE')"),
    Bomb("disk", "for i in range(99): open(f'{i}', 'wb').write(bytes(1 << 20))\nprint('BROKE')", _EXIT,
         "for i in range(3): open(f'{i}', 'wb').write(bytes(1 << 20))\nprint('BROKE')"),
    Bomb("one large file", "f = open('x', 'wb')\nf.truncate(1 << 32)\nprint('BROKE')", _EXIT,
         "f = open('x', 'wb')\nf.truncate(1 << 32)\nprint('BROKE')"),
    Bomb("files without end", "i = 0\nwhile True:\n    open(f'{i}', 'w').close()\n    i += 1", _EXIT,
         "for i in range(5000): open(f'{i}', 'w').close()\nprint('BROKE')"),
    Bomb(
        "zip of death",
        "import gzip\nsmall = gzip.compress(bytes(1 << 22))\nbig = gzip.decompress(small * 500)\nprint('BROKE')",
        _MEMORY,
        "import gzip\nsmall = gzip.compress(bytes(1 << 22))\nbig = gzip.decompress(small * 50)\nprint('BROKE')",
    ),
    Bomb("output", "while True: print('x' * 1000)", _OUTPUT, "print('BROKE' + 'x' * 200_000)"),
    Bomb("errors as output", "import sys\nwhile True: sys.stderr.write('x' * 1000)", _OUTPUT,
         "import sys\nsys.stderr.write('x' * 200_000)\nprint('BROKE')"),
    Bomb("sparse output", "import os\nos.ftruncate(1, 1 << 20)", _OUTPUT, "print('BROKE' + 'x' * 200_000)"),
    Bomb("busy loop", "while True: pass", _TIME,
         "import time\nwhile time.process_time() < 1.2: pass\nprint('BROKE')"),
    Bomb(
        "busy children",
        "import os\nfor _ in range(4):\n    if os.fork() == 0: break\nwhile True: pass",
        _TIME,
        "import time\nwhile time.process_time() < 1.2: pass\nprint('BROKE')",
    ),
    Bomb("sleep", "import time\ntime.sleep(60)", _TIME, "import time\ntime.sleep(2.1)\nprint('BROKE')"),
    Bomb("signals ignored", "import signal, time\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
         "    except (OSError, ValueError): pass\ntime.sleep(60)", _TIME, "import time\n"
         "time.sleep(2.1)\nprint('BROKE')"),
    Bomb("hang at exit", "import atexit, time\natexit.register(time.sleep, 60)", _TIME,
         "import atexit, time\natexit.register(print, 'BROKE')\natexit.register(time.sleep, 2.1)"),
    Bomb("thread that never ends",
           "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()", _TIME,
         "import threading, time\nthreading.Thread(target=time.sleep, args=(2.1,)).start()\nprint('BROKE')"),
    Bomb("buffers of sockets", "import os\nfor _ in range(4):\n    if os.fork() == 0: break\n"
         + _SOCKETS.format(pairs=63, mib=9999) + "time.sleep(9)", _MEMORY,
         _SOCKETS.format(pairs=900, mib=200) + "print('BROKE')"),
    Bomb("descriptors", "import os\nheld = [os.pipe() for _ in range(5000)]\nprint('BROKE')", _EXIT,
         "import os\nheld = [os.pipe() for _ in range(100)]\nprint('BROKE')"),
]  # fmt: skip
