"""The file view of a program: the standard library, a null device and an empty folder of its own; nothing else of the host,
but for packages that the sandbox was opened with."""

from __future__ import annotations

import os
import sysconfig

from rlllm.sandbox import kernel

HOLDER = "/job"
FOLDER = HOLDER + "/box"
"""Where a program starts, the only place it can write to: a mount of its own, under a folder that stays, since Landlock rules
are tied to what exists when they are made and hold for all mounts below."""
_ROOT = "/proc"  # a mount point that surely exists, and under which no standard library lies


def stdlib_folders() -> list[str]:
    """The folders of the standard library, as this interpreter names them."""
    return sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


def build(packages: str | None = None) -> None:
    """Make the view the root of this (new) mount namespace. Opened descriptors keep what they had.

    Args:
        packages: folder of links to the packages that programs may import; None for the standard library alone.
    """
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", _ROOT, "tmpfs", kernel.MS_NOSUID, "size=64k,mode=755")
    for folder in stdlib_folders():
        os.makedirs(_ROOT + folder)
        _bind(folder, kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV)
        _hide_packages(folder)
    if packages is not None:
        _show_packages(packages)
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


def _show_packages(folder: str) -> None:
    """Mount what the links of the folder point to, under the links' own names."""
    os.makedirs(_ROOT + folder)
    for name in os.listdir(folder):
        source, place = os.path.realpath(f"{folder}/{name}"), f"{folder}/{name}"
        if os.path.isdir(source):
            os.mkdir(_ROOT + place)
        else:
            os.close(os.open(_ROOT + place, os.O_CREAT | os.O_WRONLY))
        _bind(place, kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV, source)


def _bind(path: str, flags: int, source: str | None = None) -> None:
    kernel.mount(source or path, _ROOT + path, flags=kernel.MS_BIND)
    kernel.mount("none", _ROOT + path, flags=kernel.MS_BIND | kernel.MS_REMOUNT | flags)


def _hide_packages(folder: str) -> None:
    for name in ("site-packages", "dist-packages"):
        if os.path.isdir(place := f"{_ROOT}{folder}/{name}"):
            kernel.mount("tmpfs", place, "tmpfs", kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV, "size=4k")
