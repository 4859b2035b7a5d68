"""The system call filter: a list of what a Python program needs; everything else fails with EPERM.

Not on the list, on purpose: running files (`execve`), sockets other than pairs, namespaces and mounts, tracing and other
processes' memory or descriptors, `memfd_create` and System V or POSIX queues (memory that no limit sees), io_uring, bpf, perf,
keyrings, userfaultfd, changing identity, priority or clocks, and options of sockets, which make buffers as large as the host
allows. A call newer than this table is not on it either.
"""

from __future__ import annotations

import ctypes
import struct

from rlllm.sandbox import kernel

ARCHITECTURES = {"x86_64": (0xC000_003E, 0), "aarch64": (0xC000_00B7, 1)}
"""Audit number and column in the table below."""

# name=x86_64/aarch64, "-" where an architecture lacks the call. Numbers are those of the kernel's unistd.h.
_FILES = """
read=0/63 write=1/64 readv=19/65 writev=20/66 pread64=17/67 pwrite64=18/68 preadv=295/69 pwritev=296/70 open=2/-
openat=257/56 openat2=437/437 creat=85/- close=3/57 close_range=436/436 lseek=8/62 stat=4/- fstat=5/80 lstat=6/-
newfstatat=262/79 statx=332/291 access=21/- faccessat=269/48 faccessat2=439/439 getdents=78/- getdents64=217/61
readlink=89/- readlinkat=267/78 getcwd=79/17 chdir=80/49 fchdir=81/50 mkdir=83/- mkdirat=258/34 rmdir=84/-
unlink=87/- unlinkat=263/35 rename=82/- renameat=264/38 renameat2=316/276 link=86/- linkat=265/37 symlink=88/-
symlinkat=266/36 truncate=76/45 ftruncate=77/46 fallocate=285/47 chmod=90/- fchmod=91/52 fchmodat=268/53 utime=132/-
utimes=235/- futimesat=261/- utimensat=280/88 umask=95/166 fsync=74/82 fdatasync=75/83 sync_file_range=277/84
statfs=137/43 fstatfs=138/44 flock=73/32 copy_file_range=326/285 sendfile=40/71 fadvise64=221/223 fcntl=72/25
ioctl=16/29 dup=32/23 dup2=33/- dup3=292/24 pipe=22/- pipe2=293/59 poll=7/- ppoll=271/73 select=23/- pselect6=270/72
epoll_create=213/- epoll_create1=291/20 epoll_ctl=233/21 epoll_wait=232/- epoll_pwait=281/22 epoll_pwait2=441/441
eventfd=284/- eventfd2=290/19 timerfd_create=283/85 timerfd_settime=286/86 timerfd_gettime=287/87 signalfd=282/-
signalfd4=289/74 recvfrom=45/207 recvmsg=47/212 recvmmsg=299/243 sendto=44/206 sendmsg=46/211 sendmmsg=307/269
shutdown=48/210 getsockname=51/204 getpeername=52/205 getsockopt=55/209
"""
_MEMORY = """
mmap=9/222 mprotect=10/226 munmap=11/215 mremap=25/216 madvise=28/233 brk=12/214 msync=26/227 mincore=27/232
membarrier=324/283
"""
_PROCESSES = """
rt_sigaction=13/134 rt_sigprocmask=14/135 rt_sigreturn=15/139 rt_sigpending=127/136 rt_sigsuspend=130/133
rt_sigtimedwait=128/137 rt_sigqueueinfo=129/138 sigaltstack=131/132 pause=34/- kill=62/129 tkill=200/130 tgkill=234/131
restart_syscall=219/128 fork=57/- vfork=58/- wait4=61/260 waitid=247/95 exit=60/93 exit_group=231/94
set_tid_address=218/96 set_robust_list=273/99 get_robust_list=274/100 futex=202/98 sched_yield=24/124
sched_getaffinity=204/123 sched_getparam=143/121 sched_getscheduler=145/120 getpriority=140/141 rseq=334/293
arch_prctl=158/- prctl=157/167 getpid=39/172 getppid=110/173 gettid=186/178 getuid=102/174 geteuid=107/175
getgid=104/176 getegid=108/177 getresuid=118/148 getresgid=120/150 getgroups=115/158 getpgrp=111/- getpgid=121/155
setpgid=109/154 getsid=124/156 setsid=112/157 getrlimit=97/163 setrlimit=160/164 prlimit64=302/261 getrusage=98/165
sysinfo=99/179 uname=63/160 times=100/153 capget=125/90
"""
_TIME = """
nanosleep=35/101 clock_nanosleep=230/115 clock_gettime=228/113 clock_getres=229/114 gettimeofday=96/169 time=201/-
getitimer=36/102 setitimer=38/103 alarm=37/- timer_create=222/107 timer_settime=223/110 timer_gettime=224/108
timer_getoverrun=225/109 timer_delete=226/111 getrandom=318/278 getcpu=309/168
"""
_CLONE, _CLONE3, _SOCKETPAIR = (56, 220), (435, 435), (53, 199)

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_EPERM, _ENOSYS = 1, 38
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_LINE = struct.Struct("=HBBI")
_X32 = 0x4000_0000
_AF_UNIX = 1
# With CLONE_PARENT a program makes children of the worker, which nobody reaps: its namespace then never ends.
_NO_CLONE = kernel.NAMESPACES | kernel.CLONE_PARENT


def allowed(column: int) -> list[int]:
    """The call numbers of one architecture (column of the table) that pass without a look at their arguments."""
    cells = (cell.partition("=")[2].split("/")[column] for cell in (_FILES + _MEMORY + _PROCESSES + _TIME).split())
    return sorted(int(cell) for cell in cells if cell != "-")


def program() -> bytes:
    """The filter as classic BPF, for this machine: the calls that need a look, then a binary search in the list."""
    audit, column = ARCHITECTURES[kernel.machine()]
    lines = [
        *(_line(_LOAD, _ARCHITECTURE), _line(_EQUAL, audit, 1, 0), _line(_RETURN, _KILL)),
        *(_line(_LOAD, _NUMBER), _line(_AT_LEAST, _X32, 0, 1), _line(_RETURN, _KILL)),
        *(_line(_EQUAL, _CLONE3[column], 0, 1), _line(_RETURN, _REFUSE | _ENOSYS)),  # libc then falls back on clone
        *(_line(_EQUAL, _CLONE[column], 0, 4), _line(_LOAD, _FIRST_ARGUMENT)),
        *(_line(_ANY_BIT, _NO_CLONE, 0, 1), _line(_RETURN, _REFUSE | _EPERM), _line(_RETURN, _ALLOW)),
        *(_line(_EQUAL, _SOCKETPAIR[column], 0, 4), _line(_LOAD, _FIRST_ARGUMENT)),
        *(_line(_EQUAL, _AF_UNIX, 0, 1), _line(_RETURN, _ALLOW), _line(_RETURN, _REFUSE | _EPERM)),
    ]
    return b"".join(lines + _search(_turns(allowed(column)), _REFUSE | _EPERM))


def _turns(numbers: list[int]) -> list[tuple[int, int]]:
    """Where the answer changes along the call numbers: (first number, answer from there on)."""
    turns: list[tuple[int, int]] = []
    for number in numbers:
        if turns and turns[-1][0] == number:
            turns.pop()
        else:
            turns.append((number, _ALLOW))
        turns.append((number + 1, _REFUSE | _EPERM))
    return turns


def _search(turns: list[tuple[int, int]], below: int) -> list[bytes]:
    """Lines that return the answer of the last turn not above the loaded number, or `below` where there is none."""
    if not turns:
        return [_line(_RETURN, below)]
    middle = len(turns) // 2
    first, answer = turns[middle]
    left, right = _search(turns[:middle], below), _search(turns[middle + 1 :], answer)
    return [_line(_AT_LEAST, first, len(left), 0), *left, *right]


class Filter:
    """A filter in the memory layout that the kernel reads, made once and installed in many processes."""

    def __init__(self, code: bytes) -> None:
        self._code = ctypes.create_string_buffer(code, len(code))
        header = struct.pack("@HP", len(code) // _LINE.size, ctypes.addressof(self._code))
        self._header = ctypes.create_string_buffer(header)
        self._address = ctypes.addressof(self._header)

    def install(self) -> None:
        """Put it on this process and all its children, for good. Needs no_new_privs."""
        kernel.prctl(kernel.PR_SET_SECCOMP, 2, self._address)


def available() -> bool:
    """Whether this kernel filters system calls at all."""
    try:
        return kernel.prctl(kernel.PR_GET_SECCOMP) >= 0
    except OSError:
        return False


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return _LINE.pack(code, if_true, if_false, value)
