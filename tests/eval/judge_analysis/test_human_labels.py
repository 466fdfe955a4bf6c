"""Human labels from synthetic files in the published formats, damaged files, and the real data if available."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossaisle.data.errors import FormatError
from crossaisle.eval.judge_analysis.human_agreement import calibrate_task, label_matrix
from crossaisle.eval.judge_analysis.human_labels import RELATION, LabelledCase, read_labels

SHARED = Path(__file__).parents[4] / "shared" / "data"
HEADING = "ITEM_URL_1\tITEM_NAME_1\tITEM_URL_2\tITEM_NAME_2\t" + "\t".join(f"ANNOTATOR{i}_{x}" for i in (1, 2, 3) for x in ("ID", "LABEL"))


def fbl(*labels: tuple[str, str, str]) -> str:
    rows = [f"u{i // 2}\tKettle {i}\tv{i}\tTea {i}\t9\t{a}\t11\t{b}\t10\t{c}" for i, (a, b, c) in enumerate(labels)]
    return "\n".join([HEADING, *rows]) + "\n"


def intention(**fields: Any) -> dict[str, Any]:
    options = {"A": "a mug", "B": "a tent", "C": "a lamp", "D": "a hat"}
    return {
        "item_a_id": "i1",
        "item_a_name": "Kettle",
        "item_b_name": "Mug",
        "assertion": "both are for tea",
        "options": options,
        "gold_ind": "A",
        **fields,
    }


def explanation_row(uid: int, iid: int) -> dict[str, Any]:
    return {
        "uid": uid,
        "iid": iid,
        "title": f"t{iid}",
        "user_summary": f"user {uid}",
        "item_summary": f"item {iid}",
        "explanation": f"said {uid} {iid}",
    }


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_each_file_is_read_as_cases(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "FBL2023.tsv").write_text(fbl(("1", "2", "8"), ("9", "7", "no idea"), ("", "?", "0")), "utf-8")
    with gzip.open(tmp_path / "which.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(lines(intention(), intention(options={"A": "only one"}), intention(gold_ind="B", options={"A": "x", "B": "y"})))
    (tmp_path / "why.jsonl").write_text(lines(intention(gold_ind="D")), "utf-8")
    (tmp_path / "label_data.csv").write_text('Great , "cheap" salsa\tTrue\nwhatever\tFalse\n', "utf-8")
    (tmp_path / "books_test.jsonl").write_text(lines(*(explanation_row(i % 7, i % 11) for i in range(77))), "utf-8")
    (tmp_path / "README.md").write_text("not a label", "utf-8")
    cases = read_labels(tmp_path)
    relation = cases["relation"]
    assert [case.labels for case in relation] == [{"9": 1, "11": 0, "10": 2}, {"9": 2, "11": 0}]
    assert (relation[0].options, relation[0].parts, relation[0].cluster) == (RELATION, {"first": "Kettle 0", "second": "Tea 0"}, "u0")
    assert [(case.options, case.labels) for case in cases["which"]] == [
        (("a mug", "a tent", "a lamp", "a hat"), {"gold": 0}),
        (("x", "y"), {"gold": 1}),
    ]
    assert cases["why"][0].parts == {"first": "Kettle", "second": "Mug"}
    assert [(case.parts["text"], case.labels["gold"]) for case in cases["reason"]] == [('Great , "cheap" salsa', 0), ("whatever", 1)]
    assert set(cases) == {"relation", "which", "why", "reason", "mismatch"}


def test_mismatch_exchanges_one_part_with_another_user_and_item(tmp_path: Path) -> None:
    (tmp_path / "x_test.jsonl").write_text(lines(*(explanation_row(i % 7, i % 11) for i in range(77))), "utf-8")
    cases = read_labels(tmp_path)["mismatch"]
    assert [case.parts for case in cases] == [case.parts for case in read_labels(tmp_path)["mismatch"]]
    assert [case.parts for case in cases] != [case.parts for case in read_labels(tmp_path, seed=1)["mismatch"]]
    assert {case.part for case in cases} == {"right", "user", "item", "explanation"}
    for case in cases:
        uid, iid = case.parts["user"].split()[1], case.parts["item"].split()[2]
        expected = {"user": uid, "item": iid}
        explained = dict(zip(("user", "item"), case.parts["explanation"].split()[1:], strict=True))
        wrong = {name for name in expected if expected[name] != explained[name]}
        assert wrong == {"right": set(), "user": {"user"}, "item": {"item"}, "explanation": {"user", "item"}}[case.part]
        assert case.labels["made"] == (case.part != "right")


BROKEN = [
    ("FBL2023.tsv", "ITEM_URL_1\tITEM_NAME_1\n", "line 1: missing column ITEM_URL_2"),
    ("FBL2023.tsv", fbl(("1", "2", "8")) + "a\tb\n", "line 3: 2 fields, but the header has 10"),
    ("FBL2023.tsv", HEADING + "\n", "no line has a question with a label"),
    ("which.jsonl", lines(intention()) + "{\n", "line 2: invalid JSON"),
    ("which.jsonl", "[1]\n", "line 1: expected one JSON object per line"),
    ("why.jsonl", lines(intention(gold_ind="E")), "line 1: expected options by letter"),
    ("why.jsonl", lines(intention(item_b_name=None)), "line 1: item_b_name is missing or has the wrong type"),
    ("label_data.csv", "good\tTrue\ngood,True\n", "line 2: expected a text, a tab, and True or False"),
    ("a_test.jsonl", lines(explanation_row(1, 1), explanation_row(1, 2)), "expected rows of at least two users"),
    ("a_test.jsonl", lines({"uid": 1}), "line 1: user_summary is missing or has the wrong type"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "words"), BROKEN)
def test_format_error_names_file_and_line(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(FormatError, match=words) as error:
        read_labels(tmp_path)
    assert str(error.value).startswith(str(tmp_path / name))


def test_format_error_for_a_line_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "label_data.csv").write_bytes(b"good\tTrue\n\xff\xfe\xfa\tTrue\n")
    with pytest.raises(FormatError, match="line 2"):
        read_labels(tmp_path)


def test_format_error_for_a_folder_without_labels(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no human labels; expected at least one of FBL2023.tsv, which.jsonl"):
        read_labels(tmp_path)
    with pytest.raises(FormatError, match="no such folder"):
        read_labels(tmp_path / "nowhere")


def relation_cases(labels: list[dict[str, int]], part: str = "") -> list[LabelledCase]:
    return [LabelledCase("relation", str(i), {}, RELATION, by_annotator, str(i // 2), part) for i, by_annotator in enumerate(labels)]


def test_agreement_of_a_judge_and_of_people() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 300)
    people = [np.where(random.random(300) < 0.8, truth, random.integers(0, 3, 300)) for _ in range(3)]
    cases = relation_cases([{f"p{n}": int(labels[i]) for n, labels in enumerate(people)} for i in range(300)])
    probabilities = np.full((300, 3), 0.1)
    probabilities[np.arange(300), truth] = 0.8
    probabilities[:30] = math.nan
    calibration = calibrate_task(cases, probabilities)
    assert calibration.judge.answered == 0.9
    assert calibration.people is not None
    assert calibration.judge.majority.low > calibration.people.pairwise.high > 0.6
    assert calibration.judge.beside.low > 0
    assert calibration.curve is not None
    assert sum(reliability_bin.units for reliability_bin in calibration.curve.bins) == 270
    content = calibration.to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    plain = calibrate_task(cases, np.where(np.arange(300) < 30, math.nan, truth.astype(float)))
    assert plain.curve is None
    assert plain.judge == calibration.judge


def test_no_human_agreement_with_one_label_per_case() -> None:
    cases = [*relation_cases([{"gold": 0}, {"gold": 1}] * 20, "first"), *relation_cases([{"gold": 2}] * 10, "second")]
    calibration = calibrate_task(cases, np.asarray([0.0, 1.0] * 20 + [0.0] * 10))
    assert calibration.people is None
    assert {part: value.value for part, value in calibration.by_part.items()} == {"first": 1.0, "second": 0.0}
    assert calibration.constant_accuracy == pytest.approx(0.4)
    with pytest.raises(ValueError, match="3 answers for 50 questions"):
        calibrate_task(cases, np.zeros(3))


def test_real_labels_are_read() -> None:
    if not (SHARED / "fbl").is_dir():
        pytest.skip(f"{SHARED} is not available: human labels are not part of the repository")
    ratings, clusters = label_matrix(read_labels(SHARED / "fbl")["relation"])
    assert ratings.shape == (2766, 18)  # of 2,800 pairs, those with a known label
    assert len(np.unique(clusters)) == 1309
    assert len(read_labels(SHARED / "intentionqa")["which"]) == 2282
