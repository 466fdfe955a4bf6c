"""Runs a piece of code again and again on copies of a folder, and each time kills the process one step later, as by a power cut.

The steps are the operating system's own: every fsync, rename, removal. The libraries are imported once; each run is a fork of that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RUNNER = """
import json, os, shutil, signal, sys
import polars, sqlalchemy.dialects.sqlite, filelock
source, copies, most, setup, code = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
exec(setup)
for step in range(1, most + 1):
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


def run_with_crashes(source: Path, copies: Path, setup: str, code: str, most: int = 100) -> list[Path]:
    """The copies as each run left them, in the order of the steps; the last run was not killed.

    Args: source: the folder as it is before; `path` in the code is the copy. setup: imports, run once.
    """
    copies.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(source), str(copies), str(most), setup, code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert all(run["killed"] for run in runs[:-1])
    assert runs[-1]["code"] == 0, done.stderr or "it was still being killed at the last step"
    return [Path(run["path"]) for run in runs]
