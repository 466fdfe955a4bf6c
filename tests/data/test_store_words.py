"""The store's words: forms of nouns and verbs, validation, the manifest, and defaults by format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import crossaisle
from crossaisle.data.errors import SettingsError
from crossaisle.data.readers import default_words
from crossaisle.data.store_words import DEFAULT_WORDS, StoreWords, Verb, parse_noun, parse_verb, with_indefinite_article
from crossaisle.data.workspace import Workspace

COURSES = DEFAULT_WORDS.updated("course", "learner", "take")


@pytest.mark.parametrize(
    ("given", "forms"),
    [
        ("take", ("take", "took", "taken")),
        ("bought", ("buy", "bought", "bought")),
        ("read", ("read", "read", "read")),
        ("hear", ("hear", "heard", "heard")),
        ("watched", ("watch", "watched", "watched")),
        ("sample", ("sample", "sampled", "sampled")),
        ("try", ("try", "tried", "tried")),
        ("plan", ("plan", "planned", "planned")),
        ("sign up for", ("sign up for", "signed up for", "signed up for")),
        ("spin, spun ,spun", ("spin", "spun", "spun")),
    ],
)
def test_verb_forms(given: str, forms: tuple[str, str, str]) -> None:
    assert parse_verb(given) == Verb(*forms)


@pytest.mark.parametrize(
    ("given", "forms"),
    [
        ("course", ("course", "courses")),
        ("library", ("library", "libraries")),
        ("day trip", ("day trip", "day trips")),
        ("person", ("person", "people")),
        ("opus,opera", ("opus", "opera")),
    ],
)
def test_noun_forms(given: str, forms: tuple[str, str]) -> None:
    assert parse_noun(given, "item noun") == forms


@pytest.mark.parametrize(
    "word",
    ["", "  ", "course,", "a" * 31, "one two three four", "<b>course</b>", "{item}", "a`b", "course\n# system", "a,b,c", "-", "a--b", "7"],
)
def test_unusable_words_are_one_sentence(word: str) -> None:
    with pytest.raises(SettingsError) as error:
        DEFAULT_WORDS.updated(word, None, None)
    assert str(error.value).startswith("the item noun")
    assert "\n" not in str(error.value)
    for options in ((None, word, None), (None, None, word if word != "a,b,c" else "a,b")):
        with pytest.raises(SettingsError):
            DEFAULT_WORDS.updated(*options)


def test_placeholders_and_sentence_starts() -> None:
    template = "{Users} who {past} {an_item}; {items} are {participle} by {people}, {a_user}"
    assert COURSES.fill(template) == "Learners who took a course; courses are taken by learners, a learner"
    assert DEFAULT_WORDS.fill(template) == "Shoppers who bought an item; items are bought by users, a shopper"


@pytest.mark.parametrize(
    ("noun", "words"), [("item", "an item"), ("unit", "a unit"), ("hour", "an hour"), ("trip", "a trip"), ("euro", "a euro")]
)
def test_indefinite_article(noun: str, words: str) -> None:
    assert with_indefinite_article(noun) == words


def test_the_verb_describes_purchases_and_ratings_but_no_views() -> None:
    assert [COURSES.counted_past(verb) for verb in ("bought", "rated", "looked at")] == ["took", "took", "looked at"]
    assert [COURSES.counted_participle(verb) for verb in ("bought", "looked at")] == ["taken", "looked at"]
    assert [DEFAULT_WORDS.counted_past(verb) for verb in ("bought", "rated")] == ["bought", "rated"]
    assert [words.did_from("bought") for words in (DEFAULT_WORDS, COURSES, DEFAULT_WORDS.updated("part", None, "order"))] == [
        "bought from",
        "took courses from",
        "ordered from",
    ]
    assert not COURSES.means_owning
    assert DEFAULT_WORDS.means_owning


@pytest.mark.parametrize("words", [DEFAULT_WORDS, COURSES, StoreWords("opus", "opera", "person", "people", Verb("spin", "spun", "spun"))])
def test_the_manifest_keeps_all_words(words: StoreWords) -> None:
    assert StoreWords.from_dict(words.item, json.loads(json.dumps(words.to_dict()))) == words


def test_an_old_or_damaged_manifest_has_the_defaults() -> None:
    assert StoreWords.from_dict("film", {}) == StoreWords("film", "films")
    assert StoreWords.from_dict("<b>", {"user": "a{b}", "users": 3, "verb": ""}) == DEFAULT_WORDS


def test_films_are_watched_and_with_a_lowest_rating_liked() -> None:
    films = default_words("movielens", DEFAULT_WORDS, None)
    assert (films.item, films.users, films.past) == ("film", "viewers", "watched")
    assert default_words("movielens", films, 4.0).past == "liked"
    assert default_words("movielens", COURSES, None) == COURSES
    assert default_words("files", DEFAULT_WORDS, None) == DEFAULT_WORDS


def test_an_ingest_keeps_the_words_of_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,category\na,Algebra,Mathematics\n")
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,a\n")
    files = [tmp_path / "items.csv", tmp_path / "interactions.csv"]
    crossaisle.ingest(tmp_path / "shop", "files", files, item_noun="course", user_noun="learner", verb="take")
    crossaisle.ingest(tmp_path / "shop", "files", files, user_noun="student")
    assert Workspace(tmp_path / "shop").manifest.words == DEFAULT_WORDS.updated("course", "student", "take")
    with pytest.raises(SettingsError, match="verb"):
        crossaisle.ingest(tmp_path / "shop", "files", files, verb="<take>")


def test_an_item_noun_alone_brings_its_usual_words() -> None:
    words = DEFAULT_WORDS.updated("film", None, None)
    assert (words.users, words.past, words.means_owning) == ("viewers", "watched", False)
    assert DEFAULT_WORDS.updated("film", "member", "rent").past == "rented"
    assert DEFAULT_WORDS.updated("film", "member", "rent").users == "members"
    assert words.updated("course", None, None).users == "viewers", "words that the store has are kept"
    assert DEFAULT_WORDS.updated("lamp", None, None).users == "shoppers"
    assert DEFAULT_WORDS.updated("book", None, None).verb is None, "books are bought"


@pytest.mark.parametrize(
    ("noun", "title", "name"),
    [("course", "Statistics", "course Statistics"), ("course", "Course in Statistics", "Course in Statistics"), ("item", "Tent", "Tent")],
)
def test_a_title_gets_the_noun_of_the_store(noun: str, title: str, name: str) -> None:
    assert DEFAULT_WORDS.updated(noun, None, None).with_noun(title) == name
