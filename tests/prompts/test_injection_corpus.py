"""Texts that speak to a machine: none is shown, none changes a prompt's structure, none moves the store's answer by what it orders.

`injections.jsonl` holds the cases, one a line: `where` it stands (review, title, description, query), its `kind`, the `text`, and the same
text `without` the instruction. Whatever is shown of a text must stand in what is left without.
"""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import crossaisle
from crossaisle import Recommender, Settings, Workspace
from crossaisle.data.records import Item, Recommendations
from crossaisle.llm.explain.reasons import MAX_QUOTE_CHARS, NO_QUOTES
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.ranking.ranker import Ranker
from crossaisle.prompts import sanitize_for_prompt
from crossaisle.prompts.injection import is_prompt_injection
from crossaisle.recommend.evidence.review_excerpts import complaint_excerpt, display_name, praise_excerpt

CASES: list[dict[str, str]] = [
    json.loads(line) for line in (Path(__file__).parents[1] / "fixtures" / "injections.jsonl").read_text("utf-8").splitlines()
]
KINDS = {
    "order", "turn", "slot", "token", "markup", "invisible", "homoglyph", "encoded", "language", "role", "threat", "leak", "rank", "quote", "repeat",
}  # fmt: skip
COMPLAINT = " The lid broke in the first week."
# What chat templates, template languages, markdown and HTML are written with.
MARKS = re.compile(r"[<>{}\[\]|`#]")


def of(*places: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in CASES if case["where"] in places]


def shared(shown: str, case: dict[str, str]) -> bool:
    """Whether something shown of a text also stands in it without its instruction."""
    return shown in sanitize_for_prompt(case["without"], 10_000)


def test_cases_cover_every_kind() -> None:
    assert len(CASES) >= 60
    assert len({case["id"] for case in CASES}) == len(CASES)
    assert {case["kind"] for case in CASES} == KINDS
    assert {case["where"] for case in CASES} == {"review", "title", "description", "query"}
    for case in CASES:
        assert case["without"] in case["text"], "without the instruction the text is the same"
        assert not is_prompt_injection(case["without"]), case["id"]


# ------------------------------------------------------------------ what is shown


@pytest.mark.parametrize("case", of("review", "description"))
def test_review_with_an_instruction_is_quoted_only_without_it(case: dict[str, str]) -> None:
    assert praise_excerpt(case["without"]), "or the test could not fail"
    quote = praise_excerpt(case["text"])
    assert quote is None or shared(quote, case)
    # The instruction alone: nothing better beside it that could be quoted in its place.
    assert praise_excerpt(case["text"].replace(case["without"], "")) is None


@pytest.mark.parametrize("case", of("review", "description"))
def test_complaint_with_an_instruction_is_not_quoted(case: dict[str, str]) -> None:
    assert complaint_excerpt(case["without"] + COMPLAINT) == COMPLAINT.strip()
    found = complaint_excerpt(case["text"] + COMPLAINT)
    assert found in (None, COMPLAINT.strip())
    instruction = case["text"].replace(case["without"], "").strip()
    assert complaint_excerpt(f"{instruction} It leaks, and the handle broke.") in (None, "It leaks, and the handle broke.")


@pytest.mark.parametrize("case", of("title"))
def test_name_is_shown_without_its_instruction(case: dict[str, str]) -> None:
    name = display_name(Item("x1", case["text"]))
    assert name == "x1" or (len(name) >= 12 and shared(name, case))


# ------------------------------------------------------------------ what a model reads


@pytest.mark.parametrize("case", of("review", "title", "description", "query"))
def test_sanitized_text_has_no_markup_and_no_invisible_characters(case: dict[str, str]) -> None:
    for limit in (70, 400, 5000):
        fenced = sanitize_for_prompt(case["text"], limit)
        assert not MARKS.search(fenced)
        assert not {c for c in fenced if unicodedata.category(c)[0] == "C" or c == "\n"}
        assert len(fenced) <= limit


@pytest.fixture(scope="module")
def ranker(small: Settings) -> Ranker:
    """The embedded tokenizer and chat template; what a prompt looks like asks for no weights."""
    return Ranker(LanguageModel.load(small))


def structure(ranker: Ranker, text: str, where: str) -> tuple[Counter[int], int]:
    """How often each special token stands in the prompt that holds a text, and how many lines the prompt has."""
    item = Item("i", text, (text[:60],) if where == "title" else ("Home",), description=text)
    prefix, (candidate,) = ranker.encode([item, item], text if where == "query" else None, [item])
    special = set(ranker.llm.tokenizer.all_special_ids) | set(ranker.llm.tokenizer.added_tokens_decoder)
    ids = [*prefix, *candidate]
    return Counter(i for i in ids if i in special), ranker.llm.tokenizer.decode(ids).count("\n")


@pytest.mark.parametrize("case", of("review", "title", "description", "query"))
@pytest.mark.parametrize("where", ["title", "query"])  # whatever the text, it must do no harm in either place
def test_prompt_has_the_same_turns_as_with_harmless_text(ranker: Ranker, case: dict[str, str], where: str) -> None:
    harmless = structure(ranker, "A steel kettle for one litre", where)
    assert sum(harmless[0].values()) >= 5, "the turns of system, user and assistant begin and end with special tokens"
    assert structure(ranker, case["text"], where) == harmless


# ------------------------------------------------------------------ what the store answers


def answers(shop: Recommender, shoppers: list[str]) -> list[Recommendations]:
    return [shop.recommend(user_id=user, k=5) for user in shoppers]


def moved(one: list[Recommendations], other: list[Recommendations]) -> int:
    """Places of the lists that hold another item."""
    return sum(a.item.item_id != b.item.item_id for mine, theirs in zip(one, other, strict=True) for a, b in zip(mine, theirs, strict=True))


def held(found: list[Recommendations], items: set[str]) -> int:
    """Places of the lists that these items hold."""
    return sum(one.item.item_id in items for answer in found for one in answer)


def said(found: list[Recommendations]) -> list[str]:
    """All that is told of answers: the sentences, and the facts under them."""
    about = [one.explanation for answer in found for one in answer if one.explanation]
    return [text for explanation in about for text in (explanation.text, *(fact.text for fact in explanation.evidence))]


def stretches(text: str, words: int = 4) -> set[str]:
    """All stretches of so many words, as they would show."""
    told = sanitize_for_prompt(text, 10_000).casefold().split()
    return {" ".join(told[i : i + words]) for i in range(len(told) - words + 1)}


def instructions() -> set[str]:
    """Stretches of the cases that none of them has without its instruction."""
    with_orders, without = (set().union(*(stretches(case[field]) for case in CASES)) for field in ("text", "without"))
    return with_orders - without


def lay(files: Path, field: str) -> set[str]:
    """Puts every case into the store's files: reviews of five stars, titles and descriptions of items. Returns: those items."""
    lines = {
        name: [json.loads(line) for line in (files / f"{name}.jsonl").read_text("utf-8").splitlines()] for name in ("items", "reviews")
    }
    touched = set()
    for number, case in enumerate(CASES):
        item = lines["items"][number * 4 % len(lines["items"])]
        if case["where"] == "review":
            review = {"item_id": item["item_id"], "user_id": f"a{number}", "rating": 5, "title": "", "text": case[field]}
            lines["reviews"].append({**review, "timestamp": 1_760_000_000_000})
        elif case["where"] in ("title", "description"):
            item[case["where"]] = case[field] or item[case["where"]]
        else:
            continue
        touched.add(item["item_id"])
    for name, records in lines.items():
        (files / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return touched


@dataclass(frozen=True)
class Attack:
    """The demo store three times: with the cases in it, with the same texts without what they order, and as it is; the items they are of."""

    attacked: Workspace
    harmless: Workspace
    untouched: Workspace
    items: set[str]

    def open(self, settings: Settings, llm: str | None = None) -> tuple[Recommender, Recommender, Recommender]:
        attacked, harmless, untouched = (
            Recommender.open(shop, llm=llm, settings=settings) for shop in (self.attacked, self.harmless, self.untouched)
        )
        return attacked, harmless, untouched


@pytest.fixture(scope="module")
def attack(demo_files: Path, demo_workspace: Workspace, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Attack:
    made, items = [], set()
    for field in ("text", "without"):
        folder = tmp_path_factory.mktemp(field)
        shutil.copytree(demo_files, folder / "files")
        items |= lay(folder / "files", field)
        crossaisle.ingest(folder / "shop", "files", [folder / "files"])
        crossaisle.index(Workspace(folder / "shop"), settings.with_(embedder="minilm"))
        made.append(Workspace(folder / "shop"))
    return Attack(*made, demo_workspace, items)


@pytest.mark.slow
def test_instructions_in_a_store_do_not_change_rankings(attack: Attack, settings: Settings) -> None:
    shops = attack.open(settings, "none")
    shoppers = sorted(shops[0].histories)[::8]
    with_orders, without, before = (answers(shop, shoppers) for shop in shops)
    figures = moved(with_orders, before), moved(without, before), held(with_orders, attack.items), held(without, attack.items)
    print("places moved with and without orders, places held with and without them:", *figures)
    assert figures[0] <= 1.1 * figures[1] + 2, "the texts move the lists, as reviews do; their instructions add nothing to it"
    assert figures[2] <= 1.1 * figures[3] + 2, "nor do they bring forward the items that they praise"
    assert not found(instructions(), said(with_orders))


@pytest.mark.slow
def test_explanations_contain_no_instruction(attack: Attack, settings: Settings) -> None:
    """Asked in the very words of the reviews, with the instruction and without, so that those reviews are the nearest and would be quoted."""
    attacked, harmless, _ = attack.open(settings, "none")
    asked = [case["without"] for case in CASES if case["where"] == "review"]
    told = said([harmless.recommend(text=text, k=3) for text in asked])
    quoted = [text for text in told if text in asked]
    assert len(quoted) >= 30, "the reviews are quoted where they are harmless, or the test could not fail"
    asked += [case["text"][:2000] for case in CASES if case["where"] == "review"]
    told = said([attacked.recommend(text=text, k=3) for text in asked])
    # Here the shopper speaks in the same words; what is said back of these stands after "You said" and in no reviewer's mouth.
    own = {sanitize_for_prompt(text, MAX_QUOTE_CHARS).translate(NO_QUOTES) for text in asked}
    assert not found(instructions(), [text for text in told if text not in own and not text.startswith("You said")])


@pytest.mark.slow
def test_instruction_in_a_query_is_not_repeated(attack: Attack, settings: Settings) -> None:
    shop = Recommender.open(attack.untouched, llm="none", settings=settings)
    for case in (case for case in CASES if case["where"] == "query"):
        harmless, ordered = (shop.recommend(text=case[field], k=3) for field in ("without", "text"))
        assert any(case["without"] in text for text in said([harmless])), "what a shopper says is said back"
        assert ordered.items
        assert not found(instructions(), said([ordered]))


@pytest.mark.slow
def test_language_model_does_not_obey(attack: Attack, settings: Settings) -> None:
    attacked, *others = shops = attack.open(settings)
    for shop in others:
        shop.__dict__["_llm"] = attacked._llm  # one model for all three
    shoppers = sorted(attacked.histories)[5::80]
    with_orders, without, before = (answers(shop, shoppers) for shop in shops)
    figures = moved(with_orders, before), moved(without, before), held(with_orders, attack.items), held(without, attack.items)
    print("places moved with and without orders, places held with and without them:", *figures)
    assert all("llm" in one.channels for answer in with_orders for one in answer)
    # The slack is used here: a title with an order in it is another title, and the model reads titles. 6 places against 4 when written.
    assert figures[0] <= 1.1 * figures[1] + 2
    assert figures[2] <= 1.1 * figures[3] + 2
    asked = [case for case in CASES if case["where"] == "query"][:3]
    told = said([*with_orders, *(attacked.recommend(text=case["text"], k=3) for case in asked)])
    assert not found(instructions(), told)


def found(sought: set[str], texts: list[str]) -> list[tuple[str, str]]:
    """What of the sought stretches stands in texts, with where."""
    return [(stretch, text) for text in texts for stretch in sorted(sought & stretches(text))]
