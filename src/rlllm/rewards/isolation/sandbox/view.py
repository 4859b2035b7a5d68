"""The file view of a program: the standard library, a null device and an empty folder of its own; nothing else of the host."""

from __future__ import annotations

import os
import sysconfig

from rlllm.rewards.isolation.sandbox import kernel

HOLDER = "/job"
FOLDER = HOLDER + "/box"
"""Where a program starts, the only place it can write to: a mount of its own, under a folder that stays, since Landlock rules
are tied to what exists when they are made and hold for all mounts below."""
_ROOT = "/proc"  # a mount point that surely exists, and under which no standard library lies


def stdlib_folders() -> list[str]:
    """The folders of the standard library, as this interpreter names them."""
    return sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


def build() -> None:
    """Make the view the root of this (new) mount namespace. Opened descriptors keep what they had."""
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", _ROOT, "tmpfs", kernel.MS_NOSUID, "size=64k,mode=755")
    for folder in stdlib_folders():
        os.makedirs(_ROOT + folder)
        _bind(folder, kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV)
        _hide_packages(folder)
    os.makedirs(_ROOT + FOLDER)
    os.mkdir(_ROOT + "/dev")
    os.close(os.open(_ROOT + "/dev/null", os.O_CREAT | os.O_WRONLY))
    _bind("/dev/null", kernel.MS_NOSUID | kernel.MS_NOEXEC)
    os.symlink(FOLDER, _ROOT + "/dev/shm")  # named semaphores, hence multiprocessing, want this folder
    flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("none", _ROOT, flags=flags)
    os.chdir(_ROOT)
    kernel.pivot_root_here()
    os.chdir("/")


def own_folder(size: int) -> None:
    """Mount an empty folder of `size` bytes, for one program, and go there."""
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("tmpfs", FOLDER, "tmpfs", flags, f"size={size},nr_inodes=4096,mode=700")
    os.chdir(FOLDER)


def _bind(path: str, flags: int) -> None:
    kernel.mount(path, _ROOT + path, flags=kernel.MS_BIND)
    kernel.mount("none", _ROOT + path, flags=kernel.MS_BIND | kernel.MS_REMOUNT | flags)


def _hide_packages(folder: str) -> None:
    for name in ("site-packages", "dist-packages"):
        if os.path.isdir(place := f"{_ROOT}{folder}/{name}"):
            kernel.mount("tmpfs", place, "tmpfs", kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV, "size=4k")
