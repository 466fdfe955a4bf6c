"""Uses as names in a question."""

from __future__ import annotations

import polars as pl
import pytest

from crossaisle.data.errors import QueryError
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.segments.probe import Probe
from crossaisle.recommend.segments.query.entity_linking import EntityLinker
from crossaisle.recommend.segments.query.query_tree import Term
from crossaisle.recommend.segments.query.use_names import UseNames
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.uses.store import StoreUses, Use, UseSentence
from crossaisle.retrieval.uses.support import UseSupport

NONE = UseSupport(0, 0, 0.0, 0.0, 0.0, 0.0)
ITEMS = {"lantern": "Lights", "mat": "Sport", "pan": "Camping", "cup": "Kitchen"}


def use(name: str, *items: str) -> Use:
    return Use(
        name, "occasion" if "trip" in name else "task", tuple(UseSentence(item, "description", f"For {name}.") for item in items), NONE
    )


def linker(*uses: Use) -> EntityLinker:
    table = pl.DataFrame(
        {
            "item_id": list(ITEMS),
            "title": [f"{name} {number}" for number, name in enumerate(ITEMS)],
            "category": [[category] for category in ITEMS.values()],
        }
    )
    events = pl.DataFrame({"user_id": ["u"], "item_id": ["mat"], "kind": ["purchase"]})
    catalogue = Catalogue.build(table, events, 1)

    def nothing_near(text: str) -> object:
        raise AssertionError(f"{text} is free text")

    return EntityLinker(catalogue, nothing_near, UseNames.from_uses(StoreUses("English", uses), catalogue))  # type: ignore[arg-type]


SHOP = linker(
    use("trips", "lantern", "mat"), use("city trip", "mat", "cup"), use("hiking", "lantern", "cup", "gone"), use("camping", "cup")
)


@pytest.mark.parametrize(
    ("text", "name", "how", "rows"),
    [
        ("trips", "trips", "exact", [0, 1]),
        ("a trip", "trips", "plural", [0, 1]),
        ("city trips", "a city trip", "plural", [1, 3]),
        ("city trip", "a city trip", "exact", [1, 3]),
        ("hiking trips", "hiking", "inside the name", [0, 3]),
        ("weekend trips", "trips", "inside the name", [0, 1]),
        ("The Hiking", "hiking", "plural", [0, 3]),
    ],
)
def test_a_use_means_its_items(text: str, name: str, how: str, rows: list[int]) -> None:
    meaning = SHOP.resolve(Term(text))
    assert (meaning.kind, meaning.name, meaning.match) == ("use", name, how)
    assert meaning.item_mask.nonzero()[0].tolist() == rows


def test_a_category_of_the_same_name_comes_first() -> None:
    assert SHOP.resolve(Term("camping")).kind == "category"
    assert SHOP.resolve(Term("camping", "use")).item_mask.nonzero()[0].tolist() == [3]


def test_an_unknown_use_is_an_error() -> None:
    with pytest.raises(QueryError, match="no use is called .*baking.*; `crossaisle uses` lists the uses"):
        SHOP.resolve(Term("baking", "use"))


def test_a_longer_text_is_free_text() -> None:
    with pytest.raises(AssertionError, match="is free text"):
        SHOP.resolve(Term("a long trip to the sea"))


def test_the_users_of_a_use_need_something(demo_workspace: Workspace) -> None:
    result = Probe.open(demo_workspace, llm="none").ask("camping weekends")
    (understood,) = result.understood
    assert (understood["kind"], understood["name"]) == ("use", "camping")
    assert result.needs
    named = Probe.open(demo_workspace, llm="none").ask('use:"camping"')
    assert named.cohort == result.cohort
    assert [need.category for need in named.needs] == [need.category for need in result.needs]
