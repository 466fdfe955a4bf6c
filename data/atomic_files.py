"""Atomic replacement of files and folders: readers see the old content or the new one, never a mixture.

New content is written beside the target, flushed to disk, and renamed over the target.
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
    """Replace the content of `path` in one step; a killed process leaves the old file or the new one."""
    with replacing(path) as fresh:
        fresh.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` if the block succeeds and is removed if it fails."""
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
    """Yield an empty folder in `parent`, on the same file system; it is removed at the end unless it was renamed."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=parent))
    folder.chmod(0o777 & ~_umask())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `target` if the block succeeds and is removed if it fails."""
    with staging_folder(target.parent) as staging:
        fresh = staging / "fresh"
        fresh.mkdir()
        yield fresh
        replace_folder(fresh, target)


def replace_folder(fresh: Path, target: Path) -> None:
    """Replace the folder `target` by `fresh` in one step; both are on the same file system.

    A killed process leaves the old folder or the new one. On systems that cannot exchange two folders atomically the old one is moved
    away first, and a kill between the two steps leaves none.
    """
    for file in fresh.rglob("*"):
        flush(file)
    try:
        fresh.rename(target)  # succeeds if there is no target or an empty one
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
    """Exchange two paths atomically; return False, with nothing changed, if the system does not support it."""
    current_folder, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    result = renameat2(current_folder, os.fsencode(first), current_folder, os.fsencode(second), ctypes.c_uint(exchange))
    return bool(result == 0)


def _umask() -> int:
    """The process's umask: temporary files are private, but the final ones get the usual permissions."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sweep(parent: Path) -> None:
    """Remove temporary files of killed runs from `parent`; the caller must hold the lock."""
    for path in parent.glob(STAGING_PREFIX + "*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Flush a file, or the directory entries of a folder, to disk (fsync)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
