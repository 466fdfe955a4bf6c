"""Teaching the LLM from a store's questions: who is learned from, what is kept, and what a kill leaves."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossaisle.data.errors import NotTrainedError, StaleTrainingError, TrainingError
from crossaisle.data.settings import Settings
from crossaisle.data.workspace import Workspace
from crossaisle.recommend.ranking import learned_blend
from crossaisle.recommend.ranking.candidate_facts import RANK_LIMITS, RANK_WORDS, fact_sentences
from crossaisle.recommend.ranking.llm_weight import LLM_RERANK_DEPTH, LLMScoredQuery
from crossaisle.retrieval.index.builder import load
from crossaisle.retrieval.items.catalogue import Catalogue
from crossaisle.retrieval.items.ragged import RaggedArray
from crossaisle.train import blend, llm_ranker, ranker_examples
from crossaisle.train.blend import Questions
from crossaisle.train.llm_ranker import Lots, example, settle, teach
from crossaisle.train.lora.config import FinetuneConfig
from crossaisle.train.out_of_fold import Asked
from crossaisle.train.ranker_examples import Lessons

QUICK = FinetuneConfig(rank=2, alpha=4, epochs=1, batch=4, lr=1e-3, validate_every=50, checkpoint_every=2)


@pytest.fixture(scope="module")
def catalogue(demo_workspace: Workspace, settings: Settings) -> Catalogue:
    return load(demo_workspace, settings)[0]


@pytest.fixture(scope="module")
def asked(catalogue: Catalogue) -> Asked:
    """Two hundred questions of a hundred users over the demo store: sixty candidates each, the bought one mostly the strongest."""
    random = np.random.default_rng(4)
    number, size = 200, 60
    values = random.normal(0, 1, (number * size, 3)).astype(np.float32)
    bought = np.zeros(number * size, dtype=bool)
    rows, histories = [], []
    for question in range(number):
        drawn = random.choice(len(catalogue), size + 4, replace=False)
        histories.append(drawn[size:].tolist())
        rows.append(np.sort(drawn[:size]))
        bought[question * size + random.integers(size)] = True
    values[bought, 0] += 3
    facts = np.full((number * size, 3), [-1, 0, 0], dtype=np.int32)
    facts[::2] = np.stack(
        [np.repeat([history[0] for history in histories], size)[::2], np.full(number * size // 2, 3), np.full(number * size // 2, 40)],
        axis=1,
    )
    questions = Questions(
        ["one:log rank", "two:share", "three:share"], values, bought, np.arange(number + 1, dtype=np.int64) * size, np.arange(number) // 2
    )
    return Asked(questions, [f"u{n // 2}" for n in range(number)], RaggedArray.of(histories), np.concatenate(rows).astype(np.int32), facts)


@pytest.fixture(scope="module")
def taught(asked: Asked, catalogue: Catalogue) -> Lessons:
    return Lessons.of(asked, blend.fit(asked.questions, seed=0), catalogue, 0)


def test_lessons_hold_the_best_the_bought_and_their_likes(asked: Asked, taught: Lessons, catalogue: Catalogue) -> None:
    assert len(taught) == len(asked.questions)
    assert int(taught.bought.sum()) == int(asked.questions.bought.sum())
    first = 0
    for number in range(len(taught)):
        run = taught.run(number)
        scores, rows = taught.scores[run], taught.rows[run]
        assert (np.diff(scores) <= 0).all()
        assert len(set(rows.tolist())) == len(rows)
        whole = slice(number * 60, number * 60 + 60)
        assert set(rows.tolist()) <= set(asked.rows[whole].tolist())
        assert taught.histories[number].tolist() == asked.histories[number].tolist()
        bought = rows[taught.bought[run]]
        category = catalogue.category[rows]
        assert (category[taught.matched[run]] == catalogue.category[bought][0]).all()
        assert not (taught.matched[run] & taught.bought[run]).any()
        assert int((~taught.matched[run] & ~taught.bought[run]).sum()) in (ranker_examples.SHORT - 1, ranker_examples.SHORT)
        first += bool(taught.bought[run][0])
        for row, told in zip(rows.tolist(), taught.facts[run].tolist(), strict=True):  # each keeps its own fact
            assert told == asked.facts[whole][asked.rows[whole] == row][0].tolist()
    assert first > 60  # the order is that of a blend that learned what matters


def test_no_score_knows_its_own_user(asked: Asked) -> None:
    """A feature that gives away the answers of one part of the users does not help the scores of that part."""
    questions = asked.questions
    part = np.random.default_rng([0, 1]).permutation(np.unique(questions.user))[:: ranker_examples.PARTS]
    mine = np.isin(questions.user[questions.owner], part)
    values = questions.values.copy()
    values[:, 2] = 0
    blind = dataclasses.replace(questions, values=values.copy())
    values[questions.bought & mine, 2] = 5
    given = dataclasses.replace(questions, values=values)
    model = blend.fit(given, seed=0)
    assert model.scores(values[mine & questions.bought]).mean() > model.scores(blind.values[mine & questions.bought]).mean() + 1
    known, unknown = ranker_examples._unknowing(given, model, 0), ranker_examples._unknowing(blind, model, 0)
    np.testing.assert_allclose(known[mine], unknown[mine], atol=1e-6)
    assert np.abs(known[~mine] - unknown[~mine]).max() > 0.01  # the others do learn from it


def test_lessons_are_kept(taught: Lessons, tmp_path: Path) -> None:
    home = tmp_path / learned_blend.FOLDER
    home.mkdir()
    with pytest.raises(NotTrainedError, match="train -w .* blend` first"):
        ranker_examples.load(tmp_path)
    taught.save(home)
    again = ranker_examples.load(tmp_path)
    for field in dataclasses.fields(taught):
        if field.name != "histories":
            np.testing.assert_array_equal(getattr(again, field.name), getattr(taught, field.name))
    assert again.histories.rows.tolist() == taught.histories.rows.tolist()
    (home / ranker_examples.FILE).write_bytes(b"cut")
    with pytest.raises(StaleTrainingError, match="cannot be read"):
        ranker_examples.load(tmp_path)


def test_no_user_is_in_two_lots(taught: Lessons) -> None:
    lots = Lots.draw(taught, 1000, 0)
    users = [set(taught.user[numbers].tolist()) for numbers in (lots.learning, lots.validating, lots.judging)]
    assert all(users)
    assert not users[0] & users[1]
    assert not users[0] & users[2]
    assert not users[1] & users[2]
    assert len(Lots.draw(taught, 30, 0).learning) == 30
    assert Lots.draw(taught, 1000, 1).learning.tolist() != lots.learning.tolist()
    assert Lots.draw(taught, 1000, 0).judging.tolist() == lots.judging.tolist()


def test_an_example_is_one_that_was_bought_against_those_that_were_not(taught: Lessons, catalogue: Catalogue) -> None:
    draw = np.random.default_rng(0)
    for number in range(30):
        made = example(taught, number, catalogue, draw)
        run = taught.run(number)
        rows = [catalogue.row(item.item_id) for item in made.candidates]
        bought = set(taught.rows[run][taught.bought[run]].tolist())
        assert rows[made.target] in bought
        assert not bought & set(rows[1:])
        assert len(set(rows)) == len(rows)
        assert len(rows) == llm_ranker.CANDIDATES
        best = [row for row in taught.rows[run].tolist() if row not in bought][:LLM_RERANK_DEPTH]
        matched = {row for row, chosen in zip(taught.rows[run].tolist(), taught.matched[run].tolist(), strict=True) if chosen} - bought
        if taught.bought[run][:LLM_RERANK_DEPTH].any():
            assert rows[0] in taught.rows[run][:LLM_RERANK_DEPTH]
            assert len(rows) == llm_ranker.CANDIDATES
            hard = llm_ranker.CANDIDATES - 1 - min(llm_ranker.CANDIDATES - 1 - llm_ranker.HARD, len(matched))
            assert sum(row in best for row in rows[1:]) >= hard
        else:  # what is not among the best is never set against the best
            assert set(rows[1:]) <= matched
        assert [item.item_id for item in made.history] == [catalogue.id(row) for row in taught.histories[number].tolist()]
        assert made.facts is not None
        told = [str(fact).partition(". ") for fact in made.facts]
        assert all(fact.startswith(("Never seen together. ", "Sometimes: 8 of 100 who bought")) for _, _, fact in told)  # 3 of 40
        assert any(fact.startswith("Sometimes") for _, _, fact in told)
        places = [taught.rows[run].tolist().index(row) + 1 for row in rows]
        assert [first for first, _, _ in told] == [
            next((words for edge, words in zip(RANK_LIMITS, RANK_WORDS, strict=False) if place <= edge), RANK_WORDS[-1]) for place in places
        ]


def test_a_fact_is_a_word_and_a_share_of_a_hundred(catalogue: Catalogue) -> None:
    told = np.asarray([[-1, 0, 0], [0, 3, 40], [0, 1, 1000], [1, 7, 7]], dtype=np.int32)
    most, least = int(catalogue.users.max()), 0
    none, some, hardly, all_ = fact_sentences(told, np.asarray([most, least, least, most], dtype=np.int32), catalogue)
    title = catalogue.items["title"][0]
    assert none == "Never seen together. A bestseller."
    assert some == f'Sometimes: 8 of 100 who bought "{title}" also bought it. Hardly known.'
    assert hardly.startswith("Hardly ever: less than 1 of 100")
    assert all_.startswith("Nearly always: 100 of 100")
    placed = fact_sentences(np.repeat(told[:1], 8, axis=0), np.full(8, most, np.int32), catalogue, np.asarray([1, 2, 3, 4, 10, 11, 20, 21]))
    assert [fact.split(". ")[0] for fact in placed] == [RANK_WORDS[which] for which in (0, 1, 1, 2, 3, 4, 4, 5)]
    assert all(fact.endswith(". Never seen together. A bestseller.") for fact in placed)


def test_what_the_shopper_bought_does_not_count_for_itself(taught: Lessons, catalogue: Catalogue) -> None:
    """The facts of a question are those of a store that the shopper never came to."""
    number = next(number for number in range(len(taught)) if taught.bought[taught.run(number)].any())
    run = taught.run(number)
    fewer = dataclasses.replace(catalogue, users=catalogue.users.copy())
    fewer.users[taught.rows[run][taught.bought[run]]] -= 1
    rows = taught.rows[run]
    told = llm_ranker._told(taught, run, catalogue, 3)
    assert told == fact_sentences(taught.facts[run], fewer.users[rows], catalogue, np.arange(1, len(rows) + 1))
    assert llm_ranker._told(taught, run, catalogue, 2) == [fact.partition(". ")[2] for fact in told]


def test_the_vote_is_nothing_unless_it_measures_better() -> None:
    random = np.random.default_rng(1)
    users = np.arange(120)

    def read(helps: float) -> list[LLMScoredQuery]:
        found = []
        for _ in users:
            bought = np.zeros(LLM_RERANK_DEPTH, dtype=bool)
            bought[random.integers(LLM_RERANK_DEPTH)] = True
            scores = np.sort(random.normal(0, 1, LLM_RERANK_DEPTH))[::-1] + bought
            found.append(LLMScoredQuery(scores, random.normal(0, 1, LLM_RERANK_DEPTH) + helps * bought, bought))
        return found

    vote, figures = settle(read(2.0), users, 0)
    assert vote.weight > 0.5
    assert figures["judged_with_llm_ndcg@10"] > figures["judged_blend_ndcg@10"]
    assert figures["judged_gain"]["low"] > 0
    vote, figures = settle(read(-1.0), users, 0)
    assert vote.weight == 0
    assert figures["judged_gain"]["value"] == 0
    assert settle([], np.empty(0, np.int64), 0)[1] == {"judged": 0}


@pytest.fixture(scope="module")
def school(taught: Lessons, catalogue: Catalogue, small: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder where a small LLM was taught."""
    folder = tmp_path_factory.mktemp("school")
    return folder, teach(folder, small, taught, catalogue, {"snapshot": "s1", "held_out": None}, config=QUICK, most=24)


def test_the_adapter_stands_with_its_vote(school: tuple[Path, dict[str, Any]]) -> None:
    folder, figures = school
    card = json.loads((folder / "adapter" / "card.json").read_text())
    assert (card["snapshot"], card["held_out"]) == ("s1", None)
    assert card["vote"]["weight"] == figures["vote"] >= 0
    assert card["figures"]["examples"] == 24
    assert card["figures"]["judged"] > 10
    assert sorted(file.name for file in folder.iterdir()) == ["adapter"]


def test_the_same_again_costs_nothing(
    school: tuple[Path, dict[str, Any]], taught: Lessons, catalogue: Catalogue, small: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(school[0], folder)
    steps: list[str] = []

    def tell(stage: str, _: int, __: int) -> None:
        steps.append(stage)

    about = {"snapshot": "s1", "held_out": None}
    assert teach(folder, small, taught, catalogue, about, config=QUICK, most=24, progress=tell) == school[1]
    # The same data in a new snapshot: nothing is learned anew, and the card is of the new one.
    assert teach(folder, small, taught, catalogue, {**about, "snapshot": "s2"}, config=QUICK, most=24, progress=tell) == school[1]
    assert json.loads((folder / "adapter" / "card.json").read_text())["snapshot"] == "s2"
    assert steps == []
    # Another setting is another adapter.
    teach(folder, small, taught, catalogue, about, config=dataclasses.replace(QUICK, lr=2e-3), most=24, progress=tell)
    assert any(stage.startswith("ranker, loss") for stage in steps)


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", ["ranker, loss", "judging"])
def test_a_killed_run_goes_on_and_ends_the_same(
    school: tuple[Path, dict[str, Any]], taught: Lessons, catalogue: Catalogue, small: Settings, tmp_path: Path, at: str
) -> None:
    about = {"snapshot": "s1", "held_out": None}
    seen: list[int] = []

    def kill(stage: str, done: int, _: int) -> None:
        if stage.startswith(at) and done >= 4:
            raise Killed

    def tell(stage: str, done: int, _: int) -> None:
        if stage.startswith("ranker"):
            seen.append(done)

    with pytest.raises(Killed):
        teach(tmp_path, small, taught, catalogue, about, config=QUICK, most=24, progress=kill)
    assert not (tmp_path / "adapter").exists()  # nothing half-made is ever used
    figures = teach(tmp_path, small, taught, catalogue, about, config=QUICK, most=24, progress=tell)
    assert seen == ([] if at == "judging" else seen)
    assert not seen or seen[0] > 1
    weights = "adapter_model.safetensors"
    assert (tmp_path / "adapter" / weights).read_bytes() == (school[0] / "adapter" / weights).read_bytes()
    assert figures["vote"] == school[1]["vote"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter"]


def test_too_few_shoppers_are_one_sentence(
    taught: Lessons, catalogue: Catalogue, small: Settings, tmp_path: Path, make_store: Callable[..., Path]
) -> None:
    with pytest.raises(TrainingError, match="5 shoppers' questions are too few to teach the LLM; at least 20"):
        teach(tmp_path, small, taught, catalogue, {}, config=QUICK, most=5)
    assert list(tmp_path.iterdir()) == []
