"""The command line. Every command says what it did, or in one sentence why it could not.

Exit codes: 0 done; 2 the input is at fault, one sentence on stderr; 1 a bug, with its traceback. Nothing heavy is imported until a
command needs it. The commands stand by who asks: `building`, `learning`, `asking`, `probing`, `judging`, `events`, `serving`, `keyring`,
`models`.
"""

from __future__ import annotations

import gc
import os
import sys

import typer

from ...data.errors import CrossaisleError, SettingsError
from ...data.threads import share_cores
from . import events, judge, keys, models
from . import ingest as building
from . import probe as probing
from . import recommend as asking
from . import serve as serving
from . import train as learning
from .options import one_line

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
share_cores()

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Recommends what a shopper needs next from another category, and says why.",
)
# In the order in which --help lists them.
for command in (
    building.demo,
    building.ingest,
    building.index,
    learning.train,
    asking.recommend,
    asking.why,
    asking.profile,
    probing.probe,
    learning.evaluate,
    serving.serve,
):
    app.command()(command)
app.add_typer(judge.app, name="judge")
app.add_typer(events.app, name="events")
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    # Importing torch and its like makes millions of objects that all stay; looking through them for garbage is a tenth of a start.
    gc.set_threshold(100_000, 50, 100)
    try:
        if any("\ud800" <= c <= "\udfff" for argument in sys.argv for c in argument):
            raise SettingsError("an argument is not text in the encoding of this terminal (UTF-8 is wanted)")
        code = app(standalone_mode=False)
    except CrossaisleError as error:
        print(f"crossaisle: {one_line(str(error))}", file=sys.stderr)
        sys.exit(2)
    except typer.Abort:
        sys.exit(130)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        print("crossaisle: stopped; the last good state is untouched", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever reads our output has had enough (`| head`); that is no fault.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        # A mistake on the command line itself, in the parser's words.
        print(f"crossaisle: {one_line(error.format_message())}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
