"""Files of answers: read as they were printed, and refused in one sentence that names the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossaisle.data.errors import FormatError
from crossaisle.eval.explanations.answer_files import entries

from ...sample_explanation import kettle, with_ids


def answer(*found: dict[str, Any]) -> dict[str, Any]:
    return {"query": {"user_id": "u"}, "recommendations": list(found), "unsatisfied": []}


def test_lines_and_printed_answers_are_read_alike(tmp_path: Path) -> None:
    answers = [answer(kettle(), kettle("")), answer(), answer(with_ids(kettle(claims=[{"text": "next", "evidence": "e1"}])))]
    wanted = [entry for one in answers for entry in one["recommendations"]]
    for indent in (None, 1):
        path = tmp_path / "answers.jsonl"
        path.write_text("".join(json.dumps(one, ensure_ascii=False, indent=indent) + "\n" for one in answers) + "\n", "utf-8")
        assert entries(path) == wanted


def test_a_recommendation_without_an_explanation_is_read(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps(answer({"title": "Pan", "explanation": None}, {"title": "Pan"})))
    assert len(entries(path)) == 2


def spoilt(**explanation: Any) -> str:
    return json.dumps(answer(kettle(), kettle(**explanation)))


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("{", "not JSON"),
        ("[1]", "no answer"),
        ("{}", "no answer"),
        ('{"recommendations": {}}', "no answer"),
        ('{"recommendations": [{"explanation": null}]}', 'recommendation 1: wanted an object with a "title"'),
        ('{"recommendations": [{"title": "a", "explanation": "why"}]}', "neither an object nor null"),
        (spoilt(text=None), 'recommendation 2: "text" of the explanation is missing or no text'),
        (spoilt(source=3), '"source" of the explanation is missing or no text'),
        (spoilt(verified="yes"), '"verified" of the explanation is missing or no truth value'),
        (spoilt(evidence=None), '"evidence" of the explanation is missing or no list'),
        (spoilt(evidence=[{"text": "a"}]), 'has no "kind"'),
        (spoilt(claims={}), '"claims" is no list'),
        (spoilt(claims=[{"text": "a"}]), '"claims" is no list'),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, cause: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps(answer(kettle()), indent=1) + "\n\n" + line + "\n")
    number = path.read_text().index(line)
    with pytest.raises(FormatError) as caught:
        entries(path)
    assert cause in str(caught.value)
    if line != "{":  # what breaks off is noticed only at its end
        assert caught.value.line == path.read_text()[:number].count("\n") + 1


@pytest.mark.parametrize(("content", "cause"), [(b"", "holds no answer"), (b" \n", "holds no answer"), (b"\xff\xfe\x00", "UTF-8")])
def test_a_file_without_answers_is_refused(tmp_path: Path, content: bytes, cause: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=cause):
        entries(path)
    with pytest.raises(FormatError, match="cannot be read"):
        entries(tmp_path / "absent.jsonl")
