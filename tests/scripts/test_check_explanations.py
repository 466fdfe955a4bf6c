"""The stand-alone check, run as a user runs it: it passes what is true and finds every fault that is planted."""

from __future__ import annotations

import ast
import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..sample_explanation import KETTLE, QUOTE, TEXT, kettle, with_ids

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_explanations.py"
ITEMS = [
    {"item_id": "K", "title": KETTLE, "category": ["Kitchen", "Small Appliances"], "brand": "Voltano"},
    {"item_id": "T", "title": 'Nordlo 7" Camp Table', "category": "Furniture > Tables"},
    {"item_id": "P", "title": "Voltano Glass Kettle", "category": ["Kitchen"]},  # stands inside the kettle's title
    {"item_id": "L", "title": "enamel lid", "category": ["Kitchen"]},
    {"item_id": "I", "title": "It", "category": ["Films"]},
    {"item_id": "M", "title": "46", "category": ["Films"]},
    {"item_id": "S", "title": "Steelwick Pan, 24 cm", "category": ["Kitchen"]},
    {"item_id": "X", "title": "", "category": []},
]
REVIEWS = [
    {"item_id": "K", "text": f"Lovely thing.  {QUOTE}\nThe enamel lid of my Steelwick Pan, 24 cm fits, too."},
    {"item_id": "S", "text": "Never sticks, not even to eggs."},
]
ALSO = f"The {KETTLE}: a reviewer wrote “{QUOTE}”"


def check(folder: Path, entries: list[dict[str, Any]], *, store: bool = True, query: dict[str, Any] | None = None) -> tuple[int, str]:
    """The exit code and what is printed for an answer with these recommendations."""
    files = {"answers": [{"query": query or {}, "recommendations": entries}], "items": ITEMS, "reviews": REVIEWS}
    for name, lines in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    also = ["--items", "items.jsonl", "--reviews", "reviews.jsonl"] if store else []
    # -I: nothing of this repository, and no library, can be imported.
    command = [sys.executable, "-I", "-S", str(SCRIPT), "answers.jsonl", *also]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def spoken(words: str) -> list[dict[str, Any]]:
    return [{"kind": "need", "text": words, "item_id": "K", "value": 0.4}, *kettle()["explanation"]["evidence"]]


GOOD = [
    kettle(),
    kettle(""),
    kettle(ALSO),
    kettle(f'The {KETTLE}: "in 3 minutes."'),
    kettle(f'With your Nordlo 7" Camp Table, the {KETTLE} is worth a look.'),
    kettle("The Voltano Glass Kettle is worth a look."),
    kettle(f"The {KETTLE} is from Small Appliances. It is by Voltano."),
    kettle(
        f"159 of 226 shoppers who bought from Furniture also bought from Kitchen, 1.2 times the usual share, and the {KETTLE} is from there."
    ),
    with_ids(kettle(claims=[{"text": "of 46 shoppers who bought the first, 25 also bought the second", "evidence": "e1"}])),
    kettle(f"A reviewer of the {KETTLE} wrote “The enamel lid of my Steelwick Pan, 24 cm fits, too.”"),
    kettle(f"You said “tea (black)”: the {KETTLE} is close.", evidence=spoken("tea (black)")),
    {"item_id": "K", "title": KETTLE, "explanation": None},
]


@pytest.mark.parametrize("store", [True, False])
def test_true_explanations_pass(tmp_path: Path, store: bool) -> None:
    good = GOOD if store else [entry for entry in GOOD if "enamel" not in json.dumps(entry) and "Voltano." not in json.dumps(entry)]
    if not store:  # without the store's files only the evidence is believed
        good = [e for e in good if not e["explanation"] or "from Kitchen" not in e["explanation"]["text"]]
    code, output = check(tmp_path, good, store=store, query={"text": "tea [black]  please"})
    assert (code, output.splitlines()[-1]) == (0, "0 faults"), output
    assert output.startswith(f"1 answers, {len(good)} recommendations, {len(good) - 2} texts, ")
    assert "1 claims" in output


NEITHER = "a name that is neither the item's nor an evidence item's"
NOBODY = "a quotation that nobody wrote of this item, nor the shopper said"
SPOILT = [
    (TEXT.replace("25", "35"), "a number that is not in the evidence: 35"),
    (TEXT.replace("25 also", "25 % also"), "a number that is not in the evidence: 25 %"),
    (f"The {KETTLE} boils in 3 minutes.", "a number that is not in the evidence: 3"),
    (f"The {KETTLE} was 2 of 46.", "a number that is not in the evidence: 2"),
    (TEXT.replace("46", "0").replace("25", "46").replace("0", "25"), "a figure that the evidence gives otherwise: 46 of 25"),
    (f"25 of 226 shoppers bought the {KETTLE}.", "a figure that the evidence gives otherwise: 25 of 226"),
    (TEXT.replace("Nordlo", "Nardlo"), f"{NEITHER}: Nardlo"),
    (TEXT.replace("Nordlo", "Great Nordlo"), f"{NEITHER}: Great"),
    (f"Nardlo {KETTLE}.", f"{NEITHER}: Nardlo"),
    (f"The {KETTLE} Pro.", f"a name goes on as no item's does: …{KETTLE[-20:]} Pro"),
    ("The Voltano Glass Kettle 3 l.", "a name goes on as no item's does: …Voltano Glass Kettle 3"),
    (f"The {KETTLE} is from Bed & Garden.", f"{NEITHER}: Bed & Garden"),
    ("The kettle is what you need.", f"it does not name the item {KETTLE}"),
    ("With your Nordlo 7' Camp Table, this is it.", f"it does not name the item {KETTLE}"),
    (f"The {KETTLE}, with an enamel lid.", "it names another item: enamel lid"),
    (f"The {KETTLE} beats the Steelwick Pan, 24 cm.", "it names another item: Steelwick Pan, 24 cm"),
    (ALSO.replace("two", "ten"), f"{NOBODY}: {QUOTE.replace('two', 'ten')}"),
    (ALSO.replace(QUOTE, "oils two litres"), f"{NOBODY}: oils two litres"),
    (ALSO.replace(QUOTE, "Boils two litre"), f"{NOBODY}: Boils two litre"),
    (ALSO.replace(QUOTE, "Never sticks, not even to eggs."), f"{NOBODY}: Never sticks, not even to eggs."),
    (ALSO.replace("”", ""), "a quotation does not close"),
]


def test_every_planted_fault_is_found(tmp_path: Path) -> None:
    """One process for all: every fault must be reported."""
    code, output = check(tmp_path, [kettle(text) for text, _ in SPOILT])
    lines = output.splitlines()
    assert code == 1
    for _, fault in SPOILT:
        assert f"answer 1, K: {fault}" in lines, output
    assert lines[-1] == f"{len(lines) - 2} faults"


@pytest.mark.parametrize(("text", "fault"), [SPOILT[0], SPOILT[6], SPOILT[15], SPOILT[16]])
def test_each_fault_is_found_alone(tmp_path: Path, text: str, fault: str) -> None:
    code, output = check(tmp_path, [kettle(), kettle(text)])
    assert code == 1
    assert fault in output


def test_without_store_files_only_the_evidence_counts(tmp_path: Path) -> None:
    texts = [
        TEXT.replace("25", "35"),
        TEXT.replace("Nordlo", "Nardlo"),
        ALSO.replace("two", "ten"),
        f"The {KETTLE} beats the Steelwick Pan.",
    ]
    code, output = check(tmp_path, [kettle(text) for text in texts], store=False)
    assert code == 1
    assert output.count("answer 1, K: ") == 5  # with "Nardlo" the name has lost its beginning and goes on alone


def test_evidence_and_claims_are_checked(tmp_path: Path) -> None:
    unknown, renamed, unread, unsaid, claims = (copy.deepcopy(kettle()) for _ in range(5))
    unknown["explanation"]["evidence"][0]["item_id"] = "Z"
    renamed["title"] = "Voltano Glass Kettle"
    unread["explanation"]["evidence"][1]["text"] = "Boils ten litres."
    unsaid["explanation"] |= {"text": f"You said “coffee”: the {KETTLE}.", "evidence": spoken("coffee")}
    with_ids(claims)["explanation"]["claims"] = [{"text": "25 of 46", "evidence": "e1"}, {"text": "could be next", "evidence": "e9"}]
    unverified = kettle(verified=False)
    code, output = check(tmp_path, [unknown, renamed, unread, unsaid, claims, unverified], query={"text": "tea"})
    assert code == 1
    for fault in (
        "the catalogue has no item Z",
        f"the catalogue calls the item '{KETTLE}', the answer 'Voltano Glass Kettle'",
        "a review in the evidence that nobody wrote of this item: Boils ten litres.",
        f"{NOBODY}: coffee",
        "a claim that is not in the text: 25 of 46",
        "a claim without its fact e9: could be next",
        "it is shown though not verified",
    ):
        assert fault in output, output
    assert output.splitlines()[-1] == "7 faults"


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"recommendations": 3}', '{"recommendations": [{"explanation": {"text": "a"}}]}'])
def test_an_unrelated_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "answers.jsonl").write_text(content)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), "answers.jsonl"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("cannot be checked: ")
    assert len(done.stderr.splitlines()) == 1


def test_it_imports_the_standard_library_only() -> None:
    tree = ast.parse(SCRIPT.read_text("utf-8"))
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert named <= sys.stdlib_module_names | {"__future__"}
