"""The commands about one shopper: recommend, why, profile."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...data.errors import SettingsError
from .options import (
    AsJson,
    Chroma,
    EmbedderName,
    Llm,
    LlmModel,
    LlmPolicy,
    LlmWeight,
    Quantization,
    RerankDepth,
    WorkspacePath,
    console,
    print_json,
    rules_from,
    settings_from,
)

if TYPE_CHECKING:
    from ...data.settings import Settings
    from ...recommend.recommender import Recommender

Scope = Annotated[str, typer.Option(help="new: categories absent from the history; other: any category except that of the anchor item.")]
IncludeCategory = Annotated[list[str] | None, typer.Option(help="Recommend this category only, at any level. May be repeated.")]
ExcludeCategory = Annotated[list[str] | None, typer.Option(help="Exclude this category. May be repeated.")]
MinPrice = Annotated[float | None, typer.Option(help="Lowest price.")]
MaxPrice = Annotated[float | None, typer.Option(help="Highest price.")]
Brands = Annotated[list[str] | None, typer.Option("--brand", help="Recommend this brand only. May be repeated.")]
InStock = Annotated[bool, typer.Option("--in-stock", help="Exclude items that are known to be out of stock.")]
MaxPerCategory = Annotated[int | None, typer.Option(help="Maximum number of recommendations per category.")]
IncludeOwned = Annotated[bool, typer.Option("--include-owned", help="Include items that the shopper has.")]
Without = Annotated[list[str] | None, typer.Option(help="Ignore this item of the history. May be repeated.")]


def recommend(
    workspace: WorkspacePath,
    user: Annotated[str | None, typer.Option(help="Id of a user of the workspace.")] = None,
    items: Annotated[str | None, typer.Option(help="Item ids of a basket or session, separated by commas, oldest first.")] = None,
    text: Annotated[str | None, typer.Option(help="Text query, in the shopper's words.")] = None,
    k: Annotated[int, typer.Option("-k", help="Number of recommendations.")] = 5,
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
    novelty: Annotated[float, typer.Option(help="Popularity penalty, from 0 (none) to 1.")] = 0.0,
    new_items: Annotated[int, typer.Option(help="Positions of the list reserved for new items.")] = 0,
    new_up_to: Annotated[int, typer.Option(help="Most users that a new item may have; 0 for items without users.")] = 0,
    explore: Annotated[
        bool, typer.Option("--explore", help="Explore rarely bought items by Thompson sampling; logs propensities to explored.jsonl.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain/--no-explain", help="Explain the recommendations.")] = True,
    tone: Annotated[str, typer.Option(help="Tone of the explanations: plain, warm or expert.")] = "warm",
    length: Annotated[str, typer.Option(help="Length of the explanations: line, paragraph, or bullets (marketing copy).")] = "line",
    audience: Annotated[
        str, typer.Option("--for", help="Reader of the explanations: customer (no counts, texts for a mail), marketer, or analyst.")
    ] = "marketer",
    language: Annotated[str, typer.Option(help="Language of the explanations; only English (en) can be checked so far.")] = "en",
    llm: Llm = None,
    llm_model: LlmModel = None,
    llm_policy: LlmPolicy = None,
    llm_weight: LlmWeight = None,
    rerank_depth: RerankDepth = None,
    quantization: Quantization = None,
    embedder: EmbedderName = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """Recommend items of other categories to a shopper, with explanations.

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
        raise SettingsError(f"explanations can be generated and checked in English only (--language en), not in {language!r}")
    from ...recommend.serialization import to_dict
    from ..terminal import render

    ranking = {"llm": llm, "llm_model": llm_model, "llm_policy": llm_policy, "llm_weight": llm_weight, "rerank_depth": rerank_depth}
    settings = settings_from(**ranking, quantization=quantization, embedder=embedder, chroma=chroma)
    with _opened(workspace, settings) as recommender:
        item_ids = _item_ids(items)
        result = recommender.recommend(
            user_id=user,
            items=item_ids,
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
            audience=audience,  # type: ignore[arg-type]  # checked when used
        )
        if as_json:
            print_json(to_dict(result))
            return
        rows = recommender.history(user).rows.tolist() if user is not None else []
        history = recommender.catalogue.records([*rows, *(recommender.catalogue.row(item_id) for item_id in item_ids)])
        render.print_recommendations(console(), result, [item for item in history if item.item_id not in result.query.without])


def why(
    workspace: WorkspacePath,
    item: Annotated[str, typer.Option(help="Id of the item.")],
    user: Annotated[str | None, typer.Option(help="Id of a user of the workspace.")] = None,
    items: Annotated[str | None, typer.Option(help="Item ids of a basket or session, separated by commas, oldest first.")] = None,
    k: Annotated[int, typer.Option("-k", help="Length of the list that the item is in or missing from.")] = 5,
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
            "--counterfactuals/--no-counterfactuals", help="Recompute the rank without single history items and under other rules."
        ),
    ] = True,
    llm: Llm = None,
    llm_model: LlmModel = None,
    llm_policy: LlmPolicy = None,
    llm_weight: LlmWeight = None,
    rerank_depth: RerankDepth = None,
    quantization: Quantization = None,
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """Explain why an item is recommended to a shopper or not: scores, rank, features, the deciding rule, and counterfactuals.

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
    from ..terminal import render

    ranking = {"llm": llm, "llm_model": llm_model, "llm_policy": llm_policy, "llm_weight": llm_weight, "rerank_depth": rerank_depth}
    settings = settings_from(**ranking, quantization=quantization, chroma=chroma)
    with _opened(workspace, settings) as recommender:
        result = run(
            recommender,
            item,
            user_id=user,
            items=_item_ids(items),
            rules=rules,
            k=k,
            without=tuple(without or ()),
            counterfactual=counterfactuals,
        )
        if as_json:
            print_json(result.to_dict())
        else:
            render.print_why(console(), result)


@contextmanager
def _opened(workspace: Path, settings: Settings) -> Iterator[Recommender]:
    """The recommender of a workspace, with the events since the snapshot if there are any; closed at the end."""
    from ...recommend.profiles.live_events import LiveEvents
    from ...recommend.recommender import Recommender

    with closing(Recommender.open(workspace, settings=settings)) as recommender:
        recommender.live = LiveEvents.open_if_present(recommender.workspace, recommender.settings)
        yield recommender


def _item_ids(items: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (items or "").split(",") if part.strip())


def profile(
    workspace: WorkspacePath,
    user: Annotated[str, typer.Option(help="Id of a user of the workspace.")],
    chroma: Chroma = None,
    as_json: AsJson = False,
) -> None:
    """Print the profile of a shopper: categories, brands, price level, counts, searches, and the topic of the last visit.

    Example: crossaisle profile -w shop --user u42
    """
    from ...recommend.attribution.profile_summary import profile_summary
    from ..terminal import render

    with _opened(workspace, settings_from(chroma=chroma)) as recommender:
        summary = profile_summary(recommender, user)
    if as_json:
        print_json(summary)
    else:
        render.print_profile(console(), summary)
