"""A PostgreSQL server for the tests: Debian's binaries, a cluster and a socket in a temporary folder, no port."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

OWNER = "crossaisle"
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
Fresh = Callable[[], str]
"""Creates an empty database and returns its URL."""


def unavailable_reason() -> str | None:
    """Reason why no server can be started; None if one can."""
    if not BINARIES:
        return "PostgreSQL is not installed here (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and (
        not shutil.which("setpriv") or subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode
    ):
        return "PostgreSQL does not run as root, and there is no account `postgres` to run it as"
    return None


@contextmanager
def server(*, durable: bool = False) -> Iterator[Fresh]:
    """Start a server; stop it at the end.

    Args:
        durable: Flush every commit to disk; not needed by tests, which kill clients and not the machine.
    """
    import psycopg

    binaries = BINARIES[-1]
    # Not in pytest's folder, which is private to this account.
    folder = Path(tempfile.mkdtemp(prefix="crossaisle-postgres-"))
    account: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        account = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    data = folder / "data"
    log = (folder / "log").open("wb")
    running = None
    try:
        initdb = [*account, binaries / "initdb", "-D", data, "-U", OWNER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd="/")
        options = [
            "-c",
            "listen_addresses=",
            "-c",
            f"unix_socket_directories={folder}",
            "-c",
            "shared_buffers=16MB",
            "-c",
            f"fsync={'on' if durable else 'off'}",
        ]
        running = subprocess.Popen([*account, binaries / "postgres", "-D", data, *options], stdout=log, stderr=log, cwd="/")
        _wait(f"host={folder} user={OWNER} dbname=postgres", running)
        number = itertools.count(1)

        def fresh() -> str:
            name = f"shop{next(number)}"
            with psycopg.connect(f"host={folder} user={OWNER} dbname=postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
            return f"postgresql+psycopg://{OWNER}@/{name}?host={folder}"

        yield fresh
    finally:
        if running is not None:
            running.send_signal(signal.SIGQUIT)  # immediate shutdown: its data is not needed
            running.wait(30)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(address: str, running: subprocess.Popen[bytes]) -> None:
    import psycopg

    for _ in range(300):
        assert running.poll() is None, "the server stopped during startup"
        try:
            psycopg.connect(address).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise AssertionError("the server did not start within 30 s")
