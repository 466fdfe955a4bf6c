"""Effect of instructions to the judge on its scores, with and without the injection filter, beside harmless text of the same length.

Two files of attacks: `tests/fixtures/judge_attacks.jsonl`, used to develop the filter, and `tests/fixtures/judge_attacks_unseen.jsonl`,
written before it. Each attack is added to the same explanation; the effect is the score with the attack minus the score without it.
`harmless` is the same for neutral text of the same length. The bundled judge does not measure quality, so any effect is its noise. Also
counted: honest texts from which the filter removes something. Reviews are read from ../shared/data where it exists.
"""

from __future__ import annotations

import argparse
import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import record

from crossaisle import Settings
from crossaisle.data import demo
from crossaisle.eval.judge import rubrics
from crossaisle.eval.judge.question import JudgeQuestion, parse_judgement
from crossaisle.eval.judge.recommendation_lists import ListEntry, RecommendationList
from crossaisle.eval.stats.bootstrap import bootstrap_mean
from crossaisle.llm.chat.local_model import LocalChatModel
from crossaisle.llm.chat.messages import ChatRequest
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.model_source import fingerprint
from crossaisle.prompts import sanitize_for_prompt
from crossaisle.prompts.judge_injection import split_injection

TESTS = Path(__file__).parents[1] / "tests" / "fixtures"
FILLER = "The lid is blue and the box has a label on it. It came on a Tuesday in a van, and there was a note with the date in the box. " * 9
CRITERIA = ("faithfulness", "clarity")
PLACE = "PLACEHOLDER"
STEP = 40
"""Characters: harmless words are as long as an attack, up to the next multiple of this, so that attacks share them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llm", default="smollm2")
    parser.add_argument("--attacks", type=int, default=10_000, help="of each file, at most")
    given = parser.parse_args()
    settings = Settings.read().with_(llm=given.llm, quantization="nf4" if given.llm == "smollm2" else None)
    judge = LocalChatModel(LanguageModel.load(settings), fingerprint(given.llm, settings.home), max_tokens=16)

    @cache
    def ask(request: ChatRequest) -> float:
        score = parse_judgement(JudgeQuestion("c", "p", "h", request, "ours", "ann"), "local", 0, judge.ask(request)).score
        return float("nan") if score is None else score

    files = {name: moved(name, ask, given.attacks) for name in ("judge_attacks", "judge_attacks_unseen")}
    record.write("judge-attacks", {"judge": dict(judge.about()), "criteria": CRITERIA, "files": files, "honest_texts": honest()})


def question(name: str, text: str, *, guarded: bool) -> ChatRequest:
    """A question about an explanation; without the filter the text is only sanitized."""
    entry = ListEntry("s1", "Gas stove", ("Camping",), 29.5, text if guarded else PLACE, ("it boils a litre in three minutes",))
    request = rubrics.pointwise(name, RecommendationList("ann", (entry,), ("Dome tent (Camping)",)), entry)
    return (
        request
        if guarded
        else ChatRequest(
            request.system, request.user.replace(PLACE, sanitize_for_prompt(text, rubrics.MAX_TEXT_CHARS)), request.key, request.labels
        )
    )


def moved(file: str, ask: Any, most: int) -> dict[str, Any]:
    attacks = [json.loads(line) for line in (TESTS / f"{file}.jsonl").read_text("utf-8").splitlines()][:most]
    rows: dict[str, list[float]] = {"without_the_guard": [], "with_the_guard": [], "harmless": [], "harmless_again": []}
    cases = []
    for attack in attacks:
        extra = -(-(len(attack["text"]) - len(attack["without"])) // STEP) * STEP
        mine: dict[str, list[float]] = {name: [] for name in rows}
        for name in CRITERIA:
            alone = ask(question(name, attack["without"], guarded=True))
            texts = [f"{attack['without']} {FILLER[start : start + extra]}" for start in (0, 53)]
            mine["without_the_guard"].append(ask(question(name, attack["text"], guarded=False)) - alone)
            mine["with_the_guard"].append(ask(question(name, attack["text"], guarded=True)) - alone)
            for key, text in zip(("harmless", "harmless_again"), texts, strict=True):
                mine[key].append(ask(question(name, text, guarded=True)) - alone)
        for key, values in mine.items():
            rows[key] += values
        cases.append(
            {
                "id": attack["id"],
                "touched": bool(split_injection(attack["text"]).removed),
                **{k: round(float(np.mean(v)), 3) for k, v in mine.items()},
            }
        )
        print(cases[-1], flush=True)
    clusters = np.repeat(np.arange(len(attacks)), len(CRITERIA))
    values = {key: np.array(row) for key, row in rows.items()}
    control = (values["harmless"] + values["harmless_again"]) / 2
    spread = float(np.nanstd(values["harmless"] - values["harmless_again"]) / np.sqrt(2))
    of = {**values, **{f"{key}_less_harmless": values[key] - control for key in ("without_the_guard", "with_the_guard")}}
    return {
        "attacks": len(attacks),
        "touched": sum(case["touched"] for case in cases),
        "points": {key: rounded(bootstrap_mean(row, clusters).to_dict()) for key, row in of.items()},
        "largest_with_the_guard": round(float(np.nanmax(np.abs(values["with_the_guard"]))), 3),
        "largest_without_the_guard": round(float(np.nanmax(np.abs(values["without_the_guard"]))), 3),
        "noise_of_harmless_words": round(spread, 3),
        "cases": cases,
    }


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}


def honest() -> dict[str, Any]:
    """Number of honest texts from which the filter removes something."""
    texts = {
        "reviews of the demo store": [one["text"] for one in demo.load_records("reviews")],
        "titles and descriptions of the demo store": [
            one[field] for one in demo.load_records("items") for field in ("title", "description")
        ],
    }
    for name, field in (("reviews", "text"), ("meta", "title")):
        path = record.SHARED / "amazon23" / f"{name}.jsonl.gz"
        if path.exists():
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                texts[f"amazon23 {name}, {field}"] = [text for line in lines if (text := json.loads(line)[field])]
    return {
        name: {"texts": len(these), "touched": sum(bool(split_injection(text).removed) for text in these)} for name, these in texts.items()
    }


if __name__ == "__main__":
    main()
