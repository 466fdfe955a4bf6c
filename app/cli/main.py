"""The command line: entry point, list of commands, and error handling.

Exit codes: 0 for success; 2 for invalid input, with one sentence on stderr; 1 for a bug, with a traceback. Heavy libraries are imported
only by the commands that need them.
"""

from __future__ import annotations

import gc
import os
import sys

import typer

from ...data.errors import CrossaisleError, SettingsError
from ...data.threads import share_cores
from . import events, ingest, judge, keys, models, probe, recommend, serve, train
from .options import one_line

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
share_cores()

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Cross-category recommendations with explanations.",
)
# In the order of --help.
for command in (
    ingest.demo,
    ingest.ingest,
    ingest.index,
    train.train,
    recommend.recommend,
    recommend.why,
    recommend.profile,
    probe.probe,
    probe.uses,
    train.evaluate,
    serve.serve,
):
    app.command()(command)
app.add_typer(judge.app, name="judge")
app.add_typer(events.app, name="events")
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")


def main() -> None:
    """Run the command line and exit with its exit code."""
    # Importing torch and similar libraries creates millions of permanent objects; collecting garbage among them takes a tenth of the start.
    gc.set_threshold(100_000, 50, 100)
    try:
        if any("\ud800" <= c <= "\udfff" for argument in sys.argv for c in argument):
            raise SettingsError("an argument is not valid text in the encoding of this terminal; use UTF-8")
        code = app(standalone_mode=False)
    except CrossaisleError as error:
        print(f"crossaisle: {one_line(str(error))}", file=sys.stderr)
        sys.exit(2)
    except typer.Abort:
        sys.exit(130)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        print("crossaisle: interrupted; the last complete state of the workspace is kept", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has closed the pipe (as `| head` does); that is no error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        # A usage error, with the message of the option parser.
        print(f"crossaisle: {one_line(error.format_message())}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
