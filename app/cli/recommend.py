"""The commands that ask about one shopper: recommend, why, profile."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from ...data.errors import SettingsError
from .options import AsJson, Chroma, EmbedderName, Llm, Quantization, WorkspacePath, console, print_json, rules_from, settings_from

if TYPE_CHECKING:
    from ...recommend.recommender import Recommender

Scope = Annotated[str, typer.Option(help="new: categories absent from the history; other: another one than the item behind it.")]
IncludeCategory = Annotated[list[str] | None, typer.Option(help="Only this category, at any level. May be repeated.")]
ExcludeCategory = Annotated[list[str] | None, typer.Option(help="Not this category. May be repeated.")]
MinPrice = Annotated[float | None, typer.Option(help="Lowest price.")]
MaxPrice = Annotated[float | None, typer.Option(help="Highest price.")]
Brands = Annotated[list[str] | None, typer.Option("--brand", help="Only this brand. May be repeated.")]
InStock = Annotated[bool, typer.Option("--in-stock", help="Only what is not known to be out of stock.")]
MaxPerCategory = Annotated[int | None, typer.Option(help="At most this many of one category.")]
IncludeOwned = Annotated[bool, typer.Option("--include-owned", help="Also what the shopper has.")]
Without = Annotated[list[str] | None, typer.Option(help="As if this item were not in the history. May be repeated.")]


def recommend(
    workspace: WorkspacePath,
    user: Annotated[str | None, typer.Option(help="A user of the workspace.")] = None,
    items: Annotated[str | None, typer.Option(help="Item ids, separated by commas, oldest first: a basket or session.")] = None,
    text: Annotated[str | None, typer.Option(help="What the shopper says.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many.")] = 5,
    scope: Scope = "new",
    include_category: IncludeCategory = None,
    exclude_category: ExcludeCategory = None,
    min_price: MinPrice = None,
    max_price: MaxPrice = None,
    brand: Brands = None,
    in_stock: InStock = False,
    max_per_category: MaxPerCategory = None,
    include_owned: IncludeOwned = False,
    without: Without = None,
    novelty: Annotated[float, typer.Option(help="0 to 1: how strongly it counts against an item that many have it.")] = 0.0,
    new_items: Annotated[int, typer.Option(help="Places of the list that are kept for new items.")] = 0,
    new_up_to: Annotated[int, typer.Option(help="Users that an item may have and still be new; 0 is what nobody had yet.")] = 0,
    explore: Annotated[
        bool, typer.Option("--explore", help="Now and then show what few had, by Thompson sampling; propensities go to explored.jsonl.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain/--no-explain", help="Give reasons.")] = True,
    tone: Annotated[str, typer.Option(help="Of the reasons: plain, warm or expert.")] = "warm",
    length: Annotated[str, typer.Option(help="Of the reasons: line, paragraph, or bullets for a marketer's copy.")] = "line",
    language: Annotated[str, typer.Option(help="Of the reasons; English (en) is what can be checked so far.")] = "en",
    llm: Llm = None,
    quantization: Quantization = None,
    embedder: EmbedderName = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """What a shopper would want next from another category, and why.

    Example: crossaisle recommend -w shop --user u42 -k 5
    """
    rules = rules_from(
        scope=scope,
        include_categories=include_category,
        exclude_categories=exclude_category,
        min_price=min_price,
        max_price=max_price,
        brands=brand,
        in_stock=in_stock,
        max_per_category=max_per_category,
        exclude_owned=not include_owned,
    )
    if language != "en":
        raise SettingsError(f"reasons can be worded and checked in English (--language en) only so far, not in {language!r}")
    from ...recommend.recommender import Recommender
    from ...recommend.serialization import to_dict
    from ..terminal import render

    settings = settings_from(llm=llm, quantization=quantization, embedder=embedder, chroma=chroma)
    recommender = _with_events(Recommender.open(workspace, settings=settings))
    ids = _ids(items)
    answer = recommender.recommend(
        user_id=user,
        items=ids,
        text=text,
        rules=rules,
        k=k,
        novelty=novelty,
        new_items=new_items,
        new_up_to=new_up_to,
        explore=secrets.randbits(32) if explore else None,
        explain=explain,
        without=tuple(without or ()),
        tone=tone,  # type: ignore[arg-type]  # checked when used
        length=length,  # type: ignore[arg-type]  # checked when used
    )
    if as_json:
        print_json(to_dict(answer))
        return
    rows = recommender.history(user).rows.tolist() if user is not None else []
    history = recommender.catalogue.records([*rows, *(recommender.catalogue.row(key) for key in ids)])
    render.print_recommendations(console(), answer, [one for one in history if one.item_id not in answer.query.without])


def why(
    workspace: WorkspacePath,
    item: Annotated[str, typer.Option(help="The item that is asked about.")],
    user: Annotated[str | None, typer.Option(help="A user of the workspace.")] = None,
    items: Annotated[str | None, typer.Option(help="Item ids, separated by commas, oldest first: a basket or session.")] = None,
    k: Annotated[int, typer.Option("-k", help="How long the list is that it might be missing from.")] = 5,
    scope: Scope = "new",
    include_category: IncludeCategory = None,
    exclude_category: ExcludeCategory = None,
    min_price: MinPrice = None,
    max_price: MaxPrice = None,
    brand: Brands = None,
    in_stock: InStock = False,
    max_per_category: MaxPerCategory = None,
    include_owned: IncludeOwned = False,
    without: Without = None,
    counterfactuals: Annotated[
        bool,
        typer.Option(
            "--counterfactuals/--no-counterfactuals", help="Recompute what would be without a history item, or under other rules."
        ),
    ] = True,
    llm: Llm = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """Why an item is recommended to a shopper, or why not: scores, rank, features, the rule that decided, and what would change it.

    Example: crossaisle why -w shop --user u42 --item B0123
    """
    rules = rules_from(
        scope=scope,
        include_categories=include_category,
        exclude_categories=exclude_category,
        min_price=min_price,
        max_price=max_price,
        brands=brand,
        in_stock=in_stock,
        max_per_category=max_per_category,
        exclude_owned=not include_owned,
    )
    from ...recommend.attribution.why import why as run
    from ...recommend.recommender import Recommender
    from ..terminal import render

    recommender = _with_events(Recommender.open(workspace, settings=settings_from(llm=llm, quantization=quantization, chroma=chroma)))
    found = run(
        recommender,
        item,
        user_id=user,
        items=_ids(items),
        rules=rules,
        k=k,
        without=tuple(without or ()),
        counterfactual=counterfactuals,
    )
    if as_json:
        print_json(found.to_dict())
    else:
        render.print_why(console(), found)


def _with_events(recommender: Recommender) -> Recommender:
    """The recommender, looking also at what happened since the snapshot."""
    from ...recommend.profiles.live_events import LiveEvents

    recommender.live = LiveEvents.open_if_present(recommender.workspace, recommender.settings)
    return recommender


def _ids(items: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (items or "").split(",") if part.strip())


def profile(
    workspace: WorkspacePath,
    user: Annotated[str, typer.Option(help="A user of the workspace.")],
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """What is known of a shopper: categories, brands, price level, how often, what was searched, and what the last visit was about.

    Example: crossaisle profile -w shop --user u42
    """
    from ...recommend.attribution.profile_summary import profile_summary
    from ...recommend.recommender import Recommender
    from ..terminal import render

    told = profile_summary(_with_events(Recommender.open(workspace, settings=settings_from(chroma=chroma))), user)
    if as_json:
        print_json(told)
    else:
        render.print_profile(console(), told)
