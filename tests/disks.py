"""Filesystems of the tests' own, on which not everything can be written. They end with the process that has mounted them, however it ends."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

# What <sched.h> and <sys/mount.h> call CLONE_NEWNS, MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_SLAVE and MNT_DETACH.
_NEW_MOUNTS = 0x20000
_READ_ONLY, _REMOUNT, _BIND, _ALL_BELOW, _FOLLOWING = 1, 32, 4096, 1 << 14, 1 << 19
_DETACH = 2


def own_mounts() -> bool:
    """Have this thread, and what it starts from now on, mount for themselves alone; False where the system does not let it."""
    try:
        _checked(_libc.unshare(_NEW_MOUNTS))
        _mount("none", Path("/"), None, _ALL_BELOW | _FOLLOWING)
    except (AttributeError, PermissionError):
        # It is no Linux, or may not mount.
        return False
    return True


@contextlib.contextmanager
def small(folder: Path, size: int) -> Iterator[None]:
    """A filesystem of *size* bytes, in *folder* until the block is left."""
    _mount("none", folder, "tmpfs", 0, f"size={size}")
    try:
        yield
    finally:
        _unmount(folder)


@contextlib.contextmanager
def read_only(folder: Path, view: Path) -> Iterator[None]:
    """*folder*, as it is and will be, in *view* until the block is left; nobody can write there."""
    _mount(str(folder), view, None, _BIND)
    try:
        _mount("none", view, None, _BIND | _REMOUNT | _READ_ONLY)
        yield
    finally:
        _unmount(view)


def fill(file: Path) -> None:
    """Have *file* take all room that is left where it is."""
    with file.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(1 << 16))


def _mount(source: str, folder: Path, kind: str | None, flags: int, options: str = "") -> None:
    _checked(_libc.mount(source.encode(), bytes(folder), kind.encode() if kind else None, flags, options.encode()))


def _unmount(folder: Path) -> None:
    _checked(_libc.umount2(bytes(folder), _DETACH))


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
