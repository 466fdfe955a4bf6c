"""Tables of ranking quality: the blend, the prior and the LLM on each store, from the result files of benchmarks/."""

# ruff: noqa: E501  # rows of tables

from __future__ import annotations

from collections.abc import Sequence

from benchmark_cells import table, values
from benchmark_figures import RESULTS, figure, formatted

STORES = {
    "courses": "courses: learners, a new subject",
    "movielens": "MovieLens: film raters, a new genre",
    "completejourney": "The Complete Journey: grocery households, a new department",
    "amazon14": "Amazon 2014: reviewers, the one of three categories that is new",
    "amazon23": "Amazon 2023: a small sample of reviews, a new category of 23",
    "demo": "demo store: simulated shoppers, a new category",
}
"""What each store is and what has to be recommended there."""
SHORT = {
    "courses": "courses",
    "movielens": "MovieLens",
    "completejourney": "Complete Journey",
    "amazon14": "Amazon 2014",
    "amazon23": "Amazon 2023",
    "demo": "demo store",
}
FOUR = ("courses", "movielens", "completejourney", "amazon14")


def _measured() -> list[tuple[str, str, str]]:
    """Store, task and results file of each measurement of the blend."""
    rows = []
    for store in FOUR:
        rows += [(STORES[store], "users", f"blend-{store}"), ("", "whole category", f"blend-{store}-whole-category")]
    pairs = sorted(path.stem for path in RESULTS.glob("blend-pair-*.json"))
    return rows + [
        ("Amazon 2014" if not i else "", pair.removeprefix("blend-pair-").replace("-", " to "), pair) for i, pair in enumerate(pairs)
    ]


def blend_table() -> str:
    best, blend = "systems/{best_baseline}/ndcg@10", "systems/blend/ndcg@10"
    rows = []
    for store, task, name in _measured():
        cells = (
            "[[cases; ,d]]", f"[[best_baseline; s]]: [[{best}; ci:.4f]]", f"[[{blend}; ci:.4f]]", "[[systems/blend/vs_best_baseline; ci:+.4f]]",
            f"[[{blend}/value over {best}/value; +.1f*100]] %", "[[trained/seconds; .1f/60]] min",
        )  # fmt: skip
        rows.append([store, task, *values(name, *cells), f"`{name}.json`"])
    return table(
        ("Store", "Task", "Users", "Best baseline", "Learned blend", "Difference", "Relative (target +5 %)", "Training", "File"), rows
    )


def prior_table() -> str:
    best, prior = "systems/{best_baseline}/ndcg@10", "systems/prior/ndcg@10"
    rows = []
    for store, task, name in _measured():
        cells = (
            f"[[best_baseline; s]]: [[{best}; ci:.4f]]", f"[[{prior}; ci:.4f]]", "[[systems/prior/vs_best_baseline; ci:+.4f]]",
            f"[[{prior}/value over {best}/value; +.1f*100]] %", "[[prior_and_mix/mix/value; .4f]]", "[[prior_and_mix/prior_minus_mix; ci:+.4f]]",
            "[[prior_and_mix/cases; ,d]]",
        )  # fmt: skip
        rows.append([store, task, *values(name, *cells), f"`{name}.json`"])
    header = (
        "Store",
        "Task",
        "Best baseline",
        "Prior",
        "Difference",
        "Relative (target -2 %)",
        "Mix",
        "Prior minus mix",
        "On users",
        "File",
    )
    return table(header, rows)


def adaptation_table() -> str:
    rows, names = [], ["prior", *(f"{count} questions" for count in (20, 50, 100, 200, 500)), "all questions"]
    for store, measured in figure("prior", "stores").items():
        kinds = [measures for kind, measures in measured["kinds"].items() if kind != "cold"]
        relative = {name: sum(kind[f"{name}_ndcg@10"] / kind["best_channel_ndcg@10"] - 1 for kind in kinds) / len(kinds) for name in names}
        rows.append([store, f"{measured['queries']:,}", *(f"{100 * value:+.1f} %" for value in relative.values())])
    return table(("Store", "Questions", *(name.capitalize() for name in names)), rows)


def kinds_table() -> str:
    rows = []
    for store in FOUR:
        for kind, measures in figure(f"blend-{store}", "trained/blend/kinds").items():
            at = f"trained/blend/kinds/{kind}"
            specialist = f"[[{at}/specialist_ndcg@10; .4f]]" if measures.get("specialist_ndcg@10") is not None else "not available"
            cells = (
                f"[[{at}/queries; ,d]]",
                f"[[{at}/best_channel; s]]: [[{at}/best_channel_ndcg@10; .4f]]",
                f"[[{at}/blend_ndcg@10; .4f]]",
                specialist,
            )
            rows.append([SHORT[store], kind, *values(f"blend-{store}", *cells)])
    return table(("Store", "Kind", "Questions", "Best channel", "Blend", "Specialist"), rows)


def _systems(kinds: Sequence[str]) -> list[str]:
    """Names of the systems of these kinds in any store, in the order of the files."""
    names: dict[str, None] = {}
    for store in FOUR:
        names.update({name: None for name, system in figure(f"blend-{store}", "systems").items() if system["kind"] in kinds})
    return list(names)


def _per_store(system: str) -> list[str]:
    row = []
    for store in FOUR:
        systems = figure(f"blend-{store}", "systems")
        row.append(formatted(systems[system]["ndcg@10"]["value"], ".4f") if system in systems else "not available")
    return row


def systems_table() -> str:
    rows = [[f"{system} ({kind})", *_per_store(system)] for kind in ("baseline", "channel") for system in _systems([kind])]
    return table(("System", *(SHORT[store] for store in FOUR)), [*rows, ["**blend**", *_per_store("blend")]])


def ablation_table() -> str:
    rows = []
    for name in _systems(["ablation"]):
        pairs = [
            (systems[name]["ndcg@10"]["value"], systems["blend"]["ndcg@10"]["value"])
            for systems in (figure(f"blend-{store}", "systems") for store in FOUR)
            if name in systems
        ]
        rows.append([name, *_per_store(name), f"{sum(without >= blend for without, blend in pairs)} of {len(pairs)}"])
    return table(("System", *(SHORT[store] for store in FOUR), "At least as good"), [["blend", *_per_store("blend"), ""], *rows])


def popularity_table() -> str:
    rows = []
    for store, task, name in _measured():
        for part in figure(name, "systems/blend/by_target_popularity"):
            if figure(name, f"systems/blend/by_target_popularity/{part}/cases"):
                at = f"by_target_popularity/{part}"
                systems = figure(name, "systems")
                baselines = [system for system, about in systems.items() if about["kind"] == "baseline"]
                best = max(baselines, key=lambda system: systems[system]["by_target_popularity"][part]["value"] or 0.0)
                cells = (f"[[systems/blend/{at}/cases; ,d]]", f"{best}: [[systems/{best}/{at}; ci:.4f]]", f"[[systems/blend/{at}; ci:.4f]]")
                rows.append([store, task, part, *values(name, *cells)])
    return table(("Store", "Task", "Targets", "Users", "Best baseline there", "Blend"), rows)


def new_items_table() -> str:
    rows = []
    for store in FOUR:
        name = f"blend-{store}"
        for index, setting in enumerate(figure(name, "new_items")):
            if setting["places"] and setting["up_to"]:
                few = f"new_items/{index}/at most two users"
                cells = (
                    f"[[new_items/{index}/all/minus_none; ci:+.4f]]",
                    f"[[{few}/cases; ,d]]",
                    f"[[{few}/ndcg@10; ci:.4f]]",
                    f"[[{few}/minus_none; ci:+.4f]]",
                )
                rows.append([SHORT[store], str(setting["places"]), *values(name, *cells)])
    return table(("Store", "Slots", "All targets: change", "Users with such a target", "Their NDCG@10", "Change"), rows)


def _ranker_stores() -> list[str]:
    return [store for store in STORES if (RESULTS / f"ranker-{store}.json").exists()]


def ranker_table() -> str:
    rows = []
    for store in _ranker_stores():
        figures = figure(f"ranker-{store}", "ranker")
        rows.append([
            STORES[store],
            *values(
                f"ranker-{store}",
                "[[cases; d]]",
                "[[ranker/examples; d]]",
                "[[random_order_of_the_same_candidates; .3f]]",
                "[[ndcg@10/llm zero-shot; ci:.3f]]",
                "[[ndcg@10/llm; ci:.3f]]",
                "[[tuned_minus_zero_shot; ci:+.3f]]",
                "[[ndcg@10/blend; ci:.3f]]",
                "[[ranker/judged_gain; ci:+.3f]]",
            ),
            formatted(figures["vote"], ".2f"),
            f"`ranker-{store}.json`",
        ])  # fmt: skip
    header = (
        "Store",
        "Users",
        "Examples",
        "Random order",
        "Untrained LLM",
        "Trained LLM",
        "Difference",
        "Blend",
        "Gain of the blend with the LLM",
        "LLM weight",
        "File",
    )
    return table(header, rows)


def ranker_summary() -> str:
    weights = [figure(f"ranker-{store}", "ranker/vote") for store in _ranker_stores()]
    zero = sum(weight == 0 for weight in weights)
    return (
        f"The fitted LLM weight is 0 on {zero} of {len(weights)} stores, so there the LLM does not re-rank. Users for whom none of the 20 candidates is a target count "
        "0 for every system. The Complete Journey was measured with prompt `rank.v2`, which does not show the LLM the rank in the blend."
    )


def beauty_table() -> str:
    name = "quality-amazon14-beauty"
    rows = [
        [system, *values(name, f"[[systems/{system}/ndcg@10; ci:.4f]]", f"[[systems/{system}/recall@10; ci:.4f]]")]
        for system in figure(name, "systems")
    ]
    for system in figure(name, "published_sequence_models"):
        at = f"published_sequence_models/{system}"
        rows.append([f"{system} (published)", *values(name, f"[[{at}/ndcg@10; .4f]]", f"[[{at}/recall@10; .4f]]")])
    for system in figure(name, "libraries_on_the_same_split"):
        at = f"libraries_on_the_same_split/{system}/implicit"
        rows.append([f"{system} of the library implicit, same split", *values(name, f"[[{at}/ndcg@10; .4f]]", f"[[{at}/recall@10; .4f]]")])
    return table((f"System, {formatted(figure(name, 'cases'), ',d')} users (`{name}.json`)", "NDCG@10", "Recall@10"), rows)


def candidates_table() -> str:
    rows = []
    for store, task, name in _measured():
        depths = (f"[[candidate_recall/union/{depth}; .3f]]" for depth in (50, 100, 200, 500))
        rows.append([store, task, *values(name, *depths, "[[oracle/candidates; ,.0f]]", "[[oracle/ndcg@10; ci:.3f]]"), f"`{name}.json`"])
    return table(("Store", "Task", "50", "100", "200", "500", "Candidates", "Oracle", "File"), rows)
