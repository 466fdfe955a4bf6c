"""The systems of a workspace that was trained: every channel, the LLM, the blend, and the blend without each of them.

A channel's list is of what it proposes itself; a blend's is of the candidates of all channels. Where a tuned LLM has a vote, the blend and
its ablations are those with the vote, of the cases that it read, and `blend without llm` is of all cases. Where it was tuned but has no
vote, nothing else changes. What the same LLM says untuned to the same prompt stands beside it as `llm zero-shot`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...llm.models.language_model import LanguageModel
from ...llm.ranking.ranker import Ranker
from ...recommend.constraints.list_selection import with_places
from ...recommend.constraints.popularity_penalty import LEVELS, order
from ...recommend.profiles.profile import ItemFacts
from ...recommend.ranking.features import FeatureMaker
from ...recommend.ranking.llm_reranker import FOLDER, Reader, first, load_llm, load_vote
from ...recommend.ranking.trained_ranker import CANDIDATES_PER_CHANNEL, trained_channels
from ...retrieval.channels.base import CachedChannel
from ..splits import leakage
from .channel_systems import BLEND, BUILTIN_CHANNELS, LLM, RANKING_DEPTH, blend_without, purchase_profile
from .checkpoints import EvaluationCheckpoint, LogitMarginLog

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...data.settings import Settings
    from ...data.workspace import Workspace
    from ...recommend.profiles.profile import Profile
    from ...recommend.ranking.learned_blend import Model
    from ...retrieval.channels.base import CandidateQuery
    from ...retrieval.retriever import Proposals
    from ..splits.cases import Cases, EligibleItems
    from ..splits.training_view import TrainingView

ZERO_SHOT = "llm zero-shot"
RESERVED_SLOTS, NEW_ITEM_MAX_USERS, LIST_LENGTH = (1, 2), (0, 2), 10
"""Places that are kept for new items, how many users those may have, and how long the list is."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RankedLists:
    """What was ranked.

    Attributes:
        lists: system to a list of item rows a case, best first; of the cases that the LLM read for those in `with_llm`. kinds: as a report
            has them. novelty: level to the lists of the blend at it, without the LLM's vote. new_items: (places, up to) to lists of ten of
            the blend with so many places kept for what at most so many users had, without the LLM's vote, too.
    """

    lists: Mapping[str, Sequence[Sequence[int]]]
    system_kinds: Mapping[str, str]
    llm_systems: frozenset[str]
    novelty: Mapping[float, Sequence[Sequence[int]]]
    new_items: Mapping[tuple[int, int], Sequence[Sequence[int]]]


class TrainedSystems:
    """The trained systems over what may be training_view.

    Args: part: numbers of the cases that the LLM reads. kept: what it said of them before a kill.
    """

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        training_view: TrainingView,
        models: Mapping[str, Model],
        cases: Cases,
        eligible: EligibleItems,
        part: NDArray[np.int64],
        kept: EvaluationCheckpoint,
    ) -> None:
        """Raises: ModelError: the adapter's card cannot be read."""
        self.workspace, self.settings, self.models, self.cases, self.eligible = workspace, settings, models, cases, eligible
        channels = {
            **training_view.full_catalogue_channels,
            **trained_channels(workspace, training_view.catalogue.ids, training_view.vectors),
        }
        further = {name: CachedChannel(channel) for name, channel in channels.items()}
        self.retriever = training_view.with_channels(further)
        self.maker = FeatureMaker(training_view.catalogue, [*BUILTIN_CHANNELS, *further])
        self.vote = load_vote(workspace.path)
        self.part = frozenset(part.tolist()) if (workspace.path / FOLDER).exists() else frozenset()
        self.kept = kept

    def rank(self, progress: Progress) -> RankedLists:
        """All lists.

        Raises: ModelMissingError, StaleAdapterError: the LLM cannot be had, or is not the adapter's. LeakError: a prompt names a target.
        """
        facts = ItemFacts.of(self.retriever.catalogue)
        lists: dict[str, list[Sequence[int]]] = {}
        novelty: dict[float, list[Sequence[int]]] = {level: [] for level in LEVELS}
        kept: dict[tuple[int, int], list[Sequence[int]]] = {
            (places, up_to): [] for up_to in NEW_ITEM_MAX_USERS for places in RESERVED_SLOTS
        }
        of_part: set[str] = set()
        stage = "channels, blends and LLM" if self.part else "channels and blends"
        with LogitMarginLog(self.kept, "tuned") as tuned, LogitMarginLog(self.kept, "zero-shot") as untuned:
            for number in range(len(self.cases)):
                progress(stage, number, len(self.cases))
                mask = self.eligible.mask(self.cases, slice(number, number + 1))[0]
                profile = purchase_profile(self.cases.histories[number], facts)
                seeds = profile.candidate_query()
                deep = self.retriever.propose(seeds, mask, RANKING_DEPTH)
                found = self.retriever.propose(seeds, mask, CANDIDATES_PER_CHANNEL)
                told = self.maker.features(found, profile)
                scores = {name: model.scores(model.picked(told)) for name, model in self.models.items()}
                plain = {name: _first(deep.rows, of_all, of_all > 0) for name, of_all in deep.scores.items()}
                plain |= self._without_llm(found, scores)
                for level in LEVELS:
                    novelty[level].append(
                        found.rows[order(scores[BLEND], self.retriever.catalogue.users[found.rows], level)][:RANKING_DEPTH].tolist()
                    )
                for up_to in NEW_ITEM_MAX_USERS:
                    order_of = self._with_new(seeds, profile, mask, up_to)
                    new = self.retriever.catalogue.users <= up_to
                    for places in RESERVED_SLOTS:
                        kept[places, up_to].append(with_places(order_of[:LIST_LENGTH], order_of, new, places, LIST_LENGTH))
                if number in self.part:
                    read = self._with_llm(number, found, seeds, scores, tuned, untuned)
                    of_part |= read.keys()
                    plain |= read
                for name, rows in plain.items():
                    lists.setdefault(name, []).append(rows)
        progress(stage, len(self.cases), len(self.cases))
        channels = dict.fromkeys([*deep.scores, *(name for name in (LLM, ZERO_SHOT) if name in lists)], "channel")
        kinds = channels | {name: "blend" if name == BLEND else "ablation" for name in lists if name.startswith(BLEND)}
        return RankedLists(lists, kinds, frozenset(of_part), novelty, kept)

    def _with_new(self, seeds: CandidateQuery, profile: Profile, mask: NDArray[np.bool_], up_to: int) -> list[int]:
        """All candidates by the blend, best first, where what at most `up_to` users had is to be among them, as a shopper's are."""
        found = self.retriever.propose(seeds, mask, CANDIDATES_PER_CHANNEL, also=mask & (self.retriever.catalogue.users <= up_to))
        model = self.models[BLEND]
        scores = model.scores(model.picked(self.maker.features(found, profile)))
        return [int(row) for row in found.rows[np.argsort(-scores, kind="stable")]]

    def _without_llm(self, found: Proposals, scores: Mapping[str, NDArray[np.float64]]) -> dict[str, list[int]]:
        """The lists of the blends in which the LLM has no say."""
        if not self.part:
            return {name: _first(found.rows, of_all) for name, of_all in scores.items()}
        blends = {} if self.vote.weight > 0 else {name: _first(found.rows, of_all) for name, of_all in scores.items()}
        return {**blends, blend_without(LLM): _first(found.rows, scores[BLEND])}

    def _with_llm(
        self,
        number: int,
        found: Proposals,
        seeds: CandidateQuery,
        scores: Mapping[str, NDArray[np.float64]],
        tuned: LogitMarginLog,
        untuned: LogitMarginLog,
    ) -> dict[str, list[int]]:
        """The lists of a case for which the LLM is asked."""
        pools = {name: first(of_all) for name, of_all in scores.items() if self.vote.weight > 0 or name == BLEND}
        places = np.unique(np.concatenate(list(pools.values())))
        said = self._asked(number, found, places, seeds, scores[BLEND], tuned, zero_shot=False)
        base = self._asked(number, found, pools[BLEND], seeds, scores[BLEND], untuned, zero_shot=True)
        own = pools[BLEND]
        lists = {
            LLM: _first(found.rows[own], np.asarray([said[row] for row in found.rows[own].tolist()])),
            ZERO_SHOT: _first(found.rows[own], np.asarray([base[row] for row in found.rows[own].tolist()])),
        }
        if self.vote.weight > 0:
            for name, pool in pools.items():
                summed = scores[name].copy()
                summed[pool] += self.vote.adds(np.asarray([said[row] for row in found.rows[pool].tolist()]))
                lists[name] = _first(found.rows, summed)
        return lists

    def _asked(
        self,
        number: int,
        found: Proposals,
        places: NDArray[np.int64],
        seeds: CandidateQuery,
        scores: NDArray[np.float64],
        margins: LogitMarginLog,
        *,
        zero_shot: bool,
    ) -> dict[int, float]:
        """Row to margin of some of a case's candidates. Args: scores: (candidates,) of the blend, whose order the LLM is told."""

        def read() -> dict[int, float]:
            reader = self._base if zero_shot else self._tuned
            catalogue = self.retriever.catalogue
            prompt, _ = reader.ranker.said(catalogue.records(seeds.rows.tolist()), None)
            leakage.check_prompts(self.cases, {number: prompt}, catalogue)
            return dict(zip(found.rows[places].tolist(), (float(m) for m in reader.margins(found, places, seeds, scores)), strict=True))

        return margins.get(number, read)

    @cached_property
    def _llm(self) -> LanguageModel:
        return load_llm(self.workspace.path, self.settings)

    @cached_property
    def _tuned(self) -> Reader:
        return Reader(Ranker(self._llm), self.retriever.catalogue, self.retriever.associations)

    @cached_property
    def _base(self) -> Reader:
        return Reader(Ranker(self._llm, tuned=False), self.retriever.catalogue, self.retriever.associations)


def _first(rows: NDArray[np.int64], scores: NDArray[np.floating], kept: NDArray[np.bool_] | None = None) -> list[int]:
    """The rows by falling score, of equal ones the first; at most `RANKING_DEPTH`."""
    if kept is not None:
        rows, scores = rows[kept], scores[kept]
    return [int(row) for row in rows[np.argsort(-scores, kind="stable")][:RANKING_DEPTH]]
