"""Options that the judge commands share, and how they become `JudgeOptions`. Knows no command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...data.errors import SettingsError
from .options import check_is_folder

if TYPE_CHECKING:
    from ...eval.judge.panel import JudgeOptions

Judges = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        help="Judge: local (default; the model of --model, or the LLM of the settings) or openai:http://host:port/v1. "
        "Repeat for a panel of judges.",
    ),
]
Models = Annotated[list[str] | None, typer.Option("--model", help="Model of the judge. Repeat for each --judge, in the same order.")]
Criteria = Annotated[str | None, typer.Option(help="Criteria to score from 1 to 5, separated by commas; all; or none.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the number of calls and tokens and the cost, without calling a judge.")]
PriceIn = Annotated[float, typer.Option(help="Price of a million prompt tokens.")]
PriceOut = Annotated[float, typer.Option(help="Price of a million completion tokens.")]
SpendLimit = Annotated[float | None, typer.Option(help="Maximum cost; the run stops before it exceeds it.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Concurrent calls; a local model answers one at a time.")]
PerMinute = Annotated[float | None, typer.Option("--requests-per-minute", help="Maximum number of calls per minute.")]
Timeout = Annotated[float, typer.Option(help="Time limit of a call in seconds.")]
Repeat = Annotated[
    float, typer.Option(min=0, max=1, help="Share of the questions to ask twice, which measures the consistency of the judge.")
]
CacheFile = Annotated[Path | None, typer.Option("--cache", help="File of cached replies. Default: replies.db in the folder of --out.")]
Calibration = Annotated[
    Path | None, typer.Option(help="calibration.json from `judge calibrate`; adds a verdict on the judge to the report.")
]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Out = Annotated[
    Path | None, typer.Option(help="Output folder for judge.json and judge.html; an interrupted run resumes from the cached replies.")
]
OptionalWorkspace = Annotated[Path | None, typer.Option("-w", "--workspace", help="Folder of the workspace.")]


def judge_options(
    judges: list[str] | None,
    models: list[str] | None,
    price_in: float,
    price_out: float,
    spend_limit: float | None,
    concurrency: int,
    per_minute: float | None,
    timeout: float,
    repeat: float,
    seed: int,
) -> JudgeOptions:
    """Return the options of a judging run. Raises: SettingsError: the spend limit is set without prices, or is not positive."""
    from ...eval.judge.cost_budget import CostBudget, Prices
    from ...eval.judge.panel import LOCAL, JudgeOptions

    prices = Prices(price_in, price_out)
    CostBudget(prices, spend_limit)  # validates the limit before anything is written
    return JudgeOptions(
        tuple(judges or (LOCAL,)), tuple(models or (None,)), prices, spend_limit, concurrency, per_minute, timeout, repeat, seed
    )


def check_output_folder(out: Path | None, dry_run: bool) -> None:
    """Check that there is an output folder, unless it is a dry run. Raises: SettingsError: no folder is given, or it is a file."""
    if out is None and not dry_run:
        raise SettingsError("missing output folder: add --out judged (or --dry-run for the number of calls and the cost only)")
    if out is not None:
        check_is_folder(out)
