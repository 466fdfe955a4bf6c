"""All mentions of uses in a store's texts, by item: titles, descriptions and reviews.

Reviews with a low rating do not count, nor do sentences with personal data or with instructions to a model, which may not be
quoted. Knows no users.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...data.privacy.pii_masking import mask_personal_data
from ...prompts.injection import is_prompt_injection
from .language import UseLanguage, language_of
from .phrases import LANGUAGES, UseMention, mentions, sentences, title_mentions

if TYPE_CHECKING:
    import polars as pl

UseSource = Literal["title", "description", "review"]
MIN_RATING_SHARE = 0.6
"""Rating of a review that counts, as a share of the store's highest: three of five stars."""
SAMPLE = 500
"""Texts from which the language of a store is recognized."""


@dataclass(frozen=True, slots=True)
class ItemMention:
    """A use that a text of an item names.

    Attributes:
        item_id: The item.
        source: The kind of text.
        mention: The use and its sentence.
    """

    item_id: str
    source: UseSource
    mention: UseMention


def store_language(items: pl.DataFrame, reviews: pl.DataFrame) -> UseLanguage | None:
    """Return the language of a store's descriptions and reviews, or of its titles if it has neither; None if it has no table.

    Args:
        items: Items table of a snapshot.
        reviews: Reviews table of a snapshot.
    """
    texts = [text for column in (items["description"], reviews["text"]) for text in _sample(column)]
    return language_of(texts or _sample(items["title"]), LANGUAGES)


def item_mentions(items: pl.DataFrame, reviews: pl.DataFrame, language: UseLanguage) -> Iterator[ItemMention]:
    """Yield the uses that titles, descriptions and reviews name.

    Args:
        items: Items table of a snapshot.
        reviews: Reviews table of a snapshot.
        language: Language of the texts.
    """
    stories: dict[str, bool] = {}
    for item_id, title, path, description in items.select("item_id", "title", "category", "description").iter_rows():
        stories[item_id] = is_story(path, language)
        if not stories[item_id]:
            for mention in title_mentions(title or "", language):
                yield ItemMention(item_id, "title", mention)
        for sentence in sentences(description or ""):
            for mention in mentions(sentence, language):
                yield ItemMention(item_id, "description", mention)
    for item_id, text in _content(reviews).select("item_id", "text").iter_rows():
        for sentence in sentences(text or "") if item_id in stories else ():
            named = mentions(sentence, language, review=True, story=stories[item_id])
            if named and not is_prompt_injection(sentence) and mask_personal_data(sentence) == sentence:
                for mention in named:
                    yield ItemMention(item_id, "review", mention)


def is_story(path: Sequence[str] | None, language: UseLanguage) -> bool:
    """Whether an item is a book, a film or a game, whose texts tell of a content. Args: path: its categories. language: of the texts."""
    words = {word for name in path or () for word in name.lower().replace("&", " ").split()}
    return bool(words & language.story_categories)


def _content(reviews: pl.DataFrame) -> pl.DataFrame:
    """The reviews with enough of the highest rating, and those without a rating."""
    import polars as pl

    return reviews.filter(pl.col("rating").is_null() | (pl.col("rating") >= MIN_RATING_SHARE * pl.col("rating").max()))


def _sample(column: pl.Series) -> list[str]:
    texts = column.drop_nulls()
    texts = texts.filter(texts != "")
    return [str(text) for text in texts.gather_every(max(1, len(texts) // SAMPLE)).to_list()]
