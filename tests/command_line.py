"""The program `crossaisle` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("crossaisle")


def run(*arguments: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program and return its output and exit code."""
    return subprocess.run(
        [str(PROGRAM), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        timeout=1800,  # ends a process that hangs; no test depends on it
        check=False,
    )


def assert_rejected(process: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check that the program rejected its input: exit code 2, one sentence with these words on stderr, nothing on stdout."""
    assert process.returncode == 2, process.stderr
    assert process.stdout == "", process.stdout
    assert process.stderr.startswith("crossaisle: "), process.stderr
    assert process.stderr.count("\n") == 1, process.stderr
    for word in words:
        assert word in process.stderr, process.stderr
