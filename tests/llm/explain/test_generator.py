"""Reasons worded by the model that learned it: true, filled, hedged, written again where a wording does not pass."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from crossaisle.data import deadlines
from crossaisle.data.errors import StaleAdapterError, TimedOutError
from crossaisle.data.records import Evidence, Explanation, Item
from crossaisle.data.settings import Settings
from crossaisle.llm.explain.briefs import ExplanationBrief, Tone
from crossaisle.llm.explain.constrained_decoding import Length
from crossaisle.llm.explain.explainer import Explainer
from crossaisle.llm.explain.generator import ExplanationGenerator, is_well_formed
from crossaisle.llm.explain.grounding import grounding_faults
from crossaisle.llm.explain.reasons import Occasion, Reason
from crossaisle.llm.explain.slots import SupportStatistic
from crossaisle.llm.explain.vocabulary import HEDGE_WORDS, OWNERSHIP_WORDS
from crossaisle.llm.explain.wording_cache import TemplateKey
from crossaisle.llm.models import adapters, bundled
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.model_source import fingerprint
from crossaisle.llm.ranking.ranker import Ranker

NAMES = ["Pyra Gas Stove", "Lumen Head Torch", "Fell Wool Blanket", "Kettlow Cooler Bag", "Ardent Trail Map"]


@pytest.fixture(scope="module")
def writing(settings: Settings) -> LanguageModel:
    """The embedded LLM with the adapter that ships."""
    chosen = settings.with_(llm="smollm2", quantization="nf4")
    llm = LanguageModel.load(chosen)
    llm.load_explainer_adapter(bundled.EXPLAINER_ADAPTER, fingerprint("smollm2", chosen.home))
    return llm


def reason(item: str = NAMES[0], *, has: bool = True, weak: bool = False, need: str | None = None) -> Reason:
    own = None if need else "Norrvik Dome Tent"
    facts = [
        Evidence("association", f"14 of 120 shoppers who bought {own} also bought {item}, 3.1 times the usual share", "tent", 3.1, "e1"),
        Evidence("review", f"Boils a litre before the {item.split()[-1]} is up.", "stove", 0.5, "e2"),
        Evidence("review", "The knob broke after a week.", "stove", 0.5, "e3", against=True),
        Evidence("attribute", "it costs 36.90, at the price level that you usually choose", "stove", 36.9, "e4"),
        Evidence("history", f"bought before: {own}, close in description to {item}", "tent", 0.5, "e5"),
        Evidence("need", need or "", None, None, "e6"),
    ]
    slots: dict[str, str | SupportStatistic] = (
        {} if weak or need else {"figure": SupportStatistic(14, 120, "bought", str(own), item), "usual": "3.1 times the usual share"}
    )
    slots |= {"quote": f"“{facts[1].text}”", "close": "its description is close to that" if need else "the two are close in description"}
    slots |= {"price": facts[3].text, "caution": f"“{facts[2].text}”"}
    backing = {"figure": "e1", "usual": "e1", "quote": "e2", "caution": "e3", "price": "e4", "close": "e5"}
    return Reason(
        item, own, has, need, tuple(facts), ("the two are close.",), not weak, f"The {item} is close in description.",
        slot_values=slots, slot_evidence=backing, confident=not weak and not need,
    )  # fmt: skip


@pytest.fixture
def undrawn(writing: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    """The same without the wordings that come with the adapter: all are drawn."""
    monkeypatch.setattr(writing, "explainer_folder", None)
    return writing


@pytest.fixture(scope="module")
def explainer(writing: LanguageModel) -> Explainer:
    return Explainer(writing)


@pytest.mark.parametrize(("tone", "length"), [("warm", "line"), ("expert", "line"), ("plain", "paragraph"), ("warm", "bullets")])
def test_a_list_is_worded_and_every_word_is_borne_out(explainer: Explainer, tone: Tone, length: Length) -> None:
    reasons = [reason(name) for name in NAMES]
    found = explainer.explain(reasons, tone, length)
    print(*(one.text for one in found), sep="\n")
    assert sum(one.source == "llm" for one in found) >= (4 if length == "line" else 3)
    for about, one in zip(reasons, found, strict=True):
        assert one.verified
        assert about.item in one.text
        assert grounding_faults(one.text, about.product_names, about.evidence, allow_lines=length == "bullets") == []
        assert one.claims or one.source == "evidence"
        for claim in one.claims:
            assert claim.text in one.text
            assert claim.evidence_id in {fact.evidence_id for fact in about.evidence}
    worded = [one for one in found if one.source == "llm"]
    assert all(len(one.claims) >= (1 if length == "line" else 2) for one in worded)
    assert all("\n- " in one.text for one in worded) == (length == "bullets")
    assert len({one.text.replace(name, "") for one, name in zip(found, NAMES, strict=True)}) >= 3, "a list that says the same five times"


def test_the_same_is_worded_the_same_and_only_once(undrawn: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = [reason(name) for name in NAMES[:3]]
    kept = Explainer(undrawn, cache=tmp_path)
    first = kept.explain(reasons)
    assert kept._generator is not None
    mine = kept._generator.wordings
    monkeypatch.setattr(undrawn, "generate", lambda *_, **__: pytest.fail("it was written before"))
    assert kept.explain(reasons) == first
    # Another process finds the wordings; a file that is cut is as good as none.
    (file,) = tmp_path.iterdir()
    assert Explainer(undrawn, cache=tmp_path).explain(reasons) == first
    assert dict(ExplanationGenerator(undrawn, tmp_path).wordings.items()) == dict(mine.items()) != {}
    file.write_text(file.read_text()[:-30])
    assert dict(ExplanationGenerator(undrawn, tmp_path).wordings.items()) == {}


def test_what_comes_with_the_adapter_is_told_without_the_model(writing: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert writing.explainer_folder is not None
    ready = ExplanationGenerator(writing).wordings
    assert len(dict(ready.items())) > 300
    for (kind, _), text in ready.items():
        assert text is None or is_well_formed(text, kind), text
    monkeypatch.setattr(writing, "generate", lambda *_, **__: pytest.fail("it is there"))
    found = Explainer(writing).explain([reason(name) for name in NAMES])
    assert [one.source for one in found] == ["llm"] * len(NAMES)
    # Of another adapter they would not be: what it writes is its own.
    monkeypatch.setattr(writing, "explainer_hash", "0" * 64)
    assert dict(ExplanationGenerator(writing).wordings.items()) == {}


def test_what_is_weak_is_hedged_and_what_was_seen_is_not_had(explainer: Explainer) -> None:
    for one in explainer.explain([reason(name, has=False, weak=True) for name in NAMES]):
        words = {word.strip(".,:;“”").casefold() for word in one.text.split("“")[0].split()}
        assert one.source == "evidence" or words & HEDGE_WORDS
        assert one.source == "evidence" or not words & (OWNERSHIP_WORDS - {"already", "had"})


def test_a_need_is_worded_from_the_shoppers_own_words(explainer: Explainer) -> None:
    found = explainer.explain([reason(name, need="a weekend in the hills") for name in NAMES])
    assert sum(one.source == "llm" for one in found) >= 4
    assert all("“a weekend in the hills”" in one.text for one in found if one.source == "llm")


def test_a_wording_that_does_not_pass_is_written_again_with_the_fault_named(
    undrawn: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, asked = ExplanationGenerator(undrawn), []
    wordings = iter([["With your {own}, the {item} is waterproof: {figure}."], ["With your {own}, the {item} is next: {figure}."]])

    def write(briefs: Sequence[ExplanationBrief], _: Sequence[str], times: int = 1) -> list[tuple[str, float]]:
        asked.extend(briefs)
        return [(text, 0.0) for text in next(wordings) for _ in range(times)] if briefs else []

    monkeypatch.setattr(writer, "generate_wordings", write)
    monkeypatch.setattr("crossaisle.llm.explain.generator._choose_facts", lambda *_: ["figure"])
    told: dict[int, Explanation | None] = {}
    writer.explain([reason()], "warm", "line", told.__setitem__)
    one = told[0]
    assert one is not None
    assert (
        one.text
        == "With your Norrvik Dome Tent, the Pyra Gas Stove is next: 14 of 120 shoppers who bought the first also bought the second."
    )
    assert [brief.fault for brief in asked] == [None, "“waterproof” is not in the evidence"]


def test_what_needs_no_drawing_is_told_first_and_the_rest_as_it_is_drawn(undrawn: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    # Which facts are told follows from the item here, so that the kinds of the five are known.
    told_of = dict(zip(NAMES, (["figure"], ["close"], ["price"], ["figure"], ["close"]), strict=True))
    texts = {
        "figure": ["With your {own}, the {item} is next: {figure}.", "The {item} is the one for the {own}: {figure}."],
        "close": ["With your {own}, the {item} may be next: {close}.", "The {item} may suit the {own}: {close}."],
        "price": ["With your {own}, the {item} may be next: {price}.", "The {item} may suit the {own}: {price}."],
    }
    log: list[str] = []

    def compose(briefs: Sequence[ExplanationBrief], _: Sequence[str], times: int = 1) -> list[tuple[str, float]]:
        if not briefs:
            return []
        facts = [next(fact for fact in texts if fact in brief.slots) for brief in briefs]
        log.append(f"drawn {'+'.join(sorted(set(facts)))}")
        return [(texts[fact][n % 2], -n / 100) for fact in facts for n in range(times)]

    monkeypatch.setattr(
        "crossaisle.llm.explain.generator.stable_hash",
        lambda key: NAMES.index(next(name for name in NAMES if name in key)) if "(" in key else 0,
    )
    reasons = [reason(name, has=False) for name in NAMES]
    monkeypatch.setattr(
        "crossaisle.llm.explain.generator._choose_facts",
        lambda slots, *_: told_of[next(name for name in NAMES if getattr(slots["figure"], "item", "") == name)],
    )

    def worded(*, soon: bool, before: Sequence[int] = ()) -> list[Explanation | None]:
        writer, found = ExplanationGenerator(undrawn), dict[int, Explanation | None]()
        monkeypatch.setattr(writer, "generate_wordings", compose)

        def stands(place: int, explanation: Explanation | None) -> None:
            log.append(str(place))
            found[place] = explanation

        for place in before:
            writer.explain([reasons[place]], "warm", "line", lambda *_: None)
        log.clear()
        writer.explain(reasons, "warm", "line", stands, streaming=soon)
        return [found[place] for place in range(len(reasons))]

    together = worded(soon=False)
    assert log == ["drawn close+figure+price", "0", "1", "2", "3", "4"]
    assert all(one and one.source == "llm" for one in together)
    assert worded(soon=True) == together
    assert log == ["drawn figure", "0", "3", "drawn close+price", "1", "2", "4"]
    # What was worded before comes first, and whatever has the same wordings to choose from keeps its order.
    assert worded(soon=True, before=[2])[2] == together[2]
    assert log == ["2", "drawn figure", "0", "3", "drawn close", "1", "4"]


def test_who_has_gone_waits_for_no_wording(undrawn: LanguageModel) -> None:
    late, begun = deadlines.Deadline(60), threading.Timer(0.3, lambda: setattr(late, "cancelled", True))
    begun.start()
    with pytest.raises(TimedOutError), deadlines.within(late):
        Explainer(undrawn).explain([reason(name) for name in NAMES], "warm", "paragraph")
    begun.join()


def test_what_never_passes_is_left_to_the_evidence(undrawn: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    explainer = Explainer(undrawn)
    assert explainer._generator is not None
    monkeypatch.setattr(
        explainer._generator,
        "generate_wordings",
        lambda briefs, _, times=1: [("The {item} of the {own} is waterproof.", 0.0)] * (len(briefs) * times),
    )
    (one,) = explainer.explain([reason()])
    assert (one.source, one.text) == ("evidence", reason().plain_sentence)


def test_praise_is_not_told_as_a_reservation_nor_a_complaint_as_praise() -> None:
    about = reason()
    praise, complaint = about.slot_values["quote"], about.slot_values["caution"]
    for text, fine in (
        (f"The Pyra Gas Stove may be next, though a reviewer wrote {complaint}", True),
        (f"The Pyra Gas Stove may be next: a reviewer wrote {praise}", True),
        (f"The Pyra Gas Stove may be next: a reviewer wrote {complaint}", False),
        (f"The Pyra Gas Stove may be next, with a reservation: {praise}", False),
    ):
        assert (grounding_faults(text, about.product_names, about.evidence) == []) == fine, text


def test_nothing_to_say_is_said(writing: LanguageModel) -> None:
    nothing = Reason("Pyra Gas Stove", None, False, None, (), (), False, "")
    (one,) = Explainer(writing).explain([nothing])
    assert (one.text, one.source, one.claims) == ("", "none", ())


def test_the_ranking_is_that_of_the_base(writing: LanguageModel, llm: LanguageModel) -> None:
    """What was learned of wording is on only while it words."""
    items = [Item(name, name, ("Camping",)) for name in NAMES]
    before = Ranker(writing).scores([], "a tent", items)
    Explainer(writing).explain([reason()])
    assert before.tolist() == Ranker(writing).scores([], "a tent", items).tolist() == Ranker(llm).scores([], "a tent", items).tolist()


def test_an_adapter_of_another_model_or_task_is_refused(settings: Settings, small: Settings, tmp_path: Path) -> None:
    other = LanguageModel.load(small)
    with pytest.raises(StaleAdapterError):
        other.load_explainer_adapter(bundled.EXPLAINER_ADAPTER, fingerprint(small.llm, small.home))
    base = fingerprint("smollm2", settings.home)
    with pytest.raises(StaleAdapterError, match="trained for the prompt 'word.v1'"):
        adapters.check_compatibility(bundled.EXPLAINER_ADAPTER, "smollm2", base, adapters.RANKING)
    assert adapters.check_compatibility(bundled.EXPLAINER_ADAPTER, "smollm2", base, adapters.EXPLAINING) == 1


@pytest.mark.parametrize(
    ("occasion", "text", "good"),
    [
        ("owned", "To go with your {own}, the {item} is a logical choice: {figure}.", True),
        ("owned", "If you want to add to your {own}, look at the {item}: {figure}.", True),
        ("owned", "If you choose the {own}, you might want the {item} with it: {figure}.", False),
        ("owned", "Before you decide on the {own}, you might look at the {item}: {figure}.", False),
        ("seen", "If you choose the {own}, you might want the {item} with it: {figure}.", True),
        ("seen", "You might look at the {item} and the {own}.", False),
        ("seen", "The {own} is here, so might look at the {item} too: {figure}.", False),
    ],
)
def test_what_the_shopper_has_is_not_still_to_be_chosen(occasion: Occasion, text: str, good: bool) -> None:
    assert is_well_formed(text, TemplateKey(frozenset({"own", "item", "figure"}), False, occasion, "warm", "line")) == good
