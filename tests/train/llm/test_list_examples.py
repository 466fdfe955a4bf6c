"""Lists as examples for the LLM ranker: what is served, with the blend's scores, and varied."""

from __future__ import annotations

import numpy as np
import pytest

from crossaisle.data.records import Item
from crossaisle.recommend.ranking.candidate_facts import RANK_WORDS
from crossaisle.recommend.ranking.llm_weight import LLM_RERANK_DEPTH
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.train.llm import list_examples
from crossaisle.train.llm.list_examples import MIN_TITLE_WORDS, list_example, varied
from crossaisle.train.llm.ranker import ExampleSplit
from crossaisle.train.llm.ranker_examples import RankerExamples
from crossaisle.train.lora.listwise_loss import ListwiseExample

PROMPT = 2


@pytest.fixture(scope="module")
def informative(examples: RankerExamples) -> list[int]:
    return ExampleSplit.sample(examples, 1000, 0).training.tolist()


def test_a_validation_example_is_the_served_list_as_it_is(examples: RankerExamples, catalogue: Catalogue, informative: list[int]) -> None:
    for query in informative[:20]:
        example = list_example(examples, query, catalogue, None, version=PROMPT)
        served = slice(examples.candidates(query).start, examples.candidates(query).start + LLM_RERANK_DEPTH)
        purchased = examples.purchased[served]
        first = int(np.flatnonzero(purchased)[0])
        order = [first, *np.flatnonzero(~purchased).tolist()]
        assert example.target == 0
        assert [catalogue.row(item.item_id) for item in example.candidates] == examples.rows[served][order].tolist()
        assert example.scores == pytest.approx(examples.scores[served][order].tolist())
        assert [item.item_id for item in example.history] == [catalogue.id(row) for row in examples.histories[query].tolist()]


def test_a_training_example_has_one_purchase_and_served_negatives(
    examples: RankerExamples, catalogue: Catalogue, informative: list[int]
) -> None:
    drawn = set()
    for query in informative[:20]:
        served = slice(examples.candidates(query).start, examples.candidates(query).start + LLM_RERANK_DEPTH)
        rows, purchased = examples.rows[served].tolist(), examples.purchased[served]
        score = dict(zip(rows, examples.scores[served].tolist(), strict=True))
        example = list_example(examples, query, catalogue, np.random.default_rng(query), version=PROMPT)
        chosen = [catalogue.row(item.item_id) for item in example.candidates]
        assert len(set(chosen)) == len(chosen) == list_examples.CANDIDATES
        assert purchased[rows.index(chosen[0])]
        assert not any(purchased[rows.index(row)] for row in chosen[1:])
        assert example.scores == pytest.approx([score[row] for row in chosen])
        drawn.add(tuple(sorted(rows.index(row) for row in chosen[1:])))
    assert len(drawn) > 15  # another sample for each


def test_the_prompt_does_not_state_the_blend_s_order(examples: RankerExamples, catalogue: Catalogue, informative: list[int]) -> None:
    """Unless the prompt is one of those that do: there the scores would count twice."""
    facts = list_example(examples, informative[0], catalogue, None, version=PROMPT).facts
    assert facts is not None
    assert not any(words in str(fact) for fact in facts for words in RANK_WORDS)
    former = list_example(examples, informative[0], catalogue, None, version=3)
    assert former.facts is not None
    assert str(former.facts[1]).startswith(RANK_WORDS)
    assert former.scores is None


def test_histories_and_titles_are_varied() -> None:
    titles = ["one two three four five", "six seven", "eight nine ten eleven", "twelve", "thirteen fourteen fifteen sixteen"]
    history = [Item(f"h{n}", title, ("A",)) for n, title in enumerate(titles)]
    example = ListwiseExample(history, [Item("c1", "a b c d e f", ("B",)), Item("c2", "g", ("B",))], 0, scores=[1.0, 0.5])
    variants = [varied(example, np.random.default_rng(seed)) for seed in range(400)]
    lengths = [len(one.history) for one in variants]
    assert min(lengths) >= 1
    assert 0.3 < np.mean([length == len(history) for length in lengths]) < 0.6
    assert any([item.item_id for item in one.history] != sorted(item.item_id for item in one.history) for one in variants)
    for one in variants:
        assert (one.target, one.scores) == (0, [1.0, 0.5])
        assert [item.item_id for item in one.candidates] == ["c1", "c2"]
        for item in one.history:
            whole = titles[int(item.item_id[1:])]
            assert whole.startswith(item.title)
            assert len(item.title.split()) >= min(MIN_TITLE_WORDS, len(whole.split()))
    assert 0.1 < np.mean([one.candidates[0].title != "a b c d e f" for one in variants]) < 0.2
    alone = ListwiseExample([], example.candidates, 0)
    assert [item.item_id for item in varied(alone, np.random.default_rng(0)).candidates] == ["c1", "c2"]
