"""Words of one store in texts for people: its nouns for an item and a user, and its verb. A course store has learners who take courses.

The words are stored in the workspace's manifest. Knows neither where they are shown nor which interactions are counted.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .errors import SettingsError

MAX_WORD_CHARS, MAX_WORD_PARTS = 30, 3
"""Longest word, and the number of words in one, such as `sign up for`."""
_JOINERS = " -'’"
_IRREGULAR_PLURALS = {
    "person": "people", "child": "children", "man": "men", "woman": "women", "quiz": "quizzes", "series": "series", "species": "species",
    "knife": "knives", "shelf": "shelves", "leaf": "leaves", "loaf": "loaves", "life": "lives", "tomato": "tomatoes", "potato": "potatoes",
    "hero": "heroes",
}  # fmt: skip
_IRREGULAR_VERBS = {
    "buy": ("bought", "bought"), "take": ("took", "taken"), "read": ("read", "read"), "hear": ("heard", "heard"), "see": ("saw", "seen"),
    "get": ("got", "got"), "have": ("had", "had"), "choose": ("chose", "chosen"), "eat": ("ate", "eaten"), "drink": ("drank", "drunk"),
    "ride": ("rode", "ridden"), "drive": ("drove", "driven"), "wear": ("wore", "worn"), "fly": ("flew", "flown"), "learn": ("learned",) * 2,
    "attend": ("attended",) * 2, "make": ("made", "made"), "do": ("did", "done"), "go": ("went", "gone"), "hold": ("held", "held"),
    "find": ("found", "found"), "give": ("gave", "given"), "sing": ("sang", "sung"), "write": ("wrote", "written"), "win": ("won", "won"),
    "pay": ("paid", "paid"), "sell": ("sold", "sold"), "lend": ("lent", "lent"), "lease": ("leased",) * 2, "meet": ("met", "met"),
    "begin": ("began", "begun"), "keep": ("kept", "kept"), "bring": ("brought", "brought"), "put": ("put", "put"), "bet": ("bet", "bet"),
    "prefer": ("preferred",) * 2, "study": ("studied",) * 2, "watch": ("watched",) * 2, "book": ("booked",) * 2, "rent": ("rented",) * 2,
    "borrow": ("borrowed",) * 2, "visit": ("visited",) * 2, "play": ("played",) * 2, "stream": ("streamed",) * 2, "like": ("liked",) * 2,
    "order": ("ordered",) * 2, "purchase": ("purchased",) * 2, "download": ("downloaded",) * 2, "enrol": ("enrolled",) * 2,
    "enroll": ("enrolled",) * 2, "complete": ("completed",) * 2, "cook": ("cooked",) * 2, "use": ("used",) * 2,
}  # fmt: skip
"""Base form to past and participle. Regular verbs are here too where somebody may give their past form."""
BUYING_VERBS = frozenset(("buy", "purchase", "order"))
"""Verbs after which something is owned, and with which one says "bought from Phones"."""
_GENERAL_NOUNS = frozenset(("item", "product", "thing", "good", "sku"))
OWNING_VERBS = BUYING_VERBS | {"own", "get", "have"}
USUAL_WORDS: Mapping[str, tuple[str, str | None]] = {
    "course": ("learner", "take"), "class": ("learner", "take"), "lesson": ("learner", "take"), "workshop": ("participant", "attend"),
    "film": ("viewer", "watch"), "movie": ("viewer", "watch"), "series": ("viewer", "watch"), "video": ("viewer", "watch"),
    "book": ("reader", None), "article": ("reader", "read"), "song": ("listener", "play"), "track": ("listener", "play"),
    "album": ("listener", "play"), "podcast": ("listener", "play"), "game": ("player", "play"), "trip": ("traveller", "book"),
    "tour": ("traveller", "book"), "hotel": ("guest", "book"), "flight": ("passenger", "book"), "event": ("visitor", "attend"),
    "concert": ("visitor", "attend"), "recipe": ("cook", "cook"), "dish": ("guest", "order"), "app": ("user", "download"),
}  # fmt: skip
"""Item noun to the usual noun for its users and the usual verb, None for that of the interactions; for stores that name only the items."""
_COUNTED_VERBS = ("bought", "rated")
"""Verbs of the interactions that the store's own verb describes; it does not describe mere views."""
_INFINITIVES = {"bought": "buy", "rated": "rate", "looked at": "look at"}


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: `take`, `took`, `taken`."""

    base: str
    past: str
    participle: str


BUY = Verb("buy", "bought", "bought")


@dataclass(frozen=True, slots=True)
class StoreWords:
    """The words of a store. The defaults are those of a shop.

    Attributes:
        item: Noun for one item.
        items: Its plural.
        user: Noun for one user.
        users: Its plural.
        verb: What users do with items; None for the verb of the counted interactions (bought, rated or looked at).
    """

    item: str = "item"
    items: str = "items"
    user: str = "shopper"
    users: str = "shoppers"
    verb: Verb | None = None

    @property
    def people(self) -> str:
        """Plural noun for users in technical texts: `users`, unless the store has its own noun."""
        return "users" if self.user == "shopper" else self.users

    @property
    def person(self) -> str:
        """Singular of `people`."""
        return "user" if self.people == "users" else self.user

    @property
    def base(self) -> str:
        """Infinitive of the store's verb."""
        return (self.verb or BUY).base

    @property
    def past(self) -> str:
        """Past form of the store's verb."""
        return (self.verb or BUY).past

    @property
    def participle(self) -> str:
        """Past participle of the store's verb."""
        return (self.verb or BUY).participle

    @property
    def purchases(self) -> str:
        """Noun phrase for what users did: `purchases`, `taken courses`."""
        return "purchases" if self.verb is None else f"{self.participle} {self.items}"

    @property
    def means_owning(self) -> bool:
        """Whether users have an item afterwards: who watched a film does not have it."""
        return self.verb is None or self.verb.base in OWNING_VERBS

    def describes(self, verb: str) -> bool:
        """Whether the store's verb says what users did. Args: verb: bought, rated, looked at, or what `counted_past` returned."""
        return self.verb is not None and verb in (*_COUNTED_VERBS, self.verb.past)

    def counted_past(self, verb: str) -> str:
        """Return what users did, for counts of some interactions: `12 learners took it`. Args: verb: as of `describes`."""
        return self.past if self.describes(verb) else verb

    def counted_participle(self, verb: str) -> str:
        """Return the participle of `counted_past`: `it was taken by 12 learners`."""
        return self.participle if self.describes(verb) else verb

    def counted_base(self, verb: str) -> str:
        """Return the infinitive of `counted_past`."""
        return self.base if self.describes(verb) else _INFINITIVES.get(verb, verb)

    def takes_categories(self, verb: str) -> bool:
        """Whether one did so "from Phones"; otherwise the items are named, as in "took courses from Statistics"."""
        if self.verb is not None and self.describes(verb):
            return self.verb.base in BUYING_VERBS
        return verb == "bought" or self.items == DEFAULT_WORDS.items

    def did_from(self, verb: str) -> str:
        """Return what users did, before the name of a category: `bought from`, `took courses from`."""
        return f"{self.counted_past(verb)} from" if self.takes_categories(verb) else f"{self.counted_past(verb)} {self.items} from"

    def fill(self, template: str) -> str:
        """Return a text of this program with the store's words in its placeholders.

        Args:
            template: Text without anything from users or the store, and with placeholders: `{item}`, `{items}`, `{user}`, `{users}`,
                `{people}`, `{base}`, `{past}`, `{participle}`, `{person}`, `{an_item}`, `{a_user}`,
                `{a_person}`, `{purchases}`; `{Users}` begins a sentence.

        >>> StoreWords("course", "courses", "learner", "learners", Verb("take", "took", "taken")).fill("{Users} who {past} {an_item}")
        'Learners who took a course'
        """
        values = {
            "item": self.item,
            "items": self.items,
            "user": self.user,
            "users": self.users,
            "people": self.people,
            "base": self.base,
            "past": self.past,
            "participle": self.participle,
            "purchases": self.purchases,
            "an_item": with_indefinite_article(self.item),
            "person": self.person,
            "a_person": with_indefinite_article(self.person),
            "a_user": with_indefinite_article(self.user),
        }
        return template.format(**values, **{name[:1].upper() + name[1:]: sentence_start(word) for name, word in values.items()})

    def updated(self, item_noun: str | None, user_noun: str | None, verb: str | None) -> StoreWords:
        """Return the words with those that are given, and with the usual user noun and verb of a new item noun where none are given.

        See `parse_noun` and `parse_verb` for their form.

        Raises:
            SettingsError: A word is empty, too long, or not a word.
        """
        words = self
        if item_noun is not None:
            item, items = parse_noun(item_noun, "item noun")
            usual_user, usual_verb = USUAL_WORDS.get(item.casefold(), (None, None))
            user_noun = user_noun or (usual_user if self.user == DEFAULT_WORDS.user else None)
            verb = verb or (usual_verb if self.verb is None else None)
            words = replace(words, item=item, items=items)
        if user_noun is not None:
            user, users = parse_noun(user_noun, "user noun")
            words = replace(words, user=user, users=users)
        return words if verb is None else replace(words, verb=parse_verb(verb))

    def with_noun(self, name: str) -> str:
        """Return the name of an item for a sentence: in a store with its own noun `course Statistics`, since titles alone are no nouns.

        The name is unchanged if it contains the noun, and where the noun says nothing (item, product).

        >>> StoreWords("course", "courses").with_noun("Statistics")
        'course Statistics'
        """
        if self.item in _GENERAL_NOUNS or self.item.casefold() in name.casefold().split():
            return name
        return f"{self.item} {name}"

    def to_dict(self) -> dict[str, str]:
        """The words besides `item` that are not the defaults, as the manifest stores them."""
        values = {"items": self.items, "user": self.user, "users": self.users}
        default = StoreWords(self.item, plural(self.item))
        values = {name: word for name, word in values.items() if word != getattr(default, name)}
        if self.verb:
            values |= {"verb": self.verb.base, "past": self.verb.past, "participle": self.verb.participle}
        return values

    @classmethod
    def from_dict(cls, item: str, values: Mapping[str, Any]) -> StoreWords:
        """Read what `to_dict` wrote. A manifest without these words, or with unusable ones, has the defaults."""
        item = item if _is_word(item) else DEFAULT_WORDS.item
        words = {name: word for name, word in values.items() if isinstance(word, str) and _is_word(word)}
        user = words.get("user", DEFAULT_WORDS.user)
        verb = parse_verb(words["verb"]) if "verb" in words else None
        if verb:
            verb = Verb(verb.base, words.get("past", verb.past), words.get("participle", verb.participle))
        return cls(item, words.get("items", plural(item)), user, words.get("users", plural(user)), verb)


DEFAULT_WORDS = StoreWords()
"""Words of a shop."""


def parse_noun(text: str, what: str) -> tuple[str, str]:
    """Return singular and plural of `course` or of `course,courses`.

    Args:
        text: The noun, or both of its forms.
        what: Name of the value for error messages.

    Raises:
        SettingsError: It is empty, too long, or not a word.
    """
    forms = [_checked(part, what) for part in text.split(",")]
    if len(forms) > 2:
        raise SettingsError(f"the {what} has {len(forms)} forms; give the singular, or singular and plural, such as `course,courses`")
    return forms[0], forms[1] if len(forms) == 2 else plural(forms[0])


def parse_verb(text: str) -> Verb:
    """Return the verb of `take` or of `take,took,taken`; unknown verbs are regular.

    Raises:
        SettingsError: It is empty, too long, or not a word.
    """
    forms = [_checked(part, "verb") for part in text.split(",")]
    if len(forms) == 3:
        return Verb(*forms)
    if len(forms) != 1:
        raise SettingsError(f"the verb has {len(forms)} forms; give one, or base, past and participle, such as `take,took,taken`")
    head, gap, rest = forms[0].partition(" ")
    base = next((base for base, known in _IRREGULAR_VERBS.items() if head == base or head in known), head)
    past, participle = _IRREGULAR_VERBS.get(base) or (_regular_past(base),) * 2
    return Verb(base + gap + rest, past + gap + rest, participle + gap + rest)


def plural(noun: str) -> str:
    """Return the plural of an English noun.

    >>> [plural(noun) for noun in ("course", "city trip", "library", "dish", "person")]
    ['courses', 'city trips', 'libraries', 'dishes', 'people']
    """
    before, gap, last = noun.rpartition(" ")
    if last in _IRREGULAR_PLURALS:
        ending = _IRREGULAR_PLURALS[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        ending = f"{last}es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        ending = f"{last[:-1]}ies"
    else:
        ending = f"{last}s"
    return before + gap + ending


def _regular_past(base: str) -> str:
    """Return the past form of a regular verb: rented, liked, studied, planned."""
    if base.endswith("e"):
        return f"{base}d"
    if base.endswith("y") and base[-2:-1] not in "aeiou":
        return f"{base[:-1]}ied"
    vowels = [letter in "aeiou" for letter in base]
    one_syllable = sum(vowels) == 1
    doubles = one_syllable and len(base) > 2 and vowels[-2:] == [True, False] and base[-1] not in "wxy"
    return f"{base}{base[-1] if doubles else ''}ed"


def with_indefinite_article(noun: str) -> str:
    """Return `a course`, `an item`. By the first letter, with the common exceptions of a spoken consonant."""
    lowered = noun.casefold()
    is_vowel = lowered[:1] in tuple("aeiou") and not lowered.startswith(("uni", "use", "uti", "eu", "one"))
    return f"{'an' if is_vowel or lowered.startswith(('hour', 'honest', 'heir')) else 'a'} {noun}"


def sentence_start(text: str) -> str:
    """Return the text with a capital first letter; its other letters are kept."""
    return text[:1].upper() + text[1:]


def _checked(text: str, what: str) -> str:
    word = " ".join(unicodedata.normalize("NFC", text).split())
    if not word:
        raise SettingsError(f"the {what} has an empty form; give a word such as {'take' if what == 'verb' else 'course'}")
    if len(word) > MAX_WORD_CHARS or len(word.split()) > MAX_WORD_PARTS:
        raise SettingsError(f"the {what} {word[:MAX_WORD_CHARS]!r} is too long: at most {MAX_WORD_CHARS} letters in {MAX_WORD_PARTS} words")
    if not _is_word(word):
        raise SettingsError(f"the {what} {word!r} is not a word: only letters, hyphens, apostrophes and spaces are allowed")
    return word


def _is_word(text: str) -> bool:
    """Whether a text may be shown as a word: letters of any script with single joiners; nothing that is markup anywhere."""
    if not 0 < len(text) <= MAX_WORD_CHARS or len(text.split()) > MAX_WORD_PARTS:
        return False
    is_letter = [unicodedata.category(c)[0] in "LM" for c in text]
    ends_with_letters = is_letter[0] and is_letter[-1]
    return ends_with_letters and all(is_letter[i] or (c in _JOINERS and is_letter[i - 1]) for i, c in enumerate(text))
