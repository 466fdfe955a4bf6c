"""Sanitization of untrusted text (titles, reviews, queries) before it is inserted into a prompt.

Everything that could be mistaken for the prompt's own structure is removed or replaced: chat-template tokens, headings and slots, line
breaks, invisible characters and those that change direction. The text stays readable. Sanitization does not detect instructions; they
have no effect because of the use of the model's output (a logit difference between two words, a sentence that is verified).
"""

from __future__ import annotations

import re
import unicodedata

# Look-alikes without a meaning in chat templates, Jinja2 or our own slots. All square brackets are replaced ("[INST]", "[TOOL_CALLS]"):
# a list of known tokens would be incomplete, and removing one can create another.
_NEUTRAL = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")", "[": "(", "]": ")", "|": "¦", "`": "'", "#": "＃"})
_SPACE = re.compile(r"\s+")


def sanitize_for_prompt(text: str, limit: int = 400) -> str:
    """The text on one line without characters that have a meaning in a prompt, truncated to `limit` characters at a word boundary.

    Idempotent.
    """
    # Categories C*: control, format (zero-width, bidirectional), surrogate and private-use characters.
    kept = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    kept = _SPACE.sub(" ", kept.translate(_NEUTRAL)).strip()
    return shorten(kept, limit)


def shorten(text: str, limit: int) -> str:
    """The text truncated at the last word boundary within `limit` characters, or inside a word if that would drop more than half."""
    if len(text) <= limit:
        return text
    # Text in a language without spaces may have no late boundary: only "Sony" would remain of a Japanese title.
    boundary = text.rfind(" ", 0, limit + 1)
    truncated = text[:boundary] if boundary >= limit / 2 else text[:limit]
    return truncated.rstrip(" ,;:-–—(/&")
