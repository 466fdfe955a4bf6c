"""Files of recommendations, ours and other people's: what is read, and what is refused with its line."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crossaisle import Recommender, Settings, Workspace
from crossaisle.data.errors import FormatError, QueryError
from crossaisle.eval.judge import question_plan, sample_lists
from crossaisle.eval.judge.question_plan import Plan
from crossaisle.eval.judge.recommendation_lists import Answer, Entry, common, read
from crossaisle.recommend.serialization import to_dict


def lines(path: Path, *told: Any) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in told), "utf-8")
    return path


def test_ours_as_recommend_prints_them(tmp_path: Path, demo_workspace: Workspace, settings: Settings) -> None:
    shop = Recommender.open(demo_workspace, llm="none", settings=settings)
    answer = shop.recommend(user_id="s013", k=3)
    (found,) = read(lines(tmp_path / "ours.jsonl", to_dict(answer)))
    assert found.user == "s013"
    assert [entry.item_id for entry in found.entries] == [one.item.item_id for one in answer]
    for entry, one in zip(found.entries, answer, strict=True):
        assert one.explanation is not None
        assert (entry.title, entry.category, entry.explanation) == (one.item.title, one.item.category, one.explanation.text)
        assert entry.evidence == tuple(fact.text for fact in one.explanation.evidence)
        assert entry.source == one.explanation.source
    (again,) = read(lines(tmp_path / "again.jsonl", found.to_dict()))
    assert again == found


def test_others_need_no_more_than_a_user_and_titles(tmp_path: Path) -> None:
    (one, two, three) = read(
        lines(
            tmp_path / "theirs.jsonl",
            {
                "user_id": "u1",
                "recommendations": [
                    "A stove",
                    {"title": "A lamp", "explanation": "Warm.", "evidence": ["it is warm", {"text": "17 had it"}]},
                ],
            },
            {"user_id": 7, "history": ["tent", {"title": "mat", "category": "Camping > Mats"}], "recommendations": []},
            {"query": {"user_id": None, "items": ["x1"], "text": "a trip"}, "recommendations": [{"item_id": "i"}]},
            "",
        )
    )
    assert one == Answer("u1", (Entry("", "A stove"), Entry("", "A lamp", explanation="Warm.", evidence=("it is warm", "17 had it"))))
    assert two == Answer("7", (), ("tent", "mat (Camping, Mats)"))
    assert three.need == "a trip"
    assert "x1" in three.user


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("{not json", "no JSON object"),
        ('["a list"]', "no JSON object"),
        ({"recommendations": []}, "no user_id"),
        ({"user_id": True, "recommendations": []}, "no user_id"),
        ({"user_id": "u"}, "no list of recommendations"),
        ({"user_id": "u", "recommendations": {"a": 1}}, "no list of recommendations"),
        ({"user_id": "u", "recommendations": [4]}, "neither an object nor a title"),
        ({"user_id": "u", "recommendations": [{"price": 4}]}, "neither a title nor an item_id"),
        ({"user_id": "u", "recommendations": [{"title": ["x"]}]}, "title that is no text"),
        ({"user_id": "u", "recommendations": [{"title": "x", "explanation": {"text": {"a": 1}}}]}, "explanation that is no text"),
        ({"user_id": "u", "recommendations": [{"title": "x", "evidence": "all"}]}, "evidence that is no list"),
        ({"user_id": "u", "history": "tent", "recommendations": []}, "history that is no list"),
        ({"user_id": "u1", "recommendations": []}, "twice"),
        ("[" * 100_000, "no JSON object"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_line_that_is_no_answer_is_named(tmp_path: Path, told: Any, words: str) -> None:
    file = lines(tmp_path / "bad.jsonl", {"user_id": "u1", "recommendations": ["x"]}, told)
    with pytest.raises(FormatError, match=words) as error:
        read(file)
    assert error.value.line == 2
    assert len(str(error.value)) < 400


def test_as_recommend_prints_them_over_many_lines_one_behind_the_other(tmp_path: Path) -> None:
    told = [{"query": {"user_id": user}, "recommendations": [{"title": "A stove"}, {"title": "Ein Öfchen"}]} for user in ("u1", "u2")]
    one, several, listed = (tmp_path / f"{name}.json" for name in ("one", "several", "listed"))
    one.write_text(json.dumps(told[0], indent=1, ensure_ascii=False), "utf-8")
    several.write_text("\n".join(json.dumps(each, indent=1) for each in told) + "\n", "utf-8")
    listed.write_text(json.dumps(told), "utf-8")
    assert [answer.user for answer in read(one)] == ["u1"]
    assert read(several) == read(listed) == read(lines(tmp_path / "lines.jsonl", *told))
    with pytest.raises(FormatError, match="no JSON object") as error:
        read(lines(tmp_path / "cut.json", json.dumps(told[0], indent=1), '{"query": {"user_id"'))
    assert error.value.line
    assert error.value.line > 5


def test_tables_of_answers_and_of_recommendations(tmp_path: Path) -> None:
    wanted = [
        Answer("007", (Entry("s", "Stove", ("Camping", "Stoves"), 29.5, "It boils.", ("17 had it",)), Entry("l", "Lamp"))),
        Answer("u2", (Entry("l", "Lamp"),), ("tent", "mat"), "a trip"),
    ]
    rows = [
        {"user_id": "007", "rank": 2, "item_id": "l", "title": "Lamp"},
        {"user_id": "u2", "rank": 1, "item_id": "l", "title": "Lamp", "history": ["tent", "mat"], "text": "a trip"},
        {"user_id": "007", "rank": 1, "item_id": "s", "title": "Stove", "category": ["Camping", "Stoves"], "price": 29.5,
         "explanation": "It boils.", "evidence": ["17 had it"]},
    ]  # fmt: skip
    names = ("user_id", "rank", "item_id", "title", "category", "price", "explanation", "evidence", "history", "text")
    table = pl.DataFrame([{name: row.get(name) for name in names} for row in rows], infer_schema_length=None)
    table.write_parquet(tmp_path / "flat.parquet")
    assert read(tmp_path / "flat.parquet") == wanted
    nested = [
        {"user_id": a.user, "history": list(a.history), "text": a.need, "recommendations": [asdict(e) for e in a.entries]} for a in wanted
    ]
    pl.DataFrame(nested, infer_schema_length=None).write_parquet(tmp_path / "nested.parquet")
    assert read(tmp_path / "nested.parquet") == wanted
    as_text = [{**row, "category": " > ".join(row.get("category", ())), "history": json.dumps(row.get("history", [])),
                "evidence": "".join(row.get("evidence", ()))} for row in rows]  # fmt: skip
    pl.DataFrame([{name: row.get(name) for name in names} for row in as_text], infer_schema_length=None).write_csv(tmp_path / "flat.csv")
    assert read(tmp_path / "flat.csv") == wanted


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"who,what\nann,stove\n", "columns are who, what; wanted are user_id and title or item_id"),
        ("a.csv", b"", "a.csv"),
        ("a.csv", b"user_id,title,rank\nu1,Stove,first\n", "line 1: a rank that is no number: 'first'"),
        ("a.csv", b"user_id,title\n,Stove\n", "no user_id"),
        ("a.parquet", b"user_id,title\nu1,Stove\n", "cannot be read as a table"),
        ("a.jsonl", b"PAR1\xff\xfe", "a parquet file is named .parquet"),
        ("a.txt", b"user_id,title\nu1,Stove\n", "wanted is an answer of `crossaisle recommend --json`"),
    ],
)
def test_another_shape_is_told_in_a_sentence(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=re.escape(words)) as error:
        read(tmp_path / name)
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    for name in ("binary.jsonl", "empty.jsonl", "missing.jsonl"):
        with pytest.raises(FormatError, match=name):
            read(tmp_path / name)


def test_files_about_different_users() -> None:
    files = {
        "a.jsonl": [Answer("u1", ()), Answer("u2", ())],
        "b.jsonl": [Answer("u3", ())],
        "c.jsonl": [Answer("u2", ()), Answer("u1", ())],
    }
    with pytest.raises(QueryError, match=r"a\.jsonl and b\.jsonl are about different users"):
        common({name: files[name] for name in ("a.jsonl", "b.jsonl")})
    assert common({name: files[name] for name in ("a.jsonl", "c.jsonl")}) == ["u1", "u2"]


def test_pairs_are_asked_in_both_orders_with_one_history() -> None:
    tent = Entry("s", "Stove", explanation="For your tent.")
    files = {
        "old": [Answer("u1", (tent, Entry("l", "Lamp"))), Answer("u2", (tent,)), Answer("u3", ())],
        "new": [
            Answer("u1", (Entry("s", "Stove", explanation="It goes with the tent."),), ("tent",)),
            Answer("u2", (tent,)),
            Answer("u3", (tent,)),
        ],
    }
    plan = Plan()
    question_plan.pairs(plan, sample_lists.same_histories(files), ["u1", "u2", "u3"])
    assert [(one.criterion, one.user, one.item, one.swapped) for one in plan.questions] == [
        ("lists", "u1", "", False),
        ("lists", "u1", "", True),
        ("explanations", "u1", "s", False),
        ("explanations", "u1", "s", True),
    ]
    assert all("- tent\n" in one.asked.user for one in plan.questions), "the history of either file is shown in both orders"
    # Two equal answers need no judge; an empty one has nothing to be compared.
    assert plan.missing == {("lists", "a difference"): 1, ("explanations", "a difference"): 1, ("lists", "recommendations from both"): 1}


def test_a_sample_of_more_users_keeps_those_that_were_drawn() -> None:
    users = [f"u{i}" for i in range(200)]
    small, large = (sample_lists.sample(users, most, 3) for most in (20, 60))
    assert len(small) == 20
    assert small < large
    assert sample_lists.sample(users[::-1], 20, 3) == small
    assert sample_lists.sample(users, 20, 4) != small
    assert sample_lists.sample(users, None, 0) == set(users)


def test_recommendations_go_on_where_a_kill_cut_them(tmp_path: Path, demo_workspace: Workspace, settings: Settings) -> None:
    settings = settings.with_(llm="none")
    first = sample_lists.recommended(demo_workspace.path, settings, tmp_path, users=4, k=2, seed=0)
    (file,) = tmp_path.glob("recommendations-*.jsonl")
    whole = file.read_bytes()
    assert read(file) == first
    assert all(answer.history and len(answer.entries) == 2 for answer in first)
    kept = whole.splitlines(keepends=True)
    marked = kept[0].replace(b'"title": "', b'"title": "kept ', 1)
    file.write_bytes(marked + kept[1][:50])
    again = sample_lists.recommended(demo_workspace.path, settings, tmp_path, users=4, k=2, seed=0)
    assert again[1:] == first[1:]
    assert again[0] != first[0], "a whole line is taken as it is"
    assert {answer.user for answer in read(file)} == {answer.user for answer in first}
    more = sample_lists.recommended(demo_workspace.path, settings.with_(quantization="fp32"), tmp_path, users=4, k=2, seed=0)
    assert more == first, "other settings have a file of their own"
