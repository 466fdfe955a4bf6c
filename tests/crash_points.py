"""Crash tests: runs code on copies of a folder and kills the process one system call later in each run, as by a power cut.

The counted calls are fsync, rename and removal. Libraries are imported once; each run is a fork of that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RUNNER = """
import json, os, shutil, signal, sys
import polars, sqlalchemy.dialects.sqlite, filelock
source, copies, max_steps, setup, code = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
exec(setup)
for step in range(1, max_steps + 1):
    path = os.path.join(copies, f"{step:03}")
    shutil.copytree(source, path)
    child = os.fork()
    if not child:
        left = step
        def dying(real):
            def taken(*arguments, **named):
                global left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **named)
            return taken
        os.fsync, os.rename, os.replace, os.rmdir, os.unlink = map(dying, (os.fsync, os.rename, os.replace, os.rmdir, os.unlink))
        try:
            exec(code)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(json.dumps({"path": path, "killed": os.WIFSIGNALED(status), "code": os.waitstatus_to_exitcode(status)}), flush=True)
    if os.WIFEXITED(status):
        break
"""


def run_with_crashes(source: Path, copies: Path, setup: str, code: str, max_steps: int = 100) -> list[Path]:
    """Copies of the folder after each run, in the order of the kill step; the last run was not killed.

    Args:
        source: Initial folder; `path` in the code is the copy.
        copies: Folder for the copies.
        setup: Imports, executed once.
        code: Code to run.
        max_steps: Maximum number of runs.
    """
    copies.mkdir()
    process = subprocess.run(
        [sys.executable, "-c", RUNNER, str(source), str(copies), str(max_steps), setup, code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    runs = [json.loads(line) for line in process.stdout.splitlines()]
    assert process.returncode == 0, process.stderr
    assert all(run["killed"] for run in runs[:-1])
    assert runs[-1]["code"] == 0, process.stderr or "still killed at the last step"
    return [Path(run["path"]) for run in runs]
