"""The grammar of segment questions: tables of questions with their trees, and properties of any text."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossaisle.data.errors import QueryError
from crossaisle.recommend.segments.query.grammar import MAX_CHARACTERS, ParsedQuestion, parse
from crossaisle.recommend.segments.query.query_tree import (
    And,
    Not,
    Or,
    QueryNode,
    Term,
    conjunction,
    disjunction,
    negation,
    satisfiable,
    terms,
    to_text,
)

NAMES = {
    "arts, crafts & sewing",
    "pots and pans",
    "not your mother's",
    "the north face",
    "best buy",
    "tent (2 person)",
    "user stories",
    "black or white",
}


def is_name(text: str) -> bool:
    return text.lower() in NAMES


def t(text: str) -> Term:
    return Term(text)


PHONES, TENTS, BIKES, CASES = t("phones"), t("tents"), t("bikes"), t("cases")

NEXT: list[tuple[str, QueryNode]] = [
    ("phones", PHONES),
    ("  phones \n", PHONES),
    ("phones?", PHONES),
    ("users who bought phones also need …", PHONES),
    ("users who bought phones also need ...", PHONES),
    ("Users Who Bought phones Also Need", PHONES),
    ("people who bought phones", PHONES),
    ("customers that own phones need ...", PHONES),
    ("customers who purchased phones need next", PHONES),
    ("shoppers with phones", PHONES),
    ("all our customers who have already bought phones", PHONES),
    ("who bought phones", PHONES),
    ("bought phones", PHONES),
    ("buyers of phones", PHONES),
    ("phones buyers", PHONES),
    ("phones need …", PHONES),
    ("what do phones buyers need next", PHONES),
    ("what do people who bought phones need?", PHONES),
    ("what goes with phones?", PHONES),
    ("what to sell to phones owners", PHONES),
    ("viewers who watched Alien", t("Alien")),
    ("learners who took Statistics", t("Statistics")),
    ("learners enrolled in Statistics", t("learners enrolled in Statistics")),
    ("learners who enrolled in Statistics", t("Statistics")),
    ("people who rated Alien", t("Alien")),
    ("people who got a puppy", t("puppy")),
    ("people who started running", t("people who started running")),
    ("people who have started running", t("people who have started running")),
    ("people who took up knitting", t("people who took up knitting")),
    ("people who want to run", t("people who want to run")),
    ("what dogs need", t("what dogs need")),
    ("phones and tents", And((PHONES, TENTS))),
    ("phones AND tents AND bikes", And((PHONES, TENTS, BIKES))),
    ("phones, tents", And((PHONES, TENTS))),
    ("phones & tents", And((PHONES, TENTS))),
    ("phones or tents", Or((PHONES, TENTS))),
    ("phones and/or tents", Or((PHONES, TENTS))),
    ("phones, tents or bikes", Or((PHONES, TENTS, BIKES))),
    ("phones, tents, and bikes", And((PHONES, TENTS, BIKES))),
    ("phones and not cases", And((PHONES, Not(CASES)))),
    ("phones but not cases", And((PHONES, Not(CASES)))),
    ("phones without cases", And((PHONES, Not(CASES)))),
    ("phones, not cases", And((PHONES, Not(CASES)))),
    ("phones not cases", And((PHONES, Not(CASES)))),
    ("not cases but phones", And((Not(CASES), PHONES))),
    ("phones and not not tents", And((PHONES, TENTS))),
    ("phones or tents and not bikes", Or((PHONES, And((TENTS, Not(BIKES)))))),
    ("phones and tents or bikes", Or((And((PHONES, TENTS)), BIKES))),
    ("phones, tents and bikes or cases", Or((And((PHONES, TENTS, BIKES)), CASES))),
    ("(phones or tents) and not bikes", And((Or((PHONES, TENTS)), Not(BIKES)))),
    ("phones and not (tents or bikes)", And((PHONES, Not(Or((TENTS, BIKES)))))),
    ("((phones))", PHONES),
    ("phones and phones", PHONES),
    ("phones and (tents and bikes)", And((PHONES, TENTS, BIKES))),
    ("users who bought phones but never bought cases", And((PHONES, Not(CASES)))),
    ("users who bought phones and did not buy cases", And((PHONES, Not(CASES)))),
    ("users who haven't bought cases but have phones", And((Not(CASES), PHONES))),
    ("users with phones without cases", And((PHONES, Not(CASES)))),
    ("users who bought (phones or tents) but not bikes also need", And((Or((PHONES, TENTS)), Not(BIKES)))),
    ('"phones"', PHONES),
    ("“phones”", PHONES),
    ('"phones and tents"', t("phones and tents")),
    ('"the ""big"" tent"', t('the "big" tent')),
    ('27" monitor and phones', And((t('27" monitor'), PHONES))),
    ("1,000 piece puzzle", t("1,000 piece puzzle")),
    ("category:phones", Term("phones", "category")),
    ("Category: phones", Term("phones", "category")),
    ('category:"Electronics > Phones"', Term("Electronics > Phones", "category")),
    ("brand:Apple and item:B01", And((Term("Apple", "brand"), Term("B01", "item")))),
    ('text:"people who run and swim"', Term("people who run and swim", "text")),
    ("Arts, Crafts & Sewing", t("Arts, Crafts & Sewing")),
    ("users who bought Arts, Crafts & Sewing also need", t("Arts, Crafts & Sewing")),
    ("Pots and Pans and phones", And((t("Pots and Pans"), PHONES))),
    ("phones, Pots and Pans or tents", Or((PHONES, t("Pots and Pans"), TENTS))),
    ("category:Pots and Pans", Term("Pots and Pans", "category")),
    ("black or white or phones", Or((t("black or white"), PHONES))),
    ("Not Your Mother's", t("Not Your Mother's")),
    ("phones and not Not Your Mother's", And((PHONES, Not(t("Not Your Mother's"))))),
    ("users who bought the north face", t("the north face")),
    ("users who bought the tents", TENTS),
    ("best buy", t("best buy")),
    ("tent (2 person)", t("tent (2 person)")),
    ("user stories", t("user stories")),
    ("телефоны and 電話", And((t("телефоны"), t("電話")))),
    ("pho\u200bnes", PHONES),
]

REVERSE: list[tuple[str, QueryNode]] = [
    ("who would need a tripod?", t("tripod")),
    ("Who needs a tripod", t("tripod")),
    ("who buys tripods next", t("tripods")),
    ("who is most likely to buy a tripod?", t("tripod")),
    ("which users would want tripods", t("tripods")),
    ("people who need a tripod", t("tripod")),
    ("who else might buy Pots and Pans soon?", t("Pots and Pans")),
    ("who should we offer a tripod to?", t("tripod")),
    ("who would need phones or tents but not bikes?", Or((PHONES, And((TENTS, Not(BIKES)))))),
]

REFUSED = [
    ("", "is empty"),
    (" \t\n", "is empty"),
    ("!!!", "holds no word"),
    ('""', "holds no word"),
    ('phones and ""', "there is no name in"),
    ("'; DROP TABLE users; --", "there is no name in"),
    ("<script>alert(1)</script>", "nothing joins"),
    ("phones\x07", "control character (U+0007)"),
    ("phones \x1b[31m", "control character (U+001B)"),
    ("a" * (MAX_CHARACTERS + 1), "501 characters"),
    ("not phones", "only says what users do not have"),
    ("users who did not buy phones", "only says what users do not have"),
    ("phones or not tents", "only says what users do not have"),
    ("phones or not phones", "only says what users do not have"),
    ("phones and not phones", "contradicts itself"),
    ("phones and not Phones", "contradicts itself"),
    ("phones and not (tents or phones)", "contradicts itself"),
    ("(phones and not tents) and (tents and not phones)", "contradicts itself"),
    ("(phones", "is opened and not closed"),
    ("phones)", "never opened"),
    ("phones or (tents", "is opened and not closed"),
    ("phones and ()", "a name is missing"),
    ('"phones', "no other half"),
    ('phones"', "no other half"),
    ('tents and "phones', "no other half"),
    ("phones and", "a name is missing after"),
    ("and phones", "a name is missing before"),
    ("phones and or tents", "a name is missing after"),
    ("phones or not", "a name is missing after"),
    ("users who bought", "a name is missing after"),
    ("phones (tents)", "nothing joins"),
    ("category:", "has no name after it"),
    ("brand:(Apple)", "has no name after it"),
    ("(" * 40 + "phones" + ")" * 40, "nested more than"),
    (" or ".join(f"n{i}" for i in range(13)), "names 13 things"),
]


@pytest.mark.parametrize(("text", "tree"), NEXT, ids=[text for text, _ in NEXT])
def test_questions_about_what_users_need_next(text: str, tree: QueryNode) -> None:
    assert parse(text, is_name) == ParsedQuestion("next", tree)


@pytest.mark.parametrize(("text", "tree"), REVERSE, ids=[text for text, _ in REVERSE])
def test_questions_about_who_would_need_something(text: str, tree: QueryNode) -> None:
    assert parse(text, is_name) == ParsedQuestion("reverse", tree)


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=[repr(text)[:40] for text, _ in REFUSED])
def test_refused_questions_have_one_sentence_with_the_reason_and_a_remedy(text: str, why: str) -> None:
    with pytest.raises(QueryError) as refused:
        parse(text, is_name)
    message = str(refused.value)
    assert why in message
    assert message.isprintable()
    assert len(message) < 300
    assert "; " in message  # the remedy


def test_a_name_with_and_is_split_unless_it_is_a_name_of_the_store() -> None:
    assert parse("pots and pans").tree == And((t("pots"), t("pans")))
    assert parse("pots and pans", is_name).tree == t("pots and pans")


def test_the_longest_name_wins() -> None:
    names = {"pots and pans", "pots and pans and lids", "pots"}
    assert parse("pots and pans and lids or tents", names.__contains__).tree == Or((t("pots and pans and lids"), TENTS))


def test_implications_from_a_narrow_to_a_broad_name() -> None:
    tree = parse("iphones and not phones").tree
    assert satisfiable(tree)
    assert not satisfiable(tree, [(t("iphones"), PHONES)])
    assert satisfiable(parse("phones and not iphones").tree, [(t("iphones"), PHONES)])


def parse_or_refuse(text: str, names: Callable[[str], bool] = is_name) -> tuple[ParsedQuestion | None, str]:
    """The question, or None and the reason of the refusal; any other error is raised."""
    try:
        return parse(text, names), ""
    except QueryError as refused:
        return None, str(refused)


PIECES = st.sampled_from(
    [
        *"()\",;:&<>'?.!…“”«»",
        " ",
        "\n",
        "and",
        "or",
        "not",
        "but",
        "without",
        "phones",
        "tents",
        "a",
        "who bought",
        "users",
        "need",
        "also need",
        "category:",
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join), st.lists(PIECES, max_size=40).map(" ".join)))
@settings(max_examples=600, deadline=None)
def test_any_text_is_parsed_or_refused_with_a_sentence(text: str) -> None:
    question, refusal = parse_or_refuse(text)
    if question is None:
        assert refusal
        assert refusal.isprintable()
        return
    assert any(character.isalnum() for term in terms(question.tree) for character in term.text)
    assert satisfiable(question.tree)


@given(st.lists(PIECES, max_size=400).map(" ".join).map(lambda text: text[:MAX_CHARACTERS]))
@settings(max_examples=100, deadline=None)
def test_calls_of_is_name_are_linear_in_the_length(text: str) -> None:
    calls = 0

    def counting(_: str) -> bool:
        nonlocal calls
        calls += 1
        return False

    parse_or_refuse(text, counting)
    assert calls <= 1 + 16 * (len(text.split()) + 1)


TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=12).map(lambda s: " ".join(s.split()))
NAMED = st.builds(Term, TEXTS.filter(lambda s: any(c.isalnum() for c in s)), st.sampled_from([None, "category", "brand", "item", "text"]))
TREES = st.recursive(
    NAMED,
    lambda inner: st.one_of(
        inner.map(negation),
        st.lists(inner, min_size=2, max_size=3).map(conjunction),
        st.lists(inner, min_size=2, max_size=3).map(disjunction),
    ),
    max_leaves=6,
)


@given(TREES)
@settings(max_examples=300, deadline=None)
def test_to_text_and_parse_are_inverse(tree: QueryNode) -> None:
    text = to_text(tree)
    assume(len(text) <= MAX_CHARACTERS)
    question, refusal = parse_or_refuse(text)
    if question is None:
        assert "only says what users do not have" in refusal or "contradicts itself" in refusal
        return
    assert question == ParsedQuestion("next", tree)


def matches(node: QueryNode, names: frozenset[tuple[str, str | None]]) -> bool:
    """Whether a user with some names matches a tree."""
    match node:
        case Term(text, kind):
            return (text.casefold(), kind) in names
        case Not(operand):
            return not matches(operand, names)
        case And(operands):
            return all(matches(operand, names) for operand in operands)
        case Or(operands):
            return any(matches(operand, names) for operand in operands)


@given(
    st.recursive(
        st.sampled_from("abcd").map(Term),
        lambda inner: (
            inner.map(negation)
            | st.lists(inner, min_size=2, max_size=3).map(conjunction)
            | st.lists(inner, min_size=2, max_size=3).map(disjunction)
        ),
        max_leaves=10,
    )
)
@settings(max_examples=300, deadline=None)
def test_a_question_is_refused_exactly_if_no_user_matches_or_a_user_without_names_does(tree: QueryNode) -> None:
    users = [frozenset((name, None) for i, name in enumerate("abcd") if number >> i & 1) for number in range(16)]
    matched = [matches(tree, user) for user in users]
    assert satisfiable(tree) == any(matched)
    if matches(tree, frozenset()) or not any(matched):
        with pytest.raises(QueryError):
            parse(to_text(tree))
    else:
        assert parse(to_text(tree)).tree == tree
