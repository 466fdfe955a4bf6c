"""The table `uses.parquet` of a workspace: one row per use, item, source and sentence, with the figures of the use.

The file names its snapshot, category level, rules and language, and is replaced whole. Uses are mined at `crossaisle index`, and when a
reader finds none of the current snapshot.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ...data.atomic_files import replacing
from ...data.errors import StaleIndexError, storage_errors
from ..items.catalogue import Catalogue
from ..items.interactions import Events
from .grouping import group_uses
from .mentions import item_mentions, store_language
from .phrases import LANGUAGES
from .support import UseCounter, UseSupport

if TYPE_CHECKING:
    from pathlib import Path

    from ...data.workspace import Workspace
    from .grouping import Encode

FILE = "uses.parquet"
RULES_VERSION = "1"
"""Changes with the patterns and tables: a table of other rules is mined again."""
SOURCES = ("review", "description", "title")
"""Sources of a sentence, those that say most about the use first."""
_FIGURES = tuple(UseSupport.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class UseSentence:
    """A sentence that names a use of an item, verbatim.

    Attributes:
        item_id: The item.
        source: title, description or review.
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
        support: Behaviour of the users of its items.
    """

    name: str
    kind: str
    sentences: tuple[UseSentence, ...]
    support: UseSupport

    @property
    def items(self) -> list[str]:
        """Ids of its items, those with the most sentences first."""
        counts: dict[str, int] = {}
        for sentence in self.sentences:
            counts[sentence.item_id] = counts.get(sentence.item_id, 0) + 1
        return sorted(counts, key=lambda item: -counts[item])

    def sentences_of(self, item_id: str) -> tuple[UseSentence, ...]:
        """Return the sentences about an item: of reviews, of the description, of the title."""
        of_item = (sentence for sentence in self.sentences if sentence.item_id == item_id)
        return tuple(sorted(of_item, key=lambda sentence: SOURCES.index(sentence.source)))


@dataclass(frozen=True, slots=True)
class StoreUses:
    """All uses of a snapshot.

    Attributes:
        language: Language of the store's texts; None if uses cannot be mined in it.
        uses: The uses, those with the most items first.
    """

    language: str | None
    uses: tuple[Use, ...]

    def of_item(self, item_id: str) -> list[Use]:
        """Return the uses of an item, those with the most items first."""
        return [use for use in self.uses if item_id in {sentence.item_id for sentence in use.sentences}]

    @property
    def message(self) -> str | None:
        """A sentence on why there are no uses; None if there are some."""
        if self.language is None:
            known = ", ".join(language.name for language in LANGUAGES)
            return f"the texts of this store are in a language without use patterns; there are patterns for {known}"
        return None if self.uses else "no use is named by the texts of two items or more"


def mine_uses(workspace: Workspace, catalogue: Catalogue | None = None, encode: Encode | None = None) -> StoreUses:
    """Mine the uses of a snapshot and replace its table; the caller must hold the write lock.

    Args:
        workspace: The workspace.
        catalogue: Its items; None builds them.
        encode: Embeds names, to merge those of one meaning; None merges by words only.

    Raises:
        StorageError: The table cannot be written.
    """
    import polars as pl

    items, reviews, interactions = (workspace.table(name) for name in ("items", "reviews", "interactions"))
    catalogue = catalogue or Catalogue.build(items, interactions, workspace.manifest.category_level)
    language = store_language(items, reviews)
    mined = group_uses(item_mentions(items, reviews, language), encode) if language else []
    counter = UseCounter(Events.build(interactions, catalogue), catalogue.category) if mined else None
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


def _schema() -> dict[str, Any]:
    import polars as pl

    strings = dict.fromkeys(("use", "kind", "item_id", "source", "sentence"), pl.String)
    return {**strings, "users": pl.Int64, "continued": pl.Int64, **dict.fromkeys(("expected", "lift", "low", "high"), pl.Float64)}


def _mark(workspace: Workspace) -> dict[str, str]:
    manifest = workspace.manifest
    return {"snapshot": str(manifest.snapshot), "category_level": str(manifest.category_level), "rules": RULES_VERSION}
