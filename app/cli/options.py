"""Options that several commands share, and helpers that read settings and rules and print results. Knows no command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...data.errors import QueryError, SettingsError

if TYPE_CHECKING:
    from rich.console import Console

    from ...data.records import Rules
    from ...data.settings import Settings

WorkspacePath = Annotated[Path, typer.Option("-w", "--workspace", help="Folder of the workspace.")]
Llm = Annotated[
    str | None,
    typer.Option(help="Language model: smollm2, a folder, a Hugging Face id, openai:http://host:port/v1 (with --llm-model), or none."),
]
LlmModel = Annotated[str | None, typer.Option(help="Name of the model at the endpoint of --llm.")]
LlmPolicy = Annotated[
    str | None,
    typer.Option(help="When the LLM ranks: when-better (its measured gain is above 0), always (its fitted weight), never."),
]
LlmWeight = Annotated[str | None, typer.Option(help="Weight of the LLM's scores: auto (the measured one), or a number.")]
RerankDepth = Annotated[int | None, typer.Option(help="Number of candidates that the LLM reads (default: 20).")]
EmbedderName = Annotated[str | None, typer.Option("--embedder", help="Embedding model: minilm, a folder, or a Hugging Face id.")]
Quantization = Annotated[
    str | None, typer.Option(help="Precision of the LLM weights: nf4, bf16, fp32, or auto (the fastest on this machine).")
]
Chroma = Annotated[
    str | None, typer.Option(help="Vector database: http://host:port of a Chroma server, or `folder` for the one in the workspace.")
]
EventsUrl = Annotated[
    str | None, typer.Option("--events", help="URL of the event log, postgresql+psycopg://... Default: a file in the workspace.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_from(**options: object) -> Settings:
    """The settings of the environment, overridden by the options that are not None.

    Raises:
        SettingsError: An option or an environment variable is invalid.
    """
    from ...data.settings import Settings

    return Settings.read().with_(**options)


def rules_from(**options: Any) -> Rules:
    """The rules from command-line options, validated.

    Raises:
        QueryError: The scope is unknown, or two rules contradict each other.
    """
    from ...data.records import Rules
    from ...recommend.constraints.eligibility import validate_rules

    if options["scope"] not in ("new", "other"):
        raise QueryError(f"--scope must be new or other, not {options['scope']!r}")
    # Typer passes a repeatable option as a list, or as None without the option.
    lists = {name: tuple(options[name] or ()) for name in ("include_categories", "exclude_categories", "brands")}
    rules = Rules(**{**options, **lists})
    validate_rules(rules)
    return rules


def console() -> Console:
    """Standard output for people. Text is printed as it is; rich markup in it is not interpreted."""
    from rich.console import Console

    return Console(highlight=False, markup=False)


def print_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=1))


def one_line(text: str) -> str:
    """The text as one line without control characters, for error messages."""
    from ..terminal.render import printable

    return printable(" ".join(text.split()))


def check_is_folder(out: Path) -> None:
    """Check that an output folder is not a file. Raises: SettingsError: it is one."""
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; --out must be a folder")
