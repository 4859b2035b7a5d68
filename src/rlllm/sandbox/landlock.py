"""Landlock: a second restriction of file access, on the task itself and not on its namespace.

Rights and structures are those of the kernel's `linux/landlock.h`; a right that an older kernel lacks is left to the mounts.
"""

from __future__ import annotations

import ctypes
import os
import struct

from rlllm.sandbox import kernel

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_RULE_PATH_BENEATH = 1
_ASK_VERSION = 1

READ = 0b1100
"""Read files and list directories."""
WRITE = READ | 0b1_0111_1011_0010 | 1 << 13 | 1 << 14
"""And write, truncate, rename, make and remove files, directories, sockets, pipes and links; no devices, no execution."""
_NET = 0b11
_SCOPE = 0b11
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}


def version() -> int:
    """The Landlock ABI of this kernel (1 or more); `OSError` where there is none or it is switched off."""
    return kernel.syscall("landlock", _CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))


def ruleset(allowed: dict[str, int]) -> int:
    """A descriptor of the rules: only the rights in `allowed`, by path; no TCP, no signals or sockets outward."""
    abi = version()
    files = (1 << _FILE_RIGHTS.get(abi, 16)) - 1
    words = [files] + [_NET] * (abi >= 4) + [_SCOPE] * (abi >= 6)
    attributes = struct.pack(f"={len(words)}Q", *words)
    rules = kernel.syscall(
        "landlock_create_ruleset", _CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)
    )
    for path, rights in allowed.items():
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", rights & files & ~_not_of_files(path), place)
        kernel.syscall("landlock_add_rule", _ADD_RULE, rules, _RULE_PATH_BENEATH, rule, ctypes.c_uint32(0))
        os.close(place)
    return rules


def restrict(rules: int) -> None:
    """Hold this process and its children to the rules, for good. Needs no_new_privs."""
    kernel.syscall("landlock_restrict_self", _RESTRICT, rules, ctypes.c_uint32(0))


def _not_of_files(path: str) -> int:
    """Rights that only directories can have; the kernel refuses them on a file."""
    of_files = 0b111 | 1 << 14 | 1 << 15
    return 0 if os.path.isdir(path) else ~of_files & 0xFFFF
