"""Files of recommendation lists, from `recommend --json` and from other systems; errors name the line."""

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
from crossaisle.eval.judge.question_plan import QuestionPlan
from crossaisle.eval.judge.recommendation_lists import ListEntry, RecommendationList, common_users, read_lists
from crossaisle.recommend.serialization import to_dict


def write_lines(path: Path, *values: Any) -> Path:
    path.write_text("".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values), "utf-8")
    return path


def test_output_of_recommend_is_read(tmp_path: Path, demo_workspace: Workspace, settings: Settings) -> None:
    shop = Recommender.open(demo_workspace, llm="none", settings=settings)
    answer = shop.recommend(user_id="s013", k=3)
    (parsed,) = read_lists(write_lines(tmp_path / "ours.jsonl", to_dict(answer)))
    assert parsed.user == "s013"
    assert [entry.item_id for entry in parsed.entries] == [recommendation.item.item_id for recommendation in answer]
    for entry, recommendation in zip(parsed.entries, answer, strict=True):
        item, explanation = recommendation.item, recommendation.explanation
        assert explanation is not None
        assert (entry.title, entry.category, entry.explanation) == (item.title, item.category, explanation.text)
        assert entry.evidence == tuple(fact.text for fact in explanation.evidence)
        assert entry.source == explanation.source
    (again,) = read_lists(write_lines(tmp_path / "again.jsonl", parsed.to_dict()))
    assert again == parsed


def test_other_files_need_only_a_user_and_titles(tmp_path: Path) -> None:
    first, second, third = read_lists(
        write_lines(
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
    assert first == RecommendationList(
        "u1", (ListEntry("", "A stove"), ListEntry("", "A lamp", explanation="Warm.", evidence=("it is warm", "17 had it")))
    )
    assert second == RecommendationList("7", (), ("tent", "mat (Camping, Mats)"))
    assert third.need == "a trip"
    assert "x1" in third.user


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{not json", "no JSON object"),
        ('["a list"]', "no JSON object"),
        ({"recommendations": []}, "no user_id"),
        ({"user_id": True, "recommendations": []}, "no user_id"),
        ({"user_id": "u"}, "no list of recommendations"),
        ({"user_id": "u", "recommendations": {"a": 1}}, "no list of recommendations"),
        ({"user_id": "u", "recommendations": [4]}, "neither an object nor a title"),
        ({"user_id": "u", "recommendations": [{"price": 4}]}, "neither a title nor an item_id"),
        ({"user_id": "u", "recommendations": [{"title": ["x"]}]}, "title is not a string"),
        ({"user_id": "u", "recommendations": [{"title": "x", "explanation": {"text": {"a": 1}}}]}, "explanation is not a string"),
        ({"user_id": "u", "recommendations": [{"title": "x", "evidence": "all"}]}, "evidence that is not a list"),
        ({"user_id": "u", "history": "tent", "recommendations": []}, "history that is not a list"),
        ({"user_id": "u1", "recommendations": []}, "duplicate user"),
        ("[" * 100_000, "no JSON object"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_format_error_names_the_line(tmp_path: Path, value: Any, words: str) -> None:
    file = write_lines(tmp_path / "bad.jsonl", {"user_id": "u1", "recommendations": ["x"]}, value)
    with pytest.raises(FormatError, match=words) as error:
        read_lists(file)
    assert error.value.line == 2
    assert len(str(error.value)) < 400


def test_multi_line_json_objects_are_read(tmp_path: Path) -> None:
    values = [{"query": {"user_id": user}, "recommendations": [{"title": "A stove"}, {"title": "Ein Öfchen"}]} for user in ("u1", "u2")]
    single, several, listed = (tmp_path / f"{name}.json" for name in ("single", "several", "listed"))
    single.write_text(json.dumps(values[0], indent=1, ensure_ascii=False), "utf-8")
    several.write_text("\n".join(json.dumps(each, indent=1) for each in values) + "\n", "utf-8")
    listed.write_text(json.dumps(values), "utf-8")
    assert [answer.user for answer in read_lists(single)] == ["u1"]
    assert read_lists(several) == read_lists(listed) == read_lists(write_lines(tmp_path / "lines.jsonl", *values))
    with pytest.raises(FormatError, match="no JSON object") as error:
        read_lists(write_lines(tmp_path / "cut.json", json.dumps(values[0], indent=1), '{"query": {"user_id"'))
    assert error.value.line
    assert error.value.line > 5


def test_tables_by_list_and_by_recommendation(tmp_path: Path) -> None:
    expected = [
        RecommendationList(
            "007", (ListEntry("s", "Stove", ("Camping", "Stoves"), 29.5, "It boils.", ("17 had it",)), ListEntry("l", "Lamp"))
        ),
        RecommendationList("u2", (ListEntry("l", "Lamp"),), ("tent", "mat"), "a trip"),
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
    assert read_lists(tmp_path / "flat.parquet") == expected
    nested = [
        {"user_id": a.user, "history": list(a.history), "text": a.need, "recommendations": [asdict(e) for e in a.entries]} for a in expected
    ]
    pl.DataFrame(nested, infer_schema_length=None).write_parquet(tmp_path / "nested.parquet")
    assert read_lists(tmp_path / "nested.parquet") == expected
    as_text = [{**row, "category": " > ".join(row.get("category", ())), "history": json.dumps(row.get("history", [])),
                "evidence": "".join(row.get("evidence", ()))} for row in rows]  # fmt: skip
    pl.DataFrame([{name: row.get(name) for name in names} for row in as_text], infer_schema_length=None).write_csv(tmp_path / "flat.csv")
    assert read_lists(tmp_path / "flat.csv") == expected


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"who,what\nann,stove\n", "columns are who, what; expected user_id and title or item_id"),
        ("a.csv", b"", "a.csv"),
        ("a.csv", b"user_id,title,rank\nu1,Stove,first\n", "line 1: rank is not a number: 'first'"),
        ("a.csv", b"user_id,title\n,Stove\n", "no user_id"),
        ("a.parquet", b"user_id,title\nu1,Stove\n", "cannot read a table of recommendations"),
        ("a.jsonl", b"PAR1\xff\xfe", "a parquet file needs the suffix .parquet"),
        ("a.txt", b"user_id,title\nu1,Stove\n", "expected output of `crossaisle recommend --json`"),
    ],
)
def test_unknown_format_is_a_one_line_error(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=re.escape(words)) as error:
        read_lists(tmp_path / name)
    assert "\n" not in str(error.value)


def test_unreadable_empty_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    for name in ("binary.jsonl", "empty.jsonl", "missing.jsonl"):
        with pytest.raises(FormatError, match=name):
            read_lists(tmp_path / name)


def test_common_users_of_files() -> None:
    files = {
        "a.jsonl": [RecommendationList("u1", ()), RecommendationList("u2", ())],
        "b.jsonl": [RecommendationList("u3", ())],
        "c.jsonl": [RecommendationList("u2", ()), RecommendationList("u1", ())],
    }
    with pytest.raises(QueryError, match=r"a\.jsonl and b\.jsonl have no user in common"):
        common_users({name: files[name] for name in ("a.jsonl", "b.jsonl")})
    assert common_users({name: files[name] for name in ("a.jsonl", "c.jsonl")}) == ["u1", "u2"]


def test_pairs_in_both_orders_with_one_history() -> None:
    tent = ListEntry("s", "Stove", explanation="For your tent.")
    files = {
        "old": [RecommendationList("u1", (tent, ListEntry("l", "Lamp"))), RecommendationList("u2", (tent,)), RecommendationList("u3", ())],
        "new": [
            RecommendationList("u1", (ListEntry("s", "Stove", explanation="It goes with the tent."),), ("tent",)),
            RecommendationList("u2", (tent,)),
            RecommendationList("u3", (tent,)),
        ],
    }
    plan = QuestionPlan()
    question_plan.add_pairwise_questions(plan, sample_lists.align_histories(files), ["u1", "u2", "u3"])
    assert [(question.criterion, question.user, question.item, question.swapped) for question in plan.questions] == [
        ("lists", "u1", "", False),
        ("lists", "u1", "", True),
        ("explanations", "u1", "s", False),
        ("explanations", "u1", "s", True),
    ]
    assert all("- tent\n" in question.request.user for question in plan.questions), "the history of either file is shown in both orders"
    # Identical texts need no judge; an empty list cannot be compared.
    assert plan.missing == {("lists", "a difference"): 1, ("explanations", "a difference"): 1, ("lists", "recommendations from both"): 1}


def test_larger_sample_contains_the_smaller_one() -> None:
    users = [f"u{i}" for i in range(200)]
    small, large = (sample_lists.sample_users(users, size, 3) for size in (20, 60))
    assert len(small) == 20
    assert small < large
    assert sample_lists.sample_users(users[::-1], 20, 3) == small
    assert sample_lists.sample_users(users, 20, 4) != small
    assert sample_lists.sample_users(users, None, 0) == set(users)


def test_interrupted_recommendations_resume(tmp_path: Path, demo_workspace: Workspace, settings: Settings) -> None:
    settings = settings.with_(llm="none")
    first = sample_lists.recommend_for_sample(demo_workspace.path, settings, tmp_path, users=4, k=2, seed=0)
    (file,) = tmp_path.glob("recommendations-*.jsonl")
    content = file.read_bytes()
    assert read_lists(file) == first
    assert all(answer.history and len(answer.entries) == 2 for answer in first)
    lines = content.splitlines(keepends=True)
    marked = lines[0].replace(b'"title": "', b'"title": "stored ', 1)
    file.write_bytes(marked + lines[1][:50])
    again = sample_lists.recommend_for_sample(demo_workspace.path, settings, tmp_path, users=4, k=2, seed=0)
    assert again[1:] == first[1:]
    assert again[0] != first[0], "a complete line is reused"
    assert {answer.user for answer in read_lists(file)} == {answer.user for answer in first}
    more = sample_lists.recommend_for_sample(demo_workspace.path, settings.with_(quantization="fp32"), tmp_path, users=4, k=2, seed=0)
    assert more == first, "other settings have another file"
