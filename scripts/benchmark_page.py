"""The page docs/benchmarks.md: its sections, and the rows of those that are not about ranking quality."""

# ruff: noqa: E501  # rows of tables

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark_cells import fill, table, values
from benchmark_figures import RESULTS, UnknownFigureError, content, figure, formatted
from benchmark_llm import llm_blocks
from benchmark_quality import (
    ablation_table,
    adaptation_table,
    beauty_table,
    blend_table,
    candidates_table,
    kinds_table,
    new_items_table,
    popularity_table,
    prior_table,
    ranker_summary,
    ranker_table,
    systems_table,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Args:
        what: What was measured.
        measured: Text with `[[PATH; FORMAT]]` for each figure.
        file: Results file, without `.json`.
        target: What the project aims at; empty where it only reports.
    """

    what: str
    measured: str
    file: str
    target: str = ""


SPEED = (
    Row("Ingest and index of a small real store (3,228 products, 3,455 reviews)", "[[ingest_and_index_seconds; .0f]] s", "recommend_speed", "120 s"),
    Row("`crossaisle index` again, nothing changed", "[[index_again_seconds; .1f]] s", "recommend_speed"),
    Row("Warm `recommend`, 20 candidates ranked by the LLM, where it has a weight, and 5 explained: median (retrieve, rank, explain)",
        "[[warm_recommend_seconds/whole/p50; .1f]] s ([[warm_recommend_seconds/retrieve/p50; .2f]], [[warm_recommend_seconds/rank/p50; .1f]], "
        "[[warm_recommend_seconds/explain/p50; .1f]])", "recommend_speed", "3 s"),
    Row("Cold `recommend`, whole process: median", "[[cold_recommend_seconds/p50; .1f]] s", "recommend_speed", "10 s"),
    Row("`crossaisle --help`: median", "[[help_seconds/p50; .2f]] s", "recommend_speed", "0.5 s"),
    Row("Warm `recommend` beside a busy program on the same two cores: median, slowest of 6",
        "[[beside_seconds/ours/p50; .1f]] s, [[beside_seconds/ours/p95; .1f]] s", "shared_cores"),
    Row("The same with the thread library's default", "[[beside_seconds/library/p50; .1f]] s, [[beside_seconds/library/p95; .1f]] s", "shared_cores"),
    Row("Ten million interactions from csv: ingest, peak memory", "[[wall_seconds; .0f]] s, [[peak_memory_gb; .1f]] GB", "ingest_scale", "4 GB"),
    Row("Update of a profile of 1,000 events with one more, all statistics read: median, 95th percentile",
        "[[milliseconds for one event more and everything asked/1000 events/p50; .1f]] ms, "
        "[[milliseconds for one event more and everything asked/1000 events/p95; .1f]] ms", "profile_speed", "5 ms"),
)  # fmt: skip

PACKED = (
    Row("NF4: seconds packed; speed-up over one forward per candidate; rank correlation with fp32",
        "[[nf4/packed_seconds; .2f]]; [[nf4/ratio; .1f]] times; [[nf4/rank_correlation_with_fp32; .2f]]", "packed_ranking", "6 times"),
    Row("bf16: the same", "[[bf16/packed_seconds; .2f]]; [[bf16/ratio; .1f]] times; [[bf16/rank_correlation_with_fp32; .2f]]", "packed_ranking", "6 times"),
    Row("fp32: the same", "[[fp32/packed_seconds; .2f]]; [[fp32/ratio; .1f]] times; [[fp32/rank_correlation_with_fp32; .2f]]", "packed_ranking", "6 times"),
    Row("fp32: largest difference of a score, packed against one by one", "[[fp32/largest_difference; .6f]]", "packed_ranking"),
    Row("Training step in [[quantization; s]], 20 candidates packed: speed-up over one forward and backward per candidate", "[[ratio; .1f]] times",
        "finetune_speed", "6 times"),
    Row("Training on 1,000 shoppers, packed", "[[packed_minutes_for_1000_users; .0f]] min", "finetune_speed", "45 min"),
)  # fmt: skip

SCALE = (
    Row("Associations of [[scale/interactions; ,d]] interactions of [[scale/users; ,d]] users and [[scale/items; ,d]] items: time, peak memory",
        "[[scale/seconds/all; .0f]] s, [[scale/peak_memory_gb; .2f]] GB", "associations_scale", "240 s, 6 GB"),
    Row("Mean lift of categories that are independent by construction; pairs reported as associations",
        "[[scale/of_independent_categories/mean_lift; .3f]]; [[scale/of_independent_categories/called_associations; ,d]] of "
        "[[scale/of_independent_categories/of_pairs; ,d]]", "associations_scale", "1; few"),
    Row("Incremental counting after one user in a hundred changed: speed-up over a full count, same counts",
        "[[onwards/ratio; .1f]] times", "associations_scale"),
    Row("Pair counts and rules: speed-up over efficient-apriori in the same run; pairs with other statistics",
        "[[peer/times_faster; .0f]] times; [[peer/with_another_support_confidence_or_lift; d]]", "associations_scale", "20 times; 0"),
    Row("Warm `probe` of a store of that size, without sentences: median, 95th percentile of [[warm_seconds/n; d]] questions",
        "[[warm_seconds/p50; .0f*1000]] ms, [[warm_seconds/p95; .0f*1000]] ms", "probe_speed", "300 ms"),
    Row("Slowest of these questions", "[[slowest/seconds; .1f]] s", "probe_speed"),
    Row("The same workspace: index; open", "[[index_seconds; .0f]] s; [[open_seconds; .0f]] s", "probe_speed"),
    Row("Graph model: [[interactions; ,d]] interactions of [[users; ,d]] users and [[items; ,d]] items: training time, peak memory",
        "[[training_seconds; .0f]] s, [[peak_memory_gb; .1f]] GB", "graph_scale", "15 min, 8 GB"),
    Row("Twelve baselines, 2,000 cases over 40,000 items: slowest fit and ranking (EASE, 12,000 items), peak memory",
        "[[seconds/ease/fit; .0f]] s and [[seconds/ease/score_and_rank; .1f]] s, [[peak_gb; .1f]] GB", "baselines_speed", "60 s"),
)  # fmt: skip

SERVICE = (
    Row("[[events/rate; d]] events a second, open load: answered a second", "[[events/answered_per_second; .0f]]", "", "300"),
    Row("The same: latency, median; 95th percentile", "[[events/milliseconds/p50; ,.0f]] ms; [[events/milliseconds/p95; ,.0f]] ms", "", "20 ms (95th)"),
    Row("The same: events lost, of those sent", "[[events/lost; ,d]] of [[events/sent; ,d]]", "", "0"),
    Row("[[recommend_without_llm/rate; d]] recommendations a second without the LLM, open load: median; 95th percentile",
        "[[recommend_without_llm/milliseconds/p50; ,.0f]] ms; [[recommend_without_llm/milliseconds/p95; ,.0f]] ms", "", "200 ms (95th)"),
    Row("Recommendations a second without the LLM, [[recommend_without_llm_closed/callers; d]] callers", "[[recommend_without_llm_closed/per_second; .0f]]", ""),
    Row("Recommendations a second with the LLM in bf16 ranking 20 candidates, where it has a weight, [[recommend_with_llm/bf16/callers; d]] callers",
        "[[recommend_with_llm/bf16/per_second; .1f]]", "", "1.5"),
    Row("Several shoppers in one forward: throughput against one after another", "[[shared_packs/bf16/together_over_alone; .2f]] times", "", "1"),
    Row("Memory of the server before and after all requests",
        "[[memory_mb/before; .0f]] MB; [[memory_mb/after_each_quarter/3; .0f]] MB", "", "constant"),
)  # fmt: skip

EVENT_LOG = (
    Row("One commit per event with plain sqlite3, 8 threads: events a second; 95th percentile",
        "[[plain sqlite3, one commit an event/8 threads/a_second; .0f]]; [[plain sqlite3, one commit an event/8 threads/ms/p95; .0f]] ms", "events"),
    Row("Event log on SQLite (group commit), 8 threads", "[[log on SQLite/8 threads/a_second; .0f]]; [[log on SQLite/8 threads/ms/p95; .0f]] ms", "events"),
    Row("Event log on PostgreSQL, 8 threads", "[[log on PostgreSQL/8 threads/a_second; .0f]]; [[log on PostgreSQL/8 threads/ms/p95; .0f]] ms", "events"),
    Row("Events lost or stored twice: SQLite; PostgreSQL", "[[log on SQLite/lost_or_doubled; d]]; [[log on PostgreSQL/lost_or_doubled; d]]", "events", "0; 0"),
    Row("Time until an event shows in the next recommendation: median, 95th percentile",
        "[[milliseconds until visible/recommended/p50; .0f]] ms, [[milliseconds until visible/recommended/p95; .0f]] ms", "events"),
)  # fmt: skip

EXPLANATIONS = (
    Row("[[demo/pairs; d]] explanations of simulated shoppers, three tones and lengths: unsupported statements of [[demo/statements; ,d]]",
        "[[demo/unsupported; d]]", "explanations", "0"),
    Row("The same: in learned words; distinct-2; share of the most frequent opening",
        "[[demo/llm_share; .0%]]; [[demo/distinct_2; .2f]]; [[demo/commonest_opening; .1%]]", "explanations", "70 %; 0.25; 5 %"),
    Row("The same: distinct-2 by length (line, paragraph, bullets)",
        "[[demo/by_length/line/distinct_2; .2f]], [[demo/by_length/paragraph/distinct_2; .2f]], [[demo/by_length/bullets/distinct_2; .2f]]", "explanations", "0.25"),
    Row("The same: faults found by `scripts/check_explanations.py`, which does not use crossaisle", "[[demo/second_check_faults; d]]", "explanations", "0"),
    Row("[[amazon23/pairs; d]] explanations of real shoppers (Amazon 2023): unsupported statements of [[amazon23/statements; ,d]]",
        "[[amazon23/unsupported; d]]", "explanations", "0"),
    Row("The same: in learned words; distinct-2; share of the most frequent opening",
        "[[amazon23/llm_share; .0%]]; [[amazon23/distinct_2; .2f]]; [[amazon23/commonest_opening; .1%]]", "explanations", "70 %; 0.25; 20 %"),
    Row("The same: faults found by `scripts/check_explanations.py`", "[[amazon23/second_check_faults; d]]", "explanations", "0"),
    Row("Five explanations, warm, default tone, shipped wordings: median", "[[five_explanations_seconds_with_those_that_ship/p50; .0f*1000]] ms",
        "explanations_speed", "1.5 s"),
    Row("The same with an empty wording cache; for other shoppers afterwards",
        "[[five_explanations_seconds_from_no_wordings/p50; .1f]] s; [[five_explanations_seconds_of_other_shoppers_afterwards/p50; .1f]] s",
        "explanations_speed", "1.5 s"),
    Row("Constrained decoding, batched: tokens a second against plain generation one by one", "[[ratio; .1f]] times", "explanations_speed", "4 times"),
    Row("Blind reading of [[pairs; d]] pairs of three stores, both orders, by [[readers; d]] language models as readers: this version preferred to the one "
        "before uses", "[[new_preferred; ci:.0%]]", "explanation_reading", "70 %"),
    Row("The same: a shop assistant would say it, this version; the version before; agreement of the readers (kappa)",
        "[[shop_assistant_would_say/new; .0%]]; [[shop_assistant_would_say/old; .0%]]; [[kappa/value; .2f]]", "explanation_reading", "80 %"),
    Row("Explanations of 40 shoppers: shown; unsupported; in learned words",
        "[[explanations/shown; d]]; [[explanations/unsupported; d]]; [[explanations/llm_share; .0%]]", "recommend_speed"),
)  # fmt: skip

ASSOCIATIONS = (
    Row("Pairs across categories reported as associations in reviews that contain a clique of free-sample reviewers: equal user weights; down-weighted",
        "[[pairs_across_categories/found_with_equal_weights; ,d]]; [[pairs_across_categories/found_with_weights; ,d]]", "cliques"),
    Row("Substitutes against complements, agreement with the majority of annotators (kappa, [[labels/pairs/measured_on; ,d]] pairs)",
        "[[labels/rules/shipped/kappa_with_majority; ci:.2f]]", "substitutes"),
    Row("The same: kappa among annotators", "[[labels/kappa_among_annotators; ci:.2f]]", "substitutes"),
    Row("The same: recall; precision; complements reported as substitutes",
        "[[labels/rules/shipped/recall/value; .0%]]; [[labels/rules/shipped/precision/value; .0%]]; "
        "[[labels/rules/shipped/complements_called_substitutes/value; .0%]]",
        "substitutes"),
    Row("Needs from category names (AUC or accuracy, four test sets): cosine; LLM; difference of the best mix of both to cosine",
        "[[other_half_all_sets/cosine; ci:.3f]]; [[other_half_all_sets/llm; ci:.3f]]; "
        "[[other_half_all_sets/cosine + 0.05 calibrated minus cosine; ci:+.3f]]", "text_needs"),
    Row("Which review segment justifies a recommendation, [[segments; ,d]] labelled by people, held out (AUC): length; cosine; words; the head in use",
        "[[auc/length; ci:.3f]]; [[auc/cosine; ci:.3f]]; [[auc/words; ci:.3f]]; [[auc/head; ci:.3f]]", "justification"),
    Row("The same: the head minus the cosine", "[[minus_cosine/head; ci:+.3f]]", "justification", "+0.05"),
)  # fmt: skip


MACHINE_KIND = re.compile(r"-(\d+-cores-\w+|amx)$")
"""Suffix of a result file of another machine kind."""


def page() -> str:
    """The whole page.

    Raises:
        UnknownFigureError: A figure is missing, or a results file appears in no section.
    """
    names = sorted(path.stem for path in RESULTS.glob("*.json"))
    parts = [
        "<!-- Generated by scripts/benchmark_tables.py from benchmarks/results/*.json. Do not edit. -->",
        "# Benchmarks",
        "Every figure on this page is read from a file in `benchmarks/results/`, which the named program wrote together with its command, date and "
        "machine ([files](#files-commands-and-machines)). Brackets are 95 % bootstrap intervals, by user unless stated otherwise. Machines differ: compare ratios within one "
        "file rather than seconds across two. \"Target\" is what the project aims at, met or not.",
        "## Ranking quality after training",
        "NDCG@10 of held-out users, who are excluded from everything that is counted or trained. The task is to rank all items outside the categories of the history. "
        "With the protocol `users` the targets are what the user bought in the last category entered and the history is what came before; with `whole-category` the "
        "targets are everything of one category and the history is the rest; a pair of categories has one as the history and the other as the targets. Baselines are "
        "tuned per store on validation users, and the best one is chosen on the test users, which favours it. `python benchmarks/blend.py STORE`.",
        blend_table(),
        "All baselines and channels, NDCG@10 (protocol `users`):",
        systems_table(),
        "Ablations, NDCG@10 of the blend without one group of features. The last column counts the stores where the blend without it is at least as good; "
        "where that is every store, the group has no measured benefit.",
        ablation_table(),
        "NDCG@10 by popularity of the target item (head: the most popular items, which hold the first half of the training interactions; mid: up to four fifths; tail: the "
        "rest), beside the highest of any baseline:",
        popularity_table(),
        "Slots reserved for new items (`recommend --new-items N --new-up-to 2`): change of NDCG@10 for all targets, and NDCG@10 for targets with at most two "
        "users:",
        new_items_table(),
        "Kinds of questions, out of fold: NDCG@10 of the blend, of the best channel of the kind, and of a blend fitted to that kind alone:",
        kinds_table(),
        "## LLM re-ranker",
        "NDCG@10 of the LLM alone over the 20 best candidates of the blend, before and after `crossaisle train ranker`. The LLM score gets a weight in the "
        "blend only if it improves NDCG@10 on calibration users with an interval above 0. `python benchmarks/ranker.py STORE`.",
        ranker_table(),
        ranker_summary(),
        *llm_blocks(),
        "## Ranking quality before training",
        "NDCG@10 of the prior: what a store gets that has trained nothing. The weights were fitted to other stores, without any of the same family "
        "(`python benchmarks/prior.py`); same users and baselines as above. The mix is what untrained stores got before: semantic, associations and popularity, fused by "
        "rank (on some of the users; `python benchmarks/blend.py STORE`).",
        prior_table(),
        "Adapting the prior to questions of the store: NDCG@10 on questions of other users, mean over the kinds of questions except cold ones, relative to the best channel "
        "of each kind (`prior.json`; cross-validated over training users):",
        adaptation_table(),
        "Leave-one-out on Amazon Beauty 2014, full ranking of all items, compared with published sequence models:",
        beauty_table(),
        "Weights of the fusion on [[cases]] simulated shoppers (NDCG@10):".replace("[[cases]]", formatted(figure("fusion_weights", "cases"), "d")),
        _fusion_table(),
        "## Candidate recall",
        "Share of the targets among the candidates when each channel of the trained blend proposes its first 50, 100, 200 or 500 items. The blend ranks those of 100; the "
        "oracle is the NDCG@10 of ranking the targets among them first.",
        candidates_table(),
        "## Response times",
        _rows(SPEED),
        "## Packed ranking and training",
        "The history and 20 candidates are scored in one forward with an attention mask that separates the candidates.",
        _rows(PACKED),
        *_gpu_parts(names),
        "## Service",
        "`crossaisle serve` on the demo store; client and server share the cores. One file per machine.",
        _service_table(names),
        "Event log, written by threads of one process:",
        _rows(EVENT_LOG),
        "## Explanations",
        _rows(EXPLANATIONS),
        "## Large stores",
        _rows(SCALE),
        "## Associations, substitutes and needs",
        _rows(ASSOCIATIONS),
        "## Injection into the judge",
        "Change of the judge's score (from 1 to 5) by an instruction inside a judged explanation, without and with the injection filter. Bundled language model, two "
        "criteria; intervals by attack.",
        _attack_table(),
        "## Files, commands and machines",
        _files_table(names),
    ]  # fmt: skip
    text = "\n\n".join(parts) + "\n"
    # A section names each file, or the file of another machine kind without its suffix (see benchmarks/record.py); all are in the table.
    missing = [name for name in names if text.count(f"`{name}.json") < 2 and MACHINE_KIND.sub("", name) not in set(names) - {name}]
    if missing:
        raise UnknownFigureError(f"no section of scripts/benchmark_page.py uses {', '.join(missing)}")
    return text


def _machine(name: str) -> str:
    machine = content(name)["machine"]
    cpu = machine["cpu"].replace("(R)", "").replace(" Processor", "")
    return f"{cpu}, {machine['cores']} cores"


def _matrix_units(name: str) -> str:
    """Whether the CPU multiplies bf16 matrices in hardware (AMX): from the machine's record, else from the file's name."""
    instruction_set = content(name)["machine"].get("instruction_set")
    if instruction_set is not None:
        return "yes" if instruction_set.startswith("amx") else f"no ({instruction_set})"
    return "yes" if name.endswith("-amx") else "not recorded"


def _gpu_parts(names: Sequence[str]) -> list[str]:
    """The section about GPUs, one table for each GPU measured; nothing if there is none."""
    parts = []
    for name in (name for name in names if name == "gpu" or name.startswith("gpu-")):
        record = content(name)
        figures, rows = record["figures"], []
        load = figures["load"]
        for size, parts_of_size in figures.items():
            for part in parts_of_size if isinstance(parts_of_size, dict) and "bf16" in parts_of_size else ():
                for what, measured in parts_of_size[part].items() if part != "parameters" else ():
                    if isinstance(measured, str):
                        rows.append([size, part, what, measured, "", "", "", ""])
                    elif "seconds" in measured:
                        memory = measured.get("peak_memory_gb")
                        rows.append([
                            size, part, what, f"{measured['seconds'] * 1000:.1f} ms", f"{measured['roofline_seconds'] * 1000:.1f} ms ({measured['limit']})",
                            f"{measured['share_of_roofline']:.0%}".replace("%", " %"), f"{measured.get('tokens_per_second', 0):,}" if memory else "",
                            f"{memory} GB" if memory else "",
                        ])  # fmt: skip
        parts += [
            f"{record['machine'].get('gpu', 'GPU')}, {figures['weights']}; Qwen3 shapes; histories of {load['prefix']} tokens, candidates of {load['length']}; `rank 20 x 8` "
            f"is 20 candidates for each of 8 shoppers in one forward, `again` a request whose prefix is cached, `train 8` a LoRA step of 8 shoppers. The roofline is the larger of operations over "
            f"{figures['device']['tflop_per_second']:.0f} TFLOP/s and bytes over {figures['device']['gb_per_second']:,.0f} GB/s, both measured in the same run (`{name}.json`).",
            table(("Model", "Weights or attention", "What", "Time", "Roofline", "Reached", "Tokens/s", "Peak memory"), rows),
        ]
    return ["## GPU", *parts] if parts else []


def _rows(rows: Iterable[Row]) -> str:
    cells = ([fill(row.what, row.file), fill(row.measured, row.file), row.target, f"`{row.file}.json`", _machine(row.file)] for row in rows)
    return table(("What", "Measured", "Target", "File", "Machine"), cells)


def _fusion_table() -> str:
    name = "fusion_weights"
    rows = [[mix, *values(name, f"[[mixes/{mix}; ci:.3f]]")] for mix in figure(name, "mixes")]
    rows.append(["shipped weights, minus the same without the LLM", *values(name, "[[shipped_minus_without_llm; ci:+.3f]]")])
    rows.append(["shipped weights, minus associations alone", *values(name, "[[shipped_minus_associations; ci:+.3f]]")])
    return table((f"Mix (`{name}.json`)", "NDCG@10"), rows)


def _service_table(names: Sequence[str]) -> str:
    files = [name for name in names if name == "serve" or name.startswith("serve-")]
    header = ["What", *(f"`{name}.json` ({_machine(name)}, matrix units {_matrix_units(name)})" for name in files), "Target"]
    return table(header, ([fill(row.what, files[0]), *(_or_missing(row.measured, name) for name in files), row.target] for row in SERVICE))


def _or_missing(template: str, name: str) -> str:
    """As `_fill`; "not measured" where the program ran without that part."""
    try:
        return fill(template, name)
    except UnknownFigureError:
        return "not measured"


def _attack_table() -> str:
    name, rows = "judge-attacks", []
    for key, label in (("judge_attacks", "used to develop the filter"), ("judge_attacks_unseen", "not used to develop it")):
        at = f"files/{key}"
        cells = (
            f"[[{at}/attacks; d]], {label}", f"[[{at}/touched; d]]", f"[[{at}/points/without_the_guard; ci:+.2f]]; [[{at}/largest_without_the_guard; .2f]]",
            f"[[{at}/points/with_the_guard; ci:+.2f]]; [[{at}/largest_with_the_guard; .2f]]", f"[[{at}/noise_of_harmless_words; .2f]]",
        )  # fmt: skip
        rows.append([*values(name, *cells), f"`{name}.json`"])
    return table(("Attacks", "Detected", "Without the filter: mean; largest", "With it: mean; largest", "Noise of the judge", "File"), rows)


def _files_table(names: Sequence[str]) -> str:
    rows = []
    for name in names:
        record, machine = content(name), content(name)["machine"]
        rows.append([
            f"`{name}.json`", f"`{record['command']}`", record["date"], machine["cpu"], str(machine["cores"]), f"{machine['memory_gb']} GB",
            machine.get("python", "not recorded"), _matrix_units(name),
        ])  # fmt: skip
    return table(("File", "Command", "Date", "CPU", "Cores", "Memory", "Python", "Matrix units"), rows)
