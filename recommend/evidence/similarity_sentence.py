"""Plain sentences for an item whose description is close to that of a history item, as a shop assistant would put it.

They claim no more than the likeness of the two descriptions, and what the item's own texts say it is for.
"""

from __future__ import annotations

from ...llm.explain.fact_choice import stable_hash
from ...llm.explain.slots import with_article

_OWNED = (
    "If you like your {own}, take a look at {item}: going by the descriptions, the two are alike.",
    "Since you have the {own}, {item} could be something for you, too: the descriptions are alike.",
    "You might like {item} as well: its description is close to that of your {own}.",
)
_OTHER = (
    "If you liked the {own}, take a look at {item}: going by the descriptions, the two are alike.",
    "{Item} might go well with the {own}: the descriptions of the two are alike.",
)
_USED_OWNED = (
    "Want something else for {use}? Take a look at {item}: going by the description, it is close to your {own}.",
    "You have the {own}. If you also need something for {use}, think of {item}: the descriptions are alike.",
)
_USED_OTHER = ("Looking for something for {use}? The description of {item} is close to that of the {own}.",)


def similarity_sentence(item: str, own: str, *, is_owned: bool, use: str | None) -> str:
    """Return a sentence for two things with similar descriptions; the same one for the same names.

    Args:
        item: Name of the recommended item.
        own: Name of the history item.
        is_owned: Whether the shopper owns the history item.
        use: What the item is for, behind "for"; None if its texts name no use.
    """
    choices = (_USED_OWNED if is_owned else _USED_OTHER) if use else (_OWNED if is_owned else _OTHER)
    sentence = choices[stable_hash(f"{own} {item}") % len(choices)]
    own = own[4:] if own.casefold().startswith("the ") else own
    return sentence.format(own=own, item=with_article(item), Item=with_article(item, sentence_start=True), use=use)
