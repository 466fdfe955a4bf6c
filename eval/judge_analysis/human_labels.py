"""What people said, from public data that the user has: one small record per question, whatever file it comes from.

    FBL2023.tsv             relation    complement, substitute or neither of two items; three annotators a pair
    which.jsonl, why.jsonl  which, why  of four products (intentions), the one that was bought with an item (the reason for it)
    label_data.csv          reason      whether a stretch of a review is a good reason
    NAME_test.jsonl         mismatch    whether an explanation belongs to this user and item, or one of the three is another's

Each may be packed (.gz) and lie anywhere in the folder. Nothing of it is in this project. All texts are strangers': whoever puts them into
a prompt fences them. Knows nothing of judges.
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
from ...data.readers.rows.line_reader import Lines

Task = Literal["relation", "which", "why", "reason", "mismatch"]
RELATION = ("complement", "substitute", "neither")
_FBL = {**dict.fromkeys("234567", 0), "1": 1, "8": 2, "9": 2}
"""FBL's own labels: 1 the same function; 2 and 3 replenishes, 4 to 7 used together; 8 no relationship; 9 "seems to have one that is
difficult to verbalize", which is no reason to recommend and counts as none. Anything else is missing, as its authors have it."""
_LETTERS = "ABCDE"
_MISMATCH = ("right", "user", "item", "explanation")
_TRIES = 20
_Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question that people answered.

    Attributes:
        task: what is asked. parts: the texts, by what each is. options: what may be answered.
        labels: annotator to the place of what they said among the options; one who said nothing is not there.
        cluster: what questions share that are not independent: the first item, or the user. part: a slice to report apart, or "".
    """

    task: Task
    key: str
    parts: Mapping[str, str]
    options: tuple[str, ...]
    labels: Mapping[str, int]
    cluster: str
    part: str = ""


def read(folder: Path, *, seed: int = 0) -> dict[Task, list[Labelled]]:
    """All that is found in a folder, in the order of the files' names, by task.

    Args: seed: which explanations of the mismatch test are spoiled, and with whose.
    Raises: FormatError: the folder is not there or holds none of the files; a file or line that is not what its name says.
    """
    if not folder.is_dir():
        raise FormatError(folder, None, "no such folder; --labels wants one with human labels (FBL2023.tsv, which.jsonl, ...)")
    found: dict[Task, list[Labelled]] = {}
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = path.name.removesuffix(".gz")
        reader = _READERS.get(name) or (_xrec if name.endswith("_test.jsonl") else None)
        if reader is None:
            continue
        cases = list(reader(path, seed))
        if not cases:
            raise FormatError(path, None, "no line of it holds a question with a label")
        found.setdefault(cases[0].task, []).extend(cases)
    if not found:
        wanted = ", ".join([*_READERS, "NAME_test.jsonl"])
        raise FormatError(folder, None, f"holds no human labels; wanted is one of {wanted}, plain or .gz")
    return found


def _fbl(path: Path, seed: int) -> Iterator[Labelled]:  # noqa: ARG001  # all readers are called alike
    header: list[str] | None = None
    wanted = ["ITEM_URL_1", "ITEM_NAME_1", "ITEM_URL_2", "ITEM_NAME_2"]
    wanted += [f"ANNOTATOR{i}_{what}" for i in (1, 2, 3) for what in ("ID", "LABEL")]
    for number, line in _lines(path):
        fields = line.split("\t")
        if header is None:
            header = fields
            if missing := [name for name in wanted if name not in header]:
                raise FormatError(
                    path, number, f"the heading has no {missing[0]}; wanted are tab-separated columns as FBL2023.tsv has them"
                )
            continue
        if len(fields) != len(header):
            raise FormatError(path, number, f"{len(fields)} fields, the heading has {len(header)}")
        row = dict(zip(header, fields, strict=True))
        said = {row[f"ANNOTATOR{i}_ID"]: _FBL.get(row[f"ANNOTATOR{i}_LABEL"].strip()) for i in (1, 2, 3)}
        labels = {who: label for who, label in said.items() if label is not None}
        parts = {"first": row["ITEM_NAME_1"], "second": row["ITEM_NAME_2"]}
        if labels:
            yield Labelled("relation", f"{path.name}:{number}", parts, RELATION, labels, row["ITEM_URL_1"])


def _intention(path: Path, task: Literal["which", "why"]) -> Iterator[Labelled]:
    for number, row in _objects(path):
        options, gold = _field(path, number, row, "options", dict), _text(path, number, row, "gold_ind")
        letters = sorted(options)
        if gold not in letters or not set(letters) <= set(_LETTERS) or not all(isinstance(said, str) for said in options.values()):
            raise FormatError(path, number, "wanted are options by letter, and in gold_ind the letter of one of them")
        if len(letters) < 2:
            continue  # nothing to choose from
        parts: dict[str, str] = {"first": _text(path, number, row, "item_a_name")}
        if task == "which":
            parts["reason"] = _text(path, number, row, "assertion")
        else:
            parts["second"] = _text(path, number, row, "item_b_name")
        cluster = _text(path, number, row, "item_a_id")
        texts = tuple(str(options[letter]) for letter in letters)
        yield Labelled(task, f"{path.name}:{number}", parts, texts, {"gold": letters.index(gold)}, cluster)


def _justification(path: Path, seed: int) -> Iterator[Labelled]:  # noqa: ARG001  # as above
    for number, line in _lines(path):
        text, tab, label = line.rpartition("\t")
        if not tab or label.strip() not in ("True", "False"):
            raise FormatError(path, number, "wanted is a text, a tab, and True or False")
        options = ("good reason", "no reason")
        yield Labelled("reason", f"{path.name}:{number}", {"text": text}, options, {"gold": int(label.strip() == "False")}, str(number))


def _xrec(path: Path, seed: int) -> Iterator[Labelled]:
    """Half of the rows as they are; of the others the user, the item, or the explanation is another row's, a third each."""
    rows: list[tuple[int, _Row]] = []
    for number, found in _objects(path):
        texts = {name: _text(path, number, found, name) for name in ("user_summary", "title", "item_summary", "explanation")}
        ids = {name: str(_field(path, number, found, name, (str, int))) for name in ("uid", "iid")}
        rows.append((number, {**texts, **ids}))
    if len({row["uid"] for _, row in rows}) < 2 or len({row["iid"] for _, row in rows}) < 2:
        raise FormatError(path, None, "rows of at least two users and two items are wanted, to hold explanations against another's")
    for number, row in rows:
        draw = np.random.default_rng(int(hashlib.sha256(f"{seed}/{path.name}/{number}".encode()).hexdigest()[:16], 16))
        kind = "right" if draw.random() < 0.5 else str(draw.choice(_MISMATCH[1:]))
        other = row if kind == "right" else _another(path, number, row, rows, draw)
        user, item, said = (other if kind == name else row for name in _MISMATCH[1:])
        parts = {
            "user": user["user_summary"],
            "item": f"{item['title']}: {item['item_summary']}",
            "explanation": said["explanation"],
        }
        labels = {"made": int(kind != "right")}
        yield Labelled("mismatch", f"{path.name}:{number}", parts, ("right", "another's"), labels, row["uid"], kind)


def _another(path: Path, number: int, row: _Row, rows: Sequence[tuple[int, _Row]], draw: np.random.Generator) -> _Row:
    """A row of another user and another item, by lot."""
    for _ in range(_TRIES * len(rows)):
        other = rows[int(draw.integers(len(rows)))][1]
        if other["uid"] != row["uid"] and other["iid"] != row["iid"]:
            return other
    raise FormatError(path, number, "no other row has another user and another item")


_READERS: Mapping[str, Callable[[Path, int], Iterator[Labelled]]] = {
    "FBL2023.tsv": _fbl,
    "which.jsonl": lambda path, _: _intention(path, "which"),
    "why.jsonl": lambda path, _: _intention(path, "why"),
    "label_data.csv": _justification,
}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers. Raises: FormatError: the file is damaged, or a line is no text."""
    for block in Lines(path):
        for number, line in enumerate(block.lines, start=block.first):
            if number in block.bad:
                raise FormatError(path, number, block.bad[number][1])
            if line.strip():
                yield number, line.rstrip("\r\n")


def _objects(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FormatError(path, number, f"no JSON ({error})") from None
        if not isinstance(row, dict):
            raise FormatError(path, number, "wanted is one JSON object a line")
        yield number, row


def _text(path: Path, number: int, row: Mapping[str, object], name: str) -> str:
    return str(_field(path, number, row, name, str))


def _field(path: Path, number: int, row: Mapping[str, object], name: str, kind: type | tuple[type, ...]) -> Any:
    value = row.get(name)
    if not isinstance(value, kind):
        raise FormatError(path, number, f"no {name}, or not of the kind that it should be")
    return value
