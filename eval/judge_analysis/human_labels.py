"""Human labels from public data sets that the user provides: one record per question, in one form for all files.

    FBL2023.tsv             relation    complement, substitute or neither of two items; three annotators per pair
    which.jsonl, why.jsonl  which, why  of up to five options (intentions): the item bought with another item, or the reason for it
    label_data.csv          reason      whether a text span of a review is a good reason to recommend
    NAME_test.jsonl         mismatch    whether an explanation belongs to this user and item, or one of the three was exchanged

Files may be compressed (.gz) and lie anywhere in the folder. None of them is part of this project. All texts are untrusted: whoever puts
them into a prompt sanitizes them. Does not know about judges.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...data.errors import FormatError
from ...data.readers.rows.line_reader import LineReader

LabelTask = Literal["relation", "which", "why", "reason", "mismatch"]
RELATION = ("complement", "substitute", "neither")
_FBL_LABELS = {**dict.fromkeys("234567", 0), "1": 1, "8": 2, "9": 2}
"""FBL's labels as indices of `RELATION`: 1 the same function; 2 and 3 replenishes, 4 to 7 used together; 8 no relationship; 9 "seems to
have one that is difficult to verbalize", which is no reason to recommend and counts as none. Other labels are missing, as in the paper."""
_LETTERS = "ABCDE"
_MISMATCH = ("right", "user", "item", "explanation")
_MAX_DRAWS_PER_ROW = 20
_Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class LabelledCase:
    """A question with human labels.

    Attributes:
        task: Kind of question.
        key: Identifier: file name and line.
        parts: Texts by their name in the prompt.
        options: Possible answers.
        labels: Annotator to the index of the chosen option; annotators without a label are absent.
        cluster: Identifier that dependent questions share: the first item, or the user.
        part: Slice to report separately, or "".
    """

    task: LabelTask
    key: str
    parts: Mapping[str, str]
    options: tuple[str, ...]
    labels: Mapping[str, int]
    cluster: str
    part: str = ""


def read_labels(folder: Path, *, seed: int = 0) -> dict[LabelTask, list[LabelledCase]]:
    """Return all cases in a folder by task, in the order of the file names.

    Args:
        folder: Folder that is searched recursively.
        seed: Seed of the exchanged parts in the mismatch task.

    Raises:
        FormatError: The folder does not exist or has no label file, or a file does not have the expected format.
    """
    if not folder.is_dir():
        raise FormatError(folder, None, "no such folder; --labels needs a folder with human labels (FBL2023.tsv, which.jsonl, ...)")
    cases_by_task: dict[LabelTask, list[LabelledCase]] = {}
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = path.name.removesuffix(".gz")
        reader = _READERS.get(name) or (_read_xrec if name.endswith("_test.jsonl") else None)
        if reader is None:
            continue
        cases = list(reader(path, seed))
        if not cases:
            raise FormatError(path, None, "no line has a question with a label")
        cases_by_task.setdefault(cases[0].task, []).extend(cases)
    if not cases_by_task:
        expected = ", ".join([*_READERS, "NAME_test.jsonl"])
        raise FormatError(folder, None, f"no human labels; expected at least one of {expected}, plain or .gz")
    return cases_by_task


def _read_fbl(path: Path, seed: int) -> Iterator[LabelledCase]:  # noqa: ARG001  # all readers have one signature
    header: list[str] | None = None
    required = ["ITEM_URL_1", "ITEM_NAME_1", "ITEM_URL_2", "ITEM_NAME_2"]
    required += [f"ANNOTATOR{i}_{field}" for i in (1, 2, 3) for field in ("ID", "LABEL")]
    for number, line in _lines(path):
        fields = line.split("\t")
        if header is None:
            header = fields
            if missing := [name for name in required if name not in header]:
                raise FormatError(path, number, f"missing column {missing[0]}; expected the tab-separated columns of FBL2023.tsv")
            continue
        if len(fields) != len(header):
            raise FormatError(path, number, f"{len(fields)} fields, but the header has {len(header)}")
        row = dict(zip(header, fields, strict=True))
        by_annotator = {row[f"ANNOTATOR{i}_ID"]: _FBL_LABELS.get(row[f"ANNOTATOR{i}_LABEL"].strip()) for i in (1, 2, 3)}
        labels = {annotator: label for annotator, label in by_annotator.items() if label is not None}
        parts = {"first": row["ITEM_NAME_1"], "second": row["ITEM_NAME_2"]}
        if labels:
            yield LabelledCase("relation", f"{path.name}:{number}", parts, RELATION, labels, row["ITEM_URL_1"])


def _read_intentions(path: Path, task: Literal["which", "why"]) -> Iterator[LabelledCase]:
    for number, row in _json_objects(path):
        options, gold = _field(path, number, row, "options", dict), _text(path, number, row, "gold_ind")
        letters = sorted(options)
        if gold not in letters or not set(letters) <= set(_LETTERS) or not all(isinstance(text, str) for text in options.values()):
            raise FormatError(path, number, "expected options by letter, and the letter of one of them in gold_ind")
        if len(letters) < 2:
            continue  # a single option is no choice
        parts: dict[str, str] = {"first": _text(path, number, row, "item_a_name")}
        if task == "which":
            parts["reason"] = _text(path, number, row, "assertion")
        else:
            parts["second"] = _text(path, number, row, "item_b_name")
        cluster = _text(path, number, row, "item_a_id")
        texts = tuple(str(options[letter]) for letter in letters)
        yield LabelledCase(task, f"{path.name}:{number}", parts, texts, {"gold": letters.index(gold)}, cluster)


def _read_justifications(path: Path, seed: int) -> Iterator[LabelledCase]:  # noqa: ARG001  # as above
    for number, line in _lines(path):
        text, tab, label = line.rpartition("\t")
        if not tab or label.strip() not in ("True", "False"):
            raise FormatError(path, number, "expected a text, a tab, and True or False")
        options = ("good reason", "no reason")
        labels = {"gold": int(label.strip() == "False")}
        yield LabelledCase("reason", f"{path.name}:{number}", {"text": text}, options, labels, str(number))


def _read_xrec(path: Path, seed: int) -> Iterator[LabelledCase]:
    """Yield half of the rows unchanged; in the others the user, the item, or the explanation is another row's, a third each."""
    rows: list[tuple[int, _Row]] = []
    for number, content in _json_objects(path):
        texts = {name: _text(path, number, content, name) for name in ("user_summary", "title", "item_summary", "explanation")}
        ids = {name: str(_field(path, number, content, name, (str, int))) for name in ("uid", "iid")}
        rows.append((number, {**texts, **ids}))
    if len({row["uid"] for _, row in rows}) < 2 or len({row["iid"] for _, row in rows}) < 2:
        raise FormatError(path, None, "expected rows of at least two users and two items, to exchange explanations between them")
    for number, row in rows:
        rng = np.random.default_rng(int(hashlib.sha256(f"{seed}/{path.name}/{number}".encode()).hexdigest()[:16], 16))
        kind = "right" if rng.random() < 0.5 else str(rng.choice(_MISMATCH[1:]))
        other = row if kind == "right" else _random_other_row(path, number, row, rows, rng)
        user, item, explanation = (other if kind == name else row for name in _MISMATCH[1:])
        parts = {
            "user": user["user_summary"],
            "item": f"{item['title']}: {item['item_summary']}",
            "explanation": explanation["explanation"],
        }
        labels = {"made": int(kind != "right")}
        yield LabelledCase("mismatch", f"{path.name}:{number}", parts, ("right", "another's"), labels, row["uid"], kind)


def _random_other_row(path: Path, number: int, row: _Row, rows: Sequence[tuple[int, _Row]], rng: np.random.Generator) -> _Row:
    """Return a random row of another user and another item."""
    for _ in range(_MAX_DRAWS_PER_ROW * len(rows)):
        other = rows[int(rng.integers(len(rows)))][1]
        if other["uid"] != row["uid"] and other["iid"] != row["iid"]:
            return other
    raise FormatError(path, number, "no other row has another user and another item")


_READERS: Mapping[str, Callable[[Path, int], Iterator[LabelledCase]]] = {
    "FBL2023.tsv": _read_fbl,
    "which.jsonl": lambda path, _: _read_intentions(path, "which"),
    "why.jsonl": lambda path, _: _read_intentions(path, "why"),
    "label_data.csv": _read_justifications,
}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the non-empty lines with their numbers. Raises: FormatError: the file is damaged, or a line is not UTF-8 text."""
    for block in LineReader(path):
        for number, line in enumerate(block.lines, start=block.first):
            if number in block.bad:
                raise FormatError(path, number, block.bad[number][1])
            if line.strip():
                yield number, line.rstrip("\r\n")


def _json_objects(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FormatError(path, number, f"invalid JSON ({error})") from None
        if not isinstance(row, dict):
            raise FormatError(path, number, "expected one JSON object per line")
        yield number, row


def _text(path: Path, number: int, row: Mapping[str, object], name: str) -> str:
    return str(_field(path, number, row, name, str))


def _field(path: Path, number: int, row: Mapping[str, object], name: str, kind: type | tuple[type, ...]) -> Any:
    value = row.get(name)
    if not isinstance(value, kind):
        raise FormatError(path, number, f"{name} is missing or has the wrong type")
    return value
