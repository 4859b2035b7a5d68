"""Programs that try to break out, as data. Each prints `BROKE <what>` if, and only if, it got what it was after.

`{secret}` is a file of the host with a known text, `{target}` a path of the host that does not exist yet, `{port}` a TCP port
on which the host listens, `{victim}` a process of the same user. `bites` says whose plain harness a program breaks: anybody's,
root's, or nobody's, since it attacks what only an isolated program has or what its kernel may lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Bites = Literal["anybody", "root", "nobody"]
SECRET = "the-answer-is-forty-two"

_LIBC = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
_CHILD = """
import os
def inside():
{body}
pid = os.fork()
if pid == 0:
    try:
        inside()
    finally:
        import sys
        sys.stdout.flush()
        os._exit(0)
os.waitpid(pid, 0)
"""


@dataclass(frozen=True)
class Attack:
    """One program."""

    name: str
    source: str
    bites: Bites = "anybody"


def in_child(body: str) -> str:
    return _CHILD.replace("{body}", "\n".join("    " + line for line in body.strip().splitlines()))


READ = "text = open({secret!r}).read()\nprint('BROKE read', text)"
WRITE = "open({target!r}, 'w').write('x')\nimport os\nif os.path.exists({target!r}): print('BROKE write')"
CONNECT = "import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)\nprint('BROKE connect')"
RAW_CONNECT = (
    _LIBC
    + """
import socket, struct
s = libc.syscall(41 if os.uname().machine == "x86_64" else 198, 2, 1, 0)
address = struct.pack("=H", 2) + struct.pack(">H", {port}) + bytes([127, 0, 0, 1]) + bytes(8)
if s >= 0 and libc.connect(s, address, 16) == 0: print("BROKE raw connect")
"""
)


BUFFER = """
import socket
one, _ = socket.socketpair()
before = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, before // 4)
if one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) != before: print("BROKE buffer")
"""


def syscall_attack(name: str, x86: int, arm: int, words: str, bites: Bites = "anybody") -> Attack:
    """A raw system call that has to be refused; it succeeded where it returns no error."""
    number = f'number = {x86} if os.uname().machine == "x86_64" else {arm}\n'
    return Attack(name, f"{_LIBC}{number}if libc.syscall(number, {words}) >= 0: print('BROKE {name}')", bites)


ATTACKS = [
    Attack("read a file of the host", READ),
    Attack("read it through a child", in_child(READ)),
    Attack("read it with a raw system call", _LIBC + "fd = libc.open({secret!r}.encode(), 0)\n"
           "if fd >= 0: print('BROKE raw read', os.read(fd, 100))"),
    Attack("read it through a symlink",
           "import os\nos.symlink({secret!r}, 'link')\nprint('BROKE link', open('link').read())"),
    Attack("hard link to it", "import os\nos.link({secret!r}, {target!r})\nprint('BROKE', open({target!r}).read())"),
    Attack("climb out with ..", "up = '../' * 40 + {secret!r}.lstrip('/')\nprint('BROKE climb', open(up).read())"),
    Attack("read the user database", "print('BROKE passwd', open('/etc/passwd').read()[:20])"),
    Attack("list the kernel's devices", "import os\nprint('BROKE sys', os.listdir('/sys'))"),
    Attack("write a file of the host", WRITE),
    Attack("write it through a child", in_child(WRITE)),
    Attack("write beside the standard library", "import os\nhere = os.path.dirname(os.__file__)\n"
           "if os.access(here, os.W_OK): print('BROKE library')", "root"),
    Attack("make a device",
           "import os, stat\nos.mknod('disk', 0o600 | stat.S_IFCHR, os.makedev(1, 9))\nprint('BROKE mknod')", "root"),
    Attack("secrets in the environment", "import os\nif 'SECRET' in os.environ: print('BROKE env')"),
    Attack("environment of other processes",
           "print('BROKE environ', open('/proc/{victim}/environ', 'rb').read(10))", "root"),
    Attack("environment in its own memory", "import os, ctypes\nget = ctypes.CDLL(None).getenv\n"
           "get.restype = ctypes.c_char_p\nif get(b'SECRET'): print('BROKE getenv')"),
    Attack("connect", CONNECT),
    Attack("connect from a child", in_child(CONNECT)),
    Attack("larger buffers of a socket", BUFFER),
    Attack("connect from a thread", "import threading\ndef go():\n    import socket\n"
           "    socket.create_connection(('127.0.0.1', {port}), 2)\n    print('BROKE thread')\n"
           "t = threading.Thread(target=go); t.start(); t.join()"),
    Attack("connect with raw system calls", RAW_CONNECT),
    Attack("raw system calls from a child", in_child(RAW_CONNECT)),
    Attack("listen", "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); print('BROKE listen')"),
    Attack("abstract unix socket",
           "import socket\ns = socket.socket(socket.AF_UNIX); s.bind(b'\\0rlllm-test'); print('BROKE')"),
    Attack("datagram to a name server", "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
           "s.sendto(b'x', ('127.0.0.1', {port})); print('BROKE datagram')"),
    Attack("netlink", "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); print('BROKE netlink')"),
    Attack("run a shell",
           "import subprocess\nprint('BROKE', subprocess.run(['/bin/sh', '-c', 'echo out'], capture_output=True))"),
    Attack("run a file of its own",
           "import os, subprocess\nopen('x', 'w').write('#!/bin/sh\\n')\nos.chmod('x', 0o755)\n"
           "subprocess.run(['./x'], check=True); print('BROKE exec')"),
    Attack("run from memory", _LIBC + "fd = os.memfd_create('x')\nprint('BROKE memfd')"),
    Attack("signal the parent",
           "import os\nparent = os.getppid()\nif parent:\n    os.kill(parent, 0); print('BROKE parent')"),
    Attack("signal another process", "import os\nos.kill({victim}, 0); print('BROKE victim')"),
    Attack("kill another process", "import os, signal\nos.kill({victim}, signal.SIGCONT); print('BROKE kill')"),
    Attack("signal its process group", "import os, signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
           "os.killpg({victim}, 0); print('BROKE group')"),
    Attack("end the first process",
           "import os, signal, time\nos.kill(1, signal.SIGKILL); time.sleep(0.2)\nos.kill(1, 9)", "nobody"),
    Attack("see other processes",
           "import os\nfound = [p for p in os.listdir('/proc') if p.isdigit()]\nprint('BROKE proc', found)"),
    Attack("its own descriptors in /proc", "import os\nprint('BROKE fd', os.listdir('/proc/self/fd'))"),
    Attack("memory of the parent",
           "import os\nopen('/proc/%d/mem' % (os.getppid() or 1), 'rb'); print('BROKE mem')", "root"),
    Attack("trace a child of its own", _LIBC + "import time\npid = os.fork()\nif pid == 0: time.sleep(5)\n"
           "if libc.ptrace(16, pid, 0, 0) == 0: print('BROKE ptrace')\nos.kill(pid, 9)"),
    Attack("trace the first process", _LIBC + "if libc.ptrace(16, 1, 0, 0) == 0: print('BROKE ptrace')", "nobody"),
    Attack("allow being traced", _LIBC + "if libc.ptrace(0, 0, 0, 0) == 0: print('BROKE traceme')"),
    Attack("descriptors left open",
           "import os\nfor fd in range(4, 1024):\n    try:\n        os.fstat(fd); print('BROKE held', fd)\n"
           "    except OSError: pass", "nobody"),
    Attack("a descriptor of the host's root", "import os\nfor fd in range(1024):\n    try:\n"
           "        os.stat({secret!r}.lstrip('/'), dir_fd=fd); print('BROKE root', fd)\n"
           "    except OSError: pass", "nobody"),
    Attack("change root", "import os\nos.mkdir('d'); os.chroot('d'); print('BROKE chroot')", "root"),
    Attack("become root", "import os\nos.setuid(0); print('BROKE root')", "root"),
    Attack("look like root", "import os\nif os.getuid() == 0: print('BROKE uid')", "root"),
    Attack("mount",
           _LIBC + "if libc.mount(b'none', b'.', b'tmpfs', 0, None) == 0:\n"
           "    print('BROKE mount'); libc.umount2(b'.', 2)", "root"),
    Attack("remount the library for writing", _LIBC + "place = os.path.dirname(os.__file__).encode()\n"
           "if libc.mount(b'none', place, None, 4128, None) == 0: print('BROKE remount')", "nobody"),
    Attack("unmount its folder",
           _LIBC + "os.chdir('/')\nif libc.umount2(b'/job/box', 2) == 0: print('BROKE umount')", "nobody"),
    Attack("new user namespace", _LIBC + "if libc.unshare(0x10000000) == 0: print('BROKE userns')", "root"),
    Attack("new user namespace by clone", _LIBC + "number = 56 if os.uname().machine == 'x86_64' else 220\n"
           "pid = libc.syscall(number, 0x10000000 | 17, 0, 0, 0, 0)\nif pid == 0: os._exit(0)\n"
           "if pid > 0: print('BROKE clone')", "root"),
    Attack("a child that its own parent has to bury", _LIBC + "number = 56 if os.uname().machine == 'x86_64' else 220\n"
           "pid = libc.syscall(number, 0x8000 | 17, 0, 0, 0, 0)\nif pid == 0: os._exit(0)\n"
           "if pid > 0: print('BROKE clone')", "nobody"),
    Attack("join a namespace",
           _LIBC + "fd = os.open('/proc/self/ns/uts', 0)\nif libc.setns(fd, 0) == 0: print('BROKE setns')", "root"),
    Attack("a handle on its peer", "import socket, array\ns = socket.socket(fileno=3)\nfd = s.getsockopt(1, 77)\n"
           "import signal\nsignal.pidfd_send_signal(fd, 0); print('BROKE pidfd')", "nobody"),
    Attack("raise its own limits",
           "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1)); print('BROKE rlimit')"),
    Attack("higher priority", "import os\nos.nice(-5); print('BROKE nice')", "root"),
    Attack("undo the system call filter", _LIBC + "if libc.prctl(21, 0, 0, 0, 0) == 0: print('BROKE no filter')"),
    Attack("system calls of another architecture",
           _LIBC + "if libc.syscall(0x40000000 + 39) > 0: print('BROKE x32')", "nobody"),
    Attack("change the host's name",
           "import os, socket\nsocket.sethostname(os.uname().nodename); print('BROKE hostname')", "root"),
    Attack("name its control group", "print('BROKE cgroup', open('/proc/self/cgroup').read())"),
    Attack("shared memory segment", _LIBC + "if libc.shmget(0, 4096, 0o1666) >= 0: print('BROKE shm')"),
    Attack("message queue", _LIBC + "q = libc.msgget(0, 0o1666)\nif q >= 0:\n"
    "    print('BROKE msg'); libc.msgctl(q, 0, None)"),
    Attack("load a library that it wrote", "import ctypes, os, shutil, _ctypes\nplace = _ctypes.__file__\n"
           "shutil.copyfile(place, 'own.so'); ctypes.CDLL('./own.so'); print('BROKE dlopen')"),
    syscall_attack("io_uring", 425, 425, "8, ctypes.create_string_buffer(120)", "nobody"),
    syscall_attack("bpf", 321, 280, "0, ctypes.create_string_buffer(128), 128", "nobody"),
    syscall_attack("keyctl", 250, 219, "0, -3, 1", "nobody"),
    syscall_attack("perf_event_open", 298, 241, "ctypes.create_string_buffer(128), 0, -1, -1, 0", "nobody"),
    syscall_attack("userfaultfd", 323, 282, "0", "nobody"),
    Attack("memory of another process", _LIBC + "import struct\nbuffer = ctypes.create_string_buffer(8)\n"
           "vector = struct.pack('QQ', ctypes.addressof(buffer), 8)\n"
           "if libc.process_vm_readv(os.getpid(), vector, 1, vector, 1, 0) == 8: print('BROKE vm')"),
    syscall_attack("pidfd_open", 434, 434, "os.getpid(), 0"),
    syscall_attack("open_tree", 428, 428, "-100, b'.', 0"),
    syscall_attack("fsopen", 430, 430, "b'tmpfs', 0", "root"),
    syscall_attack("name_to_handle_at", 303, 264, "-100, b'.', ctypes.create_string_buffer(b'\\x80' + bytes(300)), "
                   "ctypes.byref(ctypes.c_int()), 0"),
    syscall_attack("personality", 135, 92, "0x40000"),
    syscall_attack("a call newer than the table", 470, 470, "0, 0", "nobody"),
]  # fmt: skip
