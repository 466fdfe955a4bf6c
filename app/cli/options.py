"""What the commands share: the options that several of them take, and how they read settings and rules and answer.

Knows of no command.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...data.errors import QueryError

if TYPE_CHECKING:
    from rich.console import Console

    from ...data.records import Rules
    from ...data.settings import Settings

Where = Annotated[Path, typer.Option("-w", "--workspace", help="Folder of the workspace.")]
Llm = Annotated[str | None, typer.Option(help="smollm2, a folder, a Hugging Face id, or none.")]
EmbedderName = Annotated[str | None, typer.Option("--embedder", help="minilm, a folder, or a Hugging Face id.")]
Quantization = Annotated[str | None, typer.Option(help="nf4, bf16, fp32, or auto: what is fastest here.")]
Chroma = Annotated[str | None, typer.Option(help="http://host:port of a Chroma server, or folder for the workspace's own.")]
EventsUrl = Annotated[
    str | None, typer.Option("--events", help="postgresql+psycopg://... of the log of events; the workspace's own file unless told.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


def settings_with(**given: object) -> Settings:
    """The settings of the environment, replaced where an option was given.

    Raises: SettingsError: an option or a variable of the environment is off.
    """
    from ...data.settings import Settings

    return Settings.read().with_(**given)


def rules_with(**given: Any) -> Rules:
    """The rules of the options that were given, checked.

    Raises: QueryError: the scope is none, or two rules contradict each other.
    """
    from ...data.records import Rules
    from ...recommend.constraints.eligibility import check

    if given["scope"] not in ("new", "other"):
        raise QueryError(f"--scope is new or other, not {given['scope']!r}")
    # An option that may be repeated comes as a list, or as None where it was not given.
    lists = {name: tuple(given[name] or ()) for name in ("include_categories", "exclude_categories", "brands")}
    rules = Rules(**{**given, **lists})
    check(rules)
    return rules


def console() -> Console:
    """Standard output for a person: text is printed as it is, no markup is read from it."""
    from rich.console import Console

    return Console(highlight=False, markup=False)


def print_json(value: object) -> None:
    """Answers on standard output as JSON."""
    print(json.dumps(value, ensure_ascii=False, indent=1))


def one_line(text: str) -> str:
    """The text as one line without control characters, as an error is told."""
    from ..terminal.render import plain

    return plain(" ".join(text.split()))
