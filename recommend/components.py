"""Tables, indexes and models of one workspace, each loaded on first use."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Self

from ..data.atomic_files import sha256
from ..data.errors import StaleIndexError
from ..data.workspace import Workspace
from ..llm.explain.entailment import EntailmentModel
from ..llm.explain.explainer import Explainer
from ..llm.explain.writing.free_writer import MIN_PARAMETERS, FreeWriter
from ..llm.explain.writing.text_models import LocalTextModel, RemoteTextModel
from ..llm.models import adapters, bundled
from ..llm.models.language_model import LanguageModel
from ..llm.models.model_size import ModelSize
from ..llm.ranking.prefix_cache import PrefixCache
from ..llm.ranking.ranker import Ranker
from ..llm.ranking.remote_ranker import RemoteRanker
from ..llm.ranking.request_batching import PackBatcher
from ..retrieval.associations.item_users import ItemUsers
from ..retrieval.associations.rules import Associations
from ..retrieval.channels.declared_relations import relation_channels
from ..retrieval.channels.matrix_factorization import MatrixFactorization
from ..retrieval.channels.text_behaviour import TextBehaviour
from ..retrieval.index import new_items
from ..retrieval.index.builder import load
from ..retrieval.index.embedder import Embedder
from ..retrieval.items.relations import DeclaredRelations
from ..retrieval.retriever import Retriever
from ..retrieval.uses.store import StoreUses, read_uses
from .evidence.gatherer import EvidenceGatherer
from .evidence.quotations import Quotations
from .evidence.recent_popularity import count_recent_users
from .profiles.histories import Histories
from .profiles.profile import ItemAttributes
from .ranking import learned_blend
from .ranking.behaviour import BehaviourReader
from .ranking.blend_ranker import BlendRanker
from .ranking.llm_loading import RANKER_FOLDER, WeightInUse, add_explainer_adapter, load_ranking_llm, weight_in_use
from .ranking.llm_reranker import LLMReranker
from .ranking.text_weight import TextWeightInUse, adapter_knows_texts, text_weight_in_use

if TYPE_CHECKING:
    from ..data.records import Item
    from ..data.settings import Settings
    from ..retrieval.index.vector_index import VectorIndex
    from .profiles.live_events import LiveEvents


class WorkspaceComponents:
    """What recommendations from one workspace are computed with.

    Attributes:
        workspace, settings: as given.
        catalogue: the items.
        index: vectors of items and reviews.
        associations: co-purchase counts.
        relations: relations that the store declares.
        retriever: the channels of text queries.
        live: events since the snapshot; None without an event log.
    """

    def __init__(self, workspace: Workspace, settings: Settings, *, shared: bool = False, index: VectorIndex | None = None) -> None:
        """Components of an open workspace.

        Args:
            workspace: the workspace.
            settings: names the models.
            shared: batch the LLM requests of several threads (see `llm.ranking.request_batching`).
            index: the workspace's index, if it is already open.
        Raises: NoIndexError, StaleIndexError: the workspace must be indexed first.
        """
        self.workspace, self.settings = workspace, settings
        self._pack_batcher, self._prefix_cache = PackBatcher() if shared else None, PrefixCache()
        self.catalogue, self.index, table = load(workspace, settings, added=True, index=index)
        self.associations = Associations.load(table, self.catalogue)
        self.relations = DeclaredRelations(workspace.table("relations"), self.catalogue)
        text_behaviour = TextBehaviour(self.catalogue, self.index, self._factorization)
        self.retriever = Retriever(self.catalogue, self.index, self.associations, relation_channels(self.relations), text_behaviour)
        self.live: LiveEvents | None = None

    def warm(self) -> None:
        """Load everything now, so that the first request does not wait for it.

        Raises: ModelMissingError, ModelError: the embedder or the LLM cannot be loaded.
        """
        _ = self.histories, self.item_attributes, self.blend_ranker, self._gatherer
        _ = self._embedder, self._ranker, self._reranker, self._explainer

    def close(self) -> None:
        """Finish the LLM requests in the queue, and close the index."""
        if self._pack_batcher is not None:
            self._pack_batcher.close()
        if (remote := self.__dict__.get("_remote_ranker")) is not None:
            remote.close()
        if isinstance(writer := self.__dict__.get("_text_model"), RemoteTextModel):
            writer.close()
        self.index.close()

    def with_items(self, items: Sequence[Item]) -> tuple[Self, int, int]:
        """Add or change items of the workspace; this object is not changed.

        Returns: a warm copy with the items, which shares the models, the index and the live events; the number of new items; of changed
            items.
        Raises: see `retrieval.index.new_items.add`.
        """
        # A second Workspace: its manifest is read again under the lock, while this object keeps the state that it was opened with.
        workspace = Workspace(self.workspace.path)
        added, changed = new_items.add(workspace, self.index, self._embedder, items, self.workspace.manifest.snapshot)
        copy = type(self)(workspace, self.settings, index=self.index)
        copy._pack_batcher, copy._prefix_cache, copy.live = self._pack_batcher, self._prefix_cache, self.live
        shared = ("_embedder", "_llm", "_explainer", "_remote_ranker", "_text_model")
        copy.__dict__.update({name: self.__dict__[name] for name in shared if name in self.__dict__})
        copy.warm()
        return copy, added, changed

    @cached_property
    def histories(self) -> Histories:
        """Histories of the snapshot's users; iterating yields user ids."""
        return Histories.build(self.workspace.table("interactions"), self.catalogue)

    @cached_property
    def item_attributes(self) -> ItemAttributes:
        """Attributes of the items that profiles use."""
        return ItemAttributes.from_catalogue(self.catalogue)

    @cached_property
    def blend_ranker(self) -> BlendRanker:
        """The learned blend, or the prior where none is trained."""
        return BlendRanker.load(self.workspace, self.catalogue, self.index, self.associations)

    @cached_property
    def llm_weight(self) -> WeightInUse:
        """The weight of the LLM in the order of a history, and why it is 0.

        Raises: ModelMissingError, ModelError: the LLM is not installed, or its stored weight cannot be read.
        """
        # Without loading the blend, which a text query does not need and which takes seconds in a large store.
        has_blend = (self.workspace.path / learned_blend.FOLDER / "models.json").exists()
        in_use = weight_in_use(self.workspace.path, self.settings, has_blend=has_blend)
        if in_use.weight.is_zero or self.settings.llm_weight is not None or self.blend_ranker.trained:
            return in_use
        return weight_in_use(self.workspace.path, self.settings, has_blend=False)  # a stale blend is not used

    @cached_property
    def text_weight(self) -> TextWeightInUse:
        """The weight of the LLM in the order of a text query, and why it is 0.

        Raises: ModelMissingError, ModelError: the LLM is not installed, or its stored weight cannot be read.
        """
        return text_weight_in_use(self.workspace.path, self.settings)

    @cached_property
    def _adapter_knows_texts(self) -> bool:
        return adapter_knows_texts(self.workspace.path, self.settings)

    @property
    def uses_llm_weight(self) -> bool:
        """Whether the LLM re-ranks the blend's candidates."""
        return not self.llm_weight.weight.is_zero

    @cached_property
    def _embedder(self) -> Embedder:
        return Embedder(str((self.workspace.manifest.index or {})["embedder"]), threads=self.settings.threads)

    @cached_property
    def _llm(self) -> LanguageModel | None:
        if self.settings.llm == "none" or self.settings.is_remote:
            return None
        uses_adapter = self.uses_llm_weight or (self.text_weight.weight > 0 and self._adapter_knows_texts)
        llm = load_ranking_llm(self.workspace.path, self.settings) if uses_adapter else LanguageModel.load(self.settings)
        add_explainer_adapter(llm, self.workspace.path, self.settings)
        return llm

    @cached_property
    def _remote_ranker(self) -> RemoteRanker | None:
        """The LLM at an endpoint; None if it is a local one."""
        return RemoteRanker(self.settings.llm, str(self.settings.llm_model)) if self.settings.is_remote else None

    @cached_property
    def _ranker(self) -> Ranker | RemoteRanker | None:
        """The LLM for the candidates of a text query; None where it has no weight. An adapter that does not know texts is off."""
        if not self.text_weight.weight:
            return None
        if self._remote_ranker is not None or self._llm is None:
            return self._remote_ranker
        is_off = self._llm.has_ranking_adapter and not self._adapter_knows_texts
        return self._local_ranker(self._llm, version=1 if is_off else None)

    def _local_ranker(self, llm: LanguageModel, version: int | None = None) -> Ranker:
        """A ranker that shares batches and, on a CPU, prefixes with others; on a GPU a cache of prefixes has not been measured."""
        cache = self._prefix_cache if llm.device.type == "cpu" else None
        return Ranker(llm, version=version, batcher=self._pack_batcher, prefix_cache=cache)

    @cached_property
    def _reranker(self) -> LLMReranker | None:
        """The LLM for candidates of the blend; None where it has no weight."""
        if not self.uses_llm_weight:
            return None
        local = None if self._llm is None else self._local_ranker(self._llm)
        ranker = self._remote_ranker or local
        return None if ranker is None else LLMReranker(ranker, self.catalogue, self.associations, self._behaviour)

    def _factorization(self) -> MatrixFactorization | None:
        """The channel `factors` of the blend in use."""
        channel = self.blend_ranker.retriever.further.get(MatrixFactorization.name)
        return channel if isinstance(channel, MatrixFactorization) else None

    @property
    def _behaviour(self) -> BehaviourReader | None:
        return BehaviourReader.of_channels(self.workspace.path, self.blend_ranker.retriever.further)

    @cached_property
    def _ranking_adapter(self) -> str | None:
        """Id of the ranking adapter that the LLM holds; None without one."""
        if self._llm is None or not self._llm.has_ranking_adapter:
            return None
        return sha256(self.workspace.path / RANKER_FOLDER / adapters.WEIGHTS)[:12]

    @cached_property
    def _explainer(self) -> Explainer:
        checks = self.settings.nli and (self._llm is not None or self.settings.is_remote)
        entailment = EntailmentModel.load(self.settings.nli) if self.settings.nli and checks else None
        words, writer = self.catalogue.words, None if self._text_model is None else FreeWriter(self._text_model, entailment)
        return Explainer(self._llm, cache=self.settings.home / "wordings", entailment=entailment, words=words, writer=writer)

    @cached_property
    def _text_model(self) -> LocalTextModel | RemoteTextModel | None:
        """The model that writes explanations freely; None if it is too small, or there is none."""
        if self.settings.is_remote:
            return RemoteTextModel(self.settings.llm, str(self.settings.llm_model))
        if self._llm is None or self.settings.llm == bundled.NAME or ModelSize.read(self.settings).parameters < MIN_PARAMETERS:
            return None
        return LocalTextModel(self._llm)

    @cached_property
    def _gatherer(self) -> EvidenceGatherer:
        interactions = self.workspace.table("interactions")
        return EvidenceGatherer(
            self.catalogue,
            self.index,
            ItemUsers.build(interactions, self.catalogue),
            Quotations.of_workspace(self.workspace, self.index, self._embedder.encode),
            self.relations,
            count_recent_users(interactions, self.catalogue),
            self._uses,
        )

    @cached_property
    def _uses(self) -> StoreUses | None:
        """What the items are for; None for an index of a version without uses."""
        try:
            return read_uses(self.workspace)
        except StaleIndexError:
            return None
