"""Files that are either the old ones or the new ones, never half of each.

Everything that must survive a kill is written beside its place, flushed to the disk, and renamed over it.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAGING_PREFIX = ".staging-"


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces `path` whole with `content`; a kill leaves the old file or the new one."""
    with replacing(path) as fresh:
        fresh.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` when the block ends well and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=STAGING_PREFIX, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    fresh = Path(name)
    fresh.chmod(0o666 & ~_umask())
    try:
        yield fresh
        flush(fresh)
        fresh.replace(path)
        flush(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in `parent`, on the same file system, gone when the block ends unless it was renamed away."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=parent))
    folder.chmod(0o777 & ~_umask())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """An empty folder to write into, which takes the place of `target` when the block ends well and vanishes when it does not."""
    with staging_folder(target.parent) as staging:
        fresh = staging / "fresh"
        fresh.mkdir()
        yield fresh
        replace_folder(fresh, target)


def replace_folder(fresh: Path, target: Path) -> None:
    """Puts a folder in the place of another in one step and removes what stood there; both are on one file system.

    A kill leaves the old folder or the new one. Where the system cannot exchange two folders the old one is moved away first, and a
    kill in that moment leaves none.
    """
    for file in fresh.rglob("*"):
        flush(file)
    try:
        fresh.rename(target)  # takes the place of nothing, or of an empty folder
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        with staging_folder(target.parent) as old:
            if not _exchange(fresh, target):
                target.rename(old / "replaced")
                fresh.rename(target)
            else:
                fresh.rename(old / "replaced")
    flush(target.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Whether the system exchanged two paths in one step; nothing was changed where it did not."""
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    return call is not None and call(here, os.fsencode(first), here, os.fsencode(second), ctypes.c_uint(exchange)) == 0


def _umask() -> int:
    """What new files may not be: temporary ones are private, and what is kept must be as open as the account's other files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sweep(parent: Path) -> None:
    """Removes what killed runs left in `parent`; only for the holder of the lock."""
    for left in parent.glob(STAGING_PREFIX + "*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Has the operating system put a file, or a folder's list of names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
