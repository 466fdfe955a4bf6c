"""The table `uses.parquet` of a workspace: one row per use, item, source and sentence, with the figures of the use.

The file names its snapshot, category level, rules and language, and is replaced whole. Uses are mined at `crossaisle index`, and when a
reader finds none of the current snapshot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.atomic_files import replacing
from ...data.errors import StaleIndexError, storage_errors
from ...data.privacy.pii_masking import mask_personal_data
from ...prompts.injection import is_prompt_injection
from ..items.catalogue import Catalogue
from ..items.interactions import Events
from ..items.texts import item_texts
from .grouping import group_uses
from .mentions import is_story, item_mentions, store_language
from .nearness import KINDS, closest_sentences, near_items
from .phrases import LANGUAGES, sentences
from .support import UseCounter, UseSupport
from .wording import use_phrase

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    from ...data.workspace import Workspace
    from .grouping import Encode, MinedUse
    from .language import UseLanguage

FILE = "uses.parquet"
RULES_VERSION = "3"
"""Changes with the patterns and tables: a table of other rules is mined again."""
NEAR = "near"
"""Source of a sentence of an item's texts that is close to the use and does not name it."""
SOURCES = ("review", "description", "title", NEAR)
"""Sources of a sentence, those that say most about the use first."""
_TEXTS = ("item_id", "title", "category", "description")
_FIGURES = tuple(UseSupport.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class UseSentence:
    """A sentence that names a use of an item or is close to it, verbatim.

    Attributes:
        item_id: The item.
        source: title, description or review, if the sentence names the use; `near` if it does not.
        sentence: The sentence.
    """

    item_id: str
    source: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Use:
    """An occasion, task, place, person or need that items of a store serve.

    Attributes:
        name: Name, as most of its texts write it.
        kind: occasion, task, place, person or need.
        sentences: Its support, grouped by item.
        support: Behaviour of the users of the items that name it.
    """

    name: str
    kind: str
    sentences: tuple[UseSentence, ...]
    support: UseSupport

    @property
    def items(self) -> list[str]:
        """Ids of the items whose texts name it, those with the most sentences first."""
        counts = Counter(sentence.item_id for sentence in self.sentences if sentence.source != NEAR)
        return sorted(counts, key=lambda item: -counts[item])

    @property
    def near_items(self) -> list[str]:
        """Ids of the items whose texts are close to it and do not name it."""
        return [sentence.item_id for sentence in self.sentences if sentence.source == NEAR]

    def sentences_of(self, item_id: str) -> tuple[UseSentence, ...]:
        """Return the sentences about an item: of reviews, of the description, of the title, one that is only close to the use."""
        of_item = (sentence for sentence in self.sentences if sentence.item_id == item_id)
        return tuple(sorted(of_item, key=lambda sentence: SOURCES.index(sentence.source)))


@dataclass(frozen=True)
class StoreUses:
    """All uses of a snapshot.

    Attributes:
        language: Language of the store's texts; None if uses cannot be mined in it.
        uses: The uses, those with the most items first.
    """

    language: str | None
    uses: tuple[Use, ...]

    def of_item(self, item_id: str) -> Sequence[Use]:
        """Return the uses of an item, named or near, those with the most items first."""
        return self._by_item.get(item_id, ())

    @cached_property
    def _by_item(self) -> dict[str, list[Use]]:
        by_item: dict[str, list[Use]] = {}
        for use in self.uses:
            for item_id in dict.fromkeys(sentence.item_id for sentence in use.sentences):
                by_item.setdefault(item_id, []).append(use)
        return by_item

    @property
    def message(self) -> str | None:
        """A sentence on why there are no uses; None if there are some."""
        if self.language is None:
            known = ", ".join(language.name for language in LANGUAGES)
            return f"the texts of this store are in a language without use patterns; there are patterns for {known}"
        return None if self.uses else "no use is named by the texts of two items or more"


def mine_uses(
    workspace: Workspace,
    catalogue: Catalogue | None = None,
    encode: Encode | None = None,
    vectors: NDArray[np.float32] | None = None,
) -> StoreUses:
    """Mine the uses of a snapshot and replace its table; the caller must hold the write lock.

    Args:
        workspace: The workspace.
        catalogue: Its items; None builds them.
        encode: Embeds names, to merge those of one meaning and to find items near a use; None merges by words only and finds none.
        vectors: (items, dimensions) vectors of the items' texts; None embeds the texts.

    Raises:
        StorageError: The table cannot be written.
    """
    import polars as pl

    items, reviews, interactions = (workspace.table(name) for name in ("items", "reviews", "interactions"))
    catalogue = catalogue or Catalogue.build(items, interactions, workspace.manifest.category_level)
    language = store_language(items, reviews)
    mined = group_uses(item_mentions(items, reviews, language), encode) if language else []
    counter = UseCounter(Events.build(interactions, catalogue), catalogue.category) if mined else None
    near = _near_sentences(mined, language, items, catalogue, encode, vectors) if encode is not None and language else {}
    rows: list[dict[str, Any]] = []
    for use in mined:
        assert counter is not None
        figures = asdict(counter.support([catalogue.row(item) for item in use.items]))
        ordered = sorted(use.mentions, key=lambda mention: catalogue.row(mention.item_id))
        rows += [
            {
                "use": use.name,
                "kind": use.kind,
                "item_id": mention.item_id,
                "source": mention.source,
                "sentence": mention.mention.sentence,
                **figures,
            }
            for mention in ordered
        ]
        rows += [
            {"use": use.name, "kind": use.kind, "item_id": item_id, "source": NEAR, "sentence": sentence, **figures}
            for item_id, sentence in near.get(use.name, ())
        ]
    table = pl.DataFrame(rows, schema=_schema(), orient="row")
    file = workspace.path / FILE
    with storage_errors(f"the uses of {workspace.path}"), replacing(file) as fresh:
        table.write_parquet(fresh, metadata={**_mark(workspace), "language": language.name if language else ""})
    return read_uses(workspace)


def read_uses(workspace: Workspace) -> StoreUses:
    """Return the uses of the current snapshot.

    Raises:
        StaleIndexError: There is no table, or it belongs to another snapshot or other rules.
    """
    import polars as pl

    file: Path = workspace.path / FILE
    fix = f"run `crossaisle uses -w {workspace.path}`"
    try:
        metadata = pl.read_parquet_metadata(file)
        table = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StaleIndexError(f"the uses of {workspace.path} cannot be read ({type(error).__name__}); {fix}") from error
    if any(metadata.get(name) != value for name, value in _mark(workspace).items()):
        raise StaleIndexError(f"the uses of {workspace.path} belong to another snapshot or version; {fix}")
    uses = []
    for group in table.partition_by("use", "kind", maintain_order=True):
        first = group.row(0, named=True)
        sentences = tuple(UseSentence(*row) for row in group.select("item_id", "source", "sentence").iter_rows())
        uses.append(Use(first["use"], first["kind"], sentences, UseSupport(*(first[name] for name in _FIGURES))))
    return StoreUses(metadata.get("language") or None, tuple(uses))


def has_current_uses(workspace: Workspace) -> bool:
    """Whether the table of uses can be read and belongs to the current snapshot and rules."""
    try:
        read_uses(workspace)
    except StaleIndexError:
        return False
    return True


def load_uses(workspace: Workspace, encode: Encode | None = None) -> StoreUses:
    """Return the uses of the current snapshot, mined now if there is no current table.

    Args:
        workspace: The workspace.
        encode: As for `mine_uses`; used only if they are mined.

    Raises:
        WorkspaceBusyError: They must be mined, and another process is writing.
        StorageError: The table cannot be written.
    """
    try:
        return read_uses(workspace)
    except StaleIndexError:
        with workspace.writing(f"crossaisle uses -w {workspace.path}"):
            return mine_uses(workspace, encode=encode)


def _near_sentences(
    mined: Sequence[MinedUse],
    language: UseLanguage,
    items: pl.DataFrame,
    catalogue: Catalogue,
    encode: Encode,
    vectors: NDArray[np.float32] | None,
) -> dict[str, list[tuple[str, str]]]:
    """Name of a use to the ids of the items near it, each with its closest sentence. Args: as for `mine_uses`."""
    mined = [use for use in mined if use.kind in KINDS]
    phrases = [use_phrase(use) for use in mined]
    texts = {
        item_id: (title or "", "" if is_story(path, language) else description or "")
        for item_id, title, path, description in items.select(*_TEXTS).iter_rows()
    }
    ids = catalogue.items["item_id"].to_list()
    if vectors is None:
        by_id = dict(zip(items["item_id"].to_list(), encode(item_texts(items).to_list()), strict=True))
        vectors = np.stack([by_id[item_id] for item_id in ids]) if ids else np.zeros((0, 0), np.float32)
    named = [set(use.items) for use in mined]
    found = near_items(phrases, [texts[item_id][0] for item_id in ids], vectors, encode)
    pairs = [(near.use, ids[near.row]) for near in found if ids[near.row] not in named[near.use]]
    own = [_quotable_sentences(texts[item_id][1]) for _, item_id in pairs]
    chosen = closest_sentences(own, [phrases[use] for use, _ in pairs], encode)
    near: dict[str, list[tuple[str, str]]] = {}
    for (use, item_id), sentence in zip(pairs, chosen, strict=True):
        if sentence is not None:
            near.setdefault(mined[use].name, []).append((item_id, sentence))
    return near


def _quotable_sentences(text: str) -> list[str]:
    """The sentences of a description without personal data; none if it has instructions to a model."""
    return [] if is_prompt_injection(text) else [sentence for sentence in sentences(text) if mask_personal_data(sentence) == sentence]


def _schema() -> dict[str, Any]:
    import polars as pl

    strings = dict.fromkeys(("use", "kind", "item_id", "source", "sentence"), pl.String)
    return {**strings, "users": pl.Int64, "continued": pl.Int64, **dict.fromkeys(("expected", "lift", "low", "high"), pl.Float64)}


def _mark(workspace: Workspace) -> dict[str, str]:
    manifest = workspace.manifest
    return {"snapshot": str(manifest.snapshot), "category_level": str(manifest.category_level), "rules": RULES_VERSION}
