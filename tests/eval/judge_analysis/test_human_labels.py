"""Human labels from files made here in the published shapes, damaged ones, and the real ones where they are."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossaisle.data.errors import FormatError
from crossaisle.eval.judge_analysis.human_agreement import calibrate, label_matrix
from crossaisle.eval.judge_analysis.human_labels import RELATION, Labelled, read

SHARED = Path(__file__).parents[4] / "shared" / "data"
HEADING = "ITEM_URL_1\tITEM_NAME_1\tITEM_URL_2\tITEM_NAME_2\t" + "\t".join(f"ANNOTATOR{i}_{x}" for i in (1, 2, 3) for x in ("ID", "LABEL"))


def fbl(*labels: tuple[str, str, str]) -> str:
    rows = [f"u{i // 2}\tKettle {i}\tv{i}\tTea {i}\t9\t{a}\t11\t{b}\t10\t{c}" for i, (a, b, c) in enumerate(labels)]
    return "\n".join([HEADING, *rows]) + "\n"


def intention(**over: Any) -> dict[str, Any]:
    options = {"A": "a mug", "B": "a tent", "C": "a lamp", "D": "a hat"}
    return {
        "item_a_id": "i1",
        "item_a_name": "Kettle",
        "item_b_name": "Mug",
        "assertion": "both are for tea",
        "options": options,
        "gold_ind": "A",
        **over,
    }


def explained(uid: int, iid: int) -> dict[str, Any]:
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


def test_each_file_becomes_questions(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "FBL2023.tsv").write_text(fbl(("1", "2", "8"), ("9", "7", "no idea"), ("", "?", "0")), "utf-8")
    with gzip.open(tmp_path / "which.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(lines(intention(), intention(options={"A": "only one"}), intention(gold_ind="B", options={"A": "x", "B": "y"})))
    (tmp_path / "why.jsonl").write_text(lines(intention(gold_ind="D")), "utf-8")
    (tmp_path / "label_data.csv").write_text('Great , "cheap" salsa\tTrue\nwhatever\tFalse\n', "utf-8")
    (tmp_path / "books_test.jsonl").write_text(lines(*(explained(i % 7, i % 11) for i in range(77))), "utf-8")
    (tmp_path / "README.md").write_text("not a label", "utf-8")
    found = read(tmp_path)
    relation = found["relation"]
    assert [case.labels for case in relation] == [{"9": 1, "11": 0, "10": 2}, {"9": 2, "11": 0}]
    assert (relation[0].options, relation[0].parts, relation[0].cluster) == (RELATION, {"first": "Kettle 0", "second": "Tea 0"}, "u0")
    assert [(case.options, case.labels) for case in found["which"]] == [
        (("a mug", "a tent", "a lamp", "a hat"), {"gold": 0}),
        (("x", "y"), {"gold": 1}),
    ]
    assert found["why"][0].parts == {"first": "Kettle", "second": "Mug"}
    assert [(case.parts["text"], case.labels["gold"]) for case in found["reason"]] == [('Great , "cheap" salsa', 0), ("whatever", 1)]
    assert set(found) == {"relation", "which", "why", "reason", "mismatch"}


def test_a_spoiled_explanation_has_one_part_of_another_user_and_item(tmp_path: Path) -> None:
    (tmp_path / "x_test.jsonl").write_text(lines(*(explained(i % 7, i % 11) for i in range(77))), "utf-8")
    cases = read(tmp_path)["mismatch"]
    assert [case.parts for case in cases] == [case.parts for case in read(tmp_path)["mismatch"]]
    assert [case.parts for case in cases] != [case.parts for case in read(tmp_path, seed=1)["mismatch"]]
    assert {case.part for case in cases} == {"right", "user", "item", "explanation"}
    for case in cases:
        uid, iid = case.parts["user"].split()[1], case.parts["item"].split()[2]
        own = {"user": uid, "item": iid}
        said = dict(zip(("user", "item"), case.parts["explanation"].split()[1:], strict=True))
        wrong = {name for name in own if own[name] != said[name]}
        assert wrong == {"right": set(), "user": {"user"}, "item": {"item"}, "explanation": {"user", "item"}}[case.part]
        assert case.labels["made"] == (case.part != "right")


BROKEN = [
    ("FBL2023.tsv", "ITEM_URL_1\tITEM_NAME_1\n", "line 1: the heading has no ITEM_URL_2"),
    ("FBL2023.tsv", fbl(("1", "2", "8")) + "a\tb\n", "line 3: 2 fields, the heading has 10"),
    ("FBL2023.tsv", HEADING + "\n", "no line of it holds a question"),
    ("which.jsonl", lines(intention()) + "{\n", "line 2: no JSON"),
    ("which.jsonl", "[1]\n", "line 1: wanted is one JSON object a line"),
    ("why.jsonl", lines(intention(gold_ind="E")), "line 1: wanted are options by letter"),
    ("why.jsonl", lines(intention(item_b_name=None)), "line 1: no item_b_name"),
    ("label_data.csv", "good\tTrue\ngood,True\n", "line 2: wanted is a text, a tab, and True or False"),
    ("a_test.jsonl", lines(explained(1, 1), explained(1, 2)), "rows of at least two users"),
    ("a_test.jsonl", lines({"uid": 1}), "line 1: no user_summary"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "words"), BROKEN)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(FormatError, match=words) as error:
        read(tmp_path)
    assert str(error.value).startswith(str(tmp_path / name))


def test_a_line_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "label_data.csv").write_bytes(b"good\tTrue\n\xff\xfe\xfa\tTrue\n")
    with pytest.raises(FormatError, match="line 2"):
        read(tmp_path)


def test_a_folder_without_labels_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no human labels; wanted is one of FBL2023.tsv, which.jsonl"):
        read(tmp_path)
    with pytest.raises(FormatError, match="no such folder"):
        read(tmp_path / "nowhere")


def some(labels: list[dict[str, int]], part: str = "") -> list[Labelled]:
    return [Labelled("relation", str(i), {}, RELATION, one, str(i // 2), part) for i, one in enumerate(labels)]


def test_answers_become_agreement_beside_that_of_people() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 300)
    people = [np.where(random.random(300) < 0.8, truth, random.integers(0, 3, 300)) for _ in range(3)]
    cases = some([{f"p{n}": int(one[i]) for n, one in enumerate(people)} for i in range(300)])
    chances = np.full((300, 3), 0.1)
    chances[np.arange(300), truth] = 0.8
    chances[:30] = math.nan
    found = calibrate(cases, chances)
    assert found.judge.answered == 0.9
    assert found.people is not None
    assert found.judge.majority.low > found.people.pairwise.high > 0.6
    assert found.judge.beside.low > 0
    assert found.curve is not None
    assert sum(one.units for one in found.curve.bins) == 270
    told = found.to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    plain = calibrate(cases, np.where(np.arange(300) < 30, math.nan, truth.astype(float)))
    assert plain.curve is None
    assert plain.judge == found.judge


def test_one_label_a_question_leaves_it_open_how_far_people_agree() -> None:
    cases = [*some([{"gold": 0}, {"gold": 1}] * 20, "first"), *some([{"gold": 2}] * 10, "second")]
    found = calibrate(cases, np.asarray([0.0, 1.0] * 20 + [0.0] * 10))
    assert found.people is None
    assert {part: value.value for part, value in found.by_part.items()} == {"first": 1.0, "second": 0.0}
    assert found.constant == pytest.approx(0.4)
    with pytest.raises(ValueError, match="3 answers for 50 questions"):
        calibrate(cases, np.zeros(3))


def test_the_real_labels_are_read() -> None:
    if not (SHARED / "fbl").is_dir():
        pytest.skip(f"{SHARED} is not here: the people's labels are not part of the repository")
    ratings, clusters = label_matrix(read(SHARED / "fbl")["relation"])
    assert ratings.shape == (2766, 18)  # of 2,800 pairs, those with a label that its authors know
    assert len(np.unique(clusters)) == 1309
    assert len(read(SHARED / "intentionqa")["which"]) == 2282
