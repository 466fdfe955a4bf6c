"""Explanations by a model with an explainer adapter: grounding, caching, hedges, streaming and regeneration."""

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
from crossaisle.llm.explain.generator import ExplanationGenerator
from crossaisle.llm.explain.grounding import grounding_faults
from crossaisle.llm.explain.reasons import Occasion, Reason
from crossaisle.llm.explain.slots import SupportStatistic
from crossaisle.llm.explain.vocabulary import HEDGE_WORDS, OWNERSHIP_WORDS
from crossaisle.llm.explain.wording_cache import TemplateKey, is_well_formed
from crossaisle.llm.models import adapters, bundled
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.model_source import fingerprint
from crossaisle.llm.ranking.ranker import Ranker

NAMES = ["Pyra Gas Stove", "Lumen Head Torch", "Fell Wool Blanket", "Kettlow Cooler Bag", "Ardent Trail Map"]


@pytest.fixture(scope="module")
def tuned(settings: Settings) -> LanguageModel:
    """The bundled LLM with the shipped adapter."""
    chosen = settings.with_(llm="smollm2", quantization="nf4")
    llm = LanguageModel.load(chosen)
    llm.load_explainer_adapter(bundled.EXPLAINER_ADAPTER, fingerprint("smollm2", chosen.home))
    return llm


def reason(item: str = NAMES[0], *, purchased: bool = True, weak: bool = False, need: str | None = None) -> Reason:
    anchor = None if need else "Norrvik Dome Tent"
    facts = [
        Evidence("association", f"14 of 120 shoppers who bought {anchor} also bought {item}, 3.1 times the usual share", "tent", 3.1, "e1"),
        Evidence("review", f"Boils a litre before the {item.split()[-1]} is up.", "stove", 0.5, "e2"),
        Evidence("review", "The knob broke after a week.", "stove", 0.5, "e3", against=True),
        Evidence("attribute", "it costs 36.90, at the price level that you usually choose", "stove", 36.9, "e4"),
        Evidence("history", f"bought before: {anchor}, close in description to {item}", "tent", 0.5, "e5"),
        Evidence("need", need or "", None, None, "e6"),
    ]
    slots: dict[str, str | SupportStatistic] = (
        {} if weak or need else {"figure": SupportStatistic(14, 120, "bought", str(anchor), item), "usual": "3.1 times the usual share"}
    )
    slots |= {"quote": f"“{facts[1].text}”", "close": "its description is close to that" if need else "the two are close in description"}
    slots |= {"price": facts[3].text, "caution": f"“{facts[2].text}”"}
    slot_evidence = {"figure": "e1", "usual": "e1", "quote": "e2", "caution": "e3", "price": "e4", "close": "e5"}
    return Reason(
        item, anchor, purchased, need, tuple(facts), ("the two are close.",), not weak, f"The {item} is close in description.",
        slot_values=slots, slot_evidence=slot_evidence, confident=not weak and not need,
    )  # fmt: skip


@pytest.fixture
def without_shipped(tuned: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    """The same model without the shipped wordings: all are generated."""
    monkeypatch.setattr(tuned, "explainer_folder", None)
    return tuned


@pytest.fixture(scope="module")
def explainer(tuned: LanguageModel) -> Explainer:
    return Explainer(tuned)


@pytest.mark.parametrize(("tone", "length"), [("warm", "line"), ("expert", "line"), ("plain", "paragraph"), ("warm", "bullets")])
def test_a_list_is_explained_with_grounded_texts(explainer: Explainer, tone: Tone, length: Length) -> None:
    reasons = [reason(name) for name in NAMES]
    explanations = explainer.explain(reasons, tone, length)
    print(*(explanation.text for explanation in explanations), sep="\n")
    assert sum(explanation.source == "wording" for explanation in explanations) >= (4 if length == "line" else 3)
    for facts, explanation in zip(reasons, explanations, strict=True):
        assert explanation.verified
        assert facts.item in explanation.text
        assert grounding_faults(explanation.text, facts.product_names, facts.evidence, allow_lines=length == "bullets") == []
        assert explanation.claims or explanation.source == "evidence"
        for claim in explanation.claims:
            assert claim.text in explanation.text
            assert claim.evidence_id in {fact.evidence_id for fact in facts.evidence}
    generated = [explanation for explanation in explanations if explanation.source == "wording"]
    assert all(len(explanation.claims) >= (1 if length == "line" else 2) for explanation in generated)
    assert all("\n- " in explanation.text for explanation in generated) == (length == "bullets")
    wordings = {explanation.text.replace(name, "") for explanation, name in zip(explanations, NAMES, strict=True)}
    assert len(wordings) >= 3, "the wordings of a list vary"


def test_explanations_and_wordings_are_cached(without_shipped: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = [reason(name) for name in NAMES[:3]]
    explainer = Explainer(without_shipped, cache=tmp_path)
    first = explainer.explain(reasons)
    assert explainer._generator is not None
    wordings = explainer._generator.wordings
    monkeypatch.setattr(without_shipped, "generate", lambda *_, **__: pytest.fail("it is cached"))
    assert explainer.explain(reasons) == first
    # Another process reads the cached wordings; a truncated file counts as empty.
    (file,) = tmp_path.iterdir()
    assert Explainer(without_shipped, cache=tmp_path).explain(reasons) == first
    assert dict(ExplanationGenerator(without_shipped, tmp_path).wordings.items()) == dict(wordings.items()) != {}
    file.write_text(file.read_text()[:-30])
    assert dict(ExplanationGenerator(without_shipped, tmp_path).wordings.items()) == {}


def test_shipped_wordings_are_used_without_the_model(tuned: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuned.explainer_folder is not None
    shipped = ExplanationGenerator(tuned).wordings
    assert len(dict(shipped.items())) > 300
    for (template, _), text in shipped.items():
        assert text is None or is_well_formed(text, template), text
    monkeypatch.setattr(tuned, "generate", lambda *_, **__: pytest.fail("it is shipped"))
    explanations = Explainer(tuned).explain([reason(name) for name in NAMES])
    assert [explanation.source for explanation in explanations] == ["wording"] * len(NAMES)
    # The wordings of one adapter are not used for another.
    monkeypatch.setattr(tuned, "explainer_hash", "0" * 64)
    assert dict(ExplanationGenerator(tuned).wordings.items()) == {}


def test_weak_facts_are_hedged_and_viewed_anchors_are_not_owned(explainer: Explainer) -> None:
    for explanation in explainer.explain([reason(name, purchased=False, weak=True) for name in NAMES]):
        words = {word.strip(".,:;“”").casefold() for word in explanation.text.split("“")[0].split()}
        assert explanation.source == "evidence" or words & HEDGE_WORDS
        assert explanation.source == "evidence" or not words & (OWNERSHIP_WORDS - {"already", "had"})


def test_a_text_query_is_quoted(explainer: Explainer) -> None:
    explanations = explainer.explain([reason(name, need="a weekend in the hills") for name in NAMES])
    generated = [explanation for explanation in explanations if explanation.source == "wording"]
    assert len(generated) >= 4
    assert all("“a weekend in the hills”" in explanation.text for explanation in generated)


def test_a_faulty_wording_is_generated_again_with_the_fault_in_the_prompt(
    without_shipped: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, rendered = ExplanationGenerator(without_shipped), []
    wordings = iter([["With your {own}, the {item} is waterproof: {figure}."], ["With your {own}, the {item} is next: {figure}."]])

    def generate(briefs: Sequence[ExplanationBrief], _: Sequence[str], samples: int = 1) -> list[tuple[str, float]]:
        rendered.extend(briefs)
        return [(text, 0.0) for text in next(wordings) for _ in range(samples)] if briefs else []

    monkeypatch.setattr(generator, "generate_wordings", generate)
    monkeypatch.setattr("crossaisle.llm.explain.fact_choice.choose_facts", lambda *_: ["figure"])
    explanations: dict[int, Explanation | None] = {}
    generator.explain([reason()], "warm", "line", explanations.__setitem__)
    explanation = explanations[0]
    assert explanation is not None
    assert (
        explanation.text
        == "With your Norrvik Dome Tent, the Pyra Gas Stove is next: 14 of 120 shoppers who bought the same one also bought this one."
    )
    assert [brief.previous_fault for brief in rendered] == [None, "“waterproof” is not in the evidence"]


def test_cached_explanations_come_first_and_others_as_they_are_generated(
    without_shipped: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The chosen fact depends on the item only, so the templates of the five reasons are known.
    fact_of = dict(zip(NAMES, (["figure"], ["close"], ["price"], ["figure"], ["close"]), strict=True))
    texts = {
        "figure": ["With your {own}, the {item} is next: {figure}.", "The {item} is the one for the {own}: {figure}."],
        "close": ["With your {own}, the {item} may be next: {close}.", "The {item} may suit the {own}: {close}."],
        "price": ["With your {own}, the {item} may be next: {price}.", "The {item} may suit the {own}: {price}."],
    }
    log: list[str] = []

    def generate(briefs: Sequence[ExplanationBrief], _: Sequence[str], samples: int = 1) -> list[tuple[str, float]]:
        if not briefs:
            return []
        facts = [next(fact for fact in texts if fact in brief.slots) for brief in briefs]
        log.append(f"generated {'+'.join(sorted(set(facts)))}")
        return [(texts[fact][n % 2], -n / 100) for fact in facts for n in range(samples)]

    def item_number(key: str) -> int:
        return NAMES.index(next(name for name in NAMES if name in key)) if "(" in key else 0

    for module in ("generator", "fact_choice"):
        monkeypatch.setattr(f"crossaisle.llm.explain.{module}.stable_hash", item_number)
    reasons = [reason(name, purchased=False) for name in NAMES]
    monkeypatch.setattr(
        "crossaisle.llm.explain.fact_choice.choose_facts",
        lambda slots, *_: fact_of[next(name for name in NAMES if getattr(slots["figure"], "item", "") == name)],
    )

    def explain(*, streaming: bool, cached: Sequence[int] = ()) -> list[Explanation | None]:
        generator, explanations = ExplanationGenerator(without_shipped), dict[int, Explanation | None]()
        monkeypatch.setattr(generator, "generate_wordings", generate)

        def on_ready(index: int, explanation: Explanation | None) -> None:
            log.append(str(index))
            explanations[index] = explanation

        for index in cached:
            generator.explain([reasons[index]], "warm", "line", lambda *_: None)
        log.clear()
        generator.explain(reasons, "warm", "line", on_ready, streaming=streaming)
        return [explanations[index] for index in range(len(reasons))]

    together = explain(streaming=False)
    assert log == ["generated close+figure+price", "0", "1", "2", "3", "4"]
    assert all(explanation and explanation.source == "wording" for explanation in together)
    assert explain(streaming=True) == together
    assert log == ["generated figure", "0", "3", "generated close+price", "1", "2", "4"]
    # Cached explanations come first; reasons with the same template keep their order.
    assert explain(streaming=True, cached=[2])[2] == together[2]
    assert log == ["2", "generated figure", "0", "3", "generated close", "1", "4"]


def test_a_cancelled_request_stops_generating(without_shipped: LanguageModel) -> None:
    deadline = deadlines.Deadline(60)
    timer = threading.Timer(0.3, lambda: setattr(deadline, "cancelled", True))
    timer.start()
    with pytest.raises(TimedOutError), deadlines.within(deadline):
        Explainer(without_shipped).explain([reason(name) for name in NAMES], "warm", "paragraph")
    timer.join()


def test_plain_sentence_if_no_wording_passes(without_shipped: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    explainer = Explainer(without_shipped)
    assert explainer._generator is not None
    monkeypatch.setattr(
        explainer._generator,
        "generate_wordings",
        lambda briefs, _, samples=1: [("The {item} of the {own} is waterproof.", 0.0)] * (len(briefs) * samples),
    )
    (explanation,) = explainer.explain([reason()])
    assert (explanation.source, explanation.text) == ("evidence", reason().plain_sentence)


def test_praise_is_not_introduced_as_a_complaint_nor_a_complaint_as_praise() -> None:
    facts = reason()
    praise, complaint = facts.slot_values["quote"], facts.slot_values["caution"]
    for text, grounded in (
        (f"The Pyra Gas Stove may be next, though a reviewer wrote {complaint}", True),
        (f"The Pyra Gas Stove may be next: a reviewer wrote {praise}", True),
        (f"The Pyra Gas Stove may be next: a reviewer wrote {complaint}", False),
        (f"The Pyra Gas Stove may be next, with a reservation: {praise}", False),
    ):
        assert (grounding_faults(text, facts.product_names, facts.evidence) == []) == grounded, text


def test_no_explanation_without_facts(tuned: LanguageModel) -> None:
    nothing = Reason("Pyra Gas Stove", None, False, None, (), (), False, "")
    (explanation,) = Explainer(tuned).explain([nothing])
    assert (explanation.text, explanation.source, explanation.claims) == ("", "none", ())


def test_ranking_uses_the_base_weights(tuned: LanguageModel, llm: LanguageModel) -> None:
    """The explainer adapter is active only during generation."""
    items = [Item(name, name, ("Camping",)) for name in NAMES]
    before = Ranker(tuned).scores([], "a tent", items)
    Explainer(tuned).explain([reason()])
    assert before.tolist() == Ranker(tuned).scores([], "a tent", items).tolist() == Ranker(llm).scores([], "a tent", items).tolist()


def test_adapters_of_another_model_or_task_are_refused(settings: Settings, small: Settings, tmp_path: Path) -> None:
    other = LanguageModel.load(small)
    with pytest.raises(StaleAdapterError):
        other.load_explainer_adapter(bundled.EXPLAINER_ADAPTER, fingerprint(small.llm, small.home))
    base = fingerprint("smollm2", settings.home)
    with pytest.raises(StaleAdapterError, match="trained for the prompt 'word.v2'"):
        adapters.check_compatibility(bundled.EXPLAINER_ADAPTER, "smollm2", base, adapters.RANKING)
    assert adapters.check_compatibility(bundled.EXPLAINER_ADAPTER, "smollm2", base, adapters.EXPLAINING) == 2


@pytest.mark.parametrize(
    ("occasion", "text", "well_formed"),
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
def test_an_owned_anchor_is_not_treated_as_not_owned(occasion: Occasion, text: str, well_formed: bool) -> None:
    assert is_well_formed(text, TemplateKey(frozenset({"own", "item", "figure"}), False, occasion, "warm", "line")) == well_formed
