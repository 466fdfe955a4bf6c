"""The one gate that strangers' text passes on its way into a prompt.

Titles, reviews and queries are written by people we do not know. Here they lose what could be taken for our own structure:
chat-template tokens, headings and slots, line breaks, invisible and direction-changing characters. What they say stays
readable. The fence cannot know what a sentence means; that no instruction in it is obeyed rests on what is done with the
model's answer (a margin between two words, a sentence that is checked).
"""

from __future__ import annotations

import re
import unicodedata

# Look-alikes without meaning to any chat template or to Jinja2, our slots included.
# Square brackets go whole ("[INST]", "[TOOL_CALLS]"): a list of turns would miss some, and removing one can make another.
_NEUTRAL = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")", "[": "(", "]": ")", "|": "¦", "`": "'", "#": "＃"})
_SPACE = re.compile(r"\s+")


def sanitize_for_prompt(text: str, limit: int = 400) -> str:
    """The text on one line, at most `limit` characters, with nothing in it that a prompt gives a meaning to.

    Cut at a word border where it is too long. Applying it twice changes nothing.
    """
    # Categories C* are control, format (zero-width, bidirectional), surrogate and private characters.
    kept = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    kept = _SPACE.sub(" ", kept.translate(_NEUTRAL)).strip()
    return shorten(kept, limit)


def shorten(text: str, limit: int) -> str:
    """The text, cut at the last word border within `limit` characters; inside a word where that would cost more than half."""
    if len(text) <= limit:
        return text
    # A language without spaces has no border for long: "Sony" alone would be left of a Japanese title.
    border = text.rfind(" ", 0, limit + 1)
    cut = text[:border] if border >= limit / 2 else text[:limit]
    return cut.rstrip(" ,;:-–—(/&")
