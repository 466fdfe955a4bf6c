"""Sanitization of untrusted text for prompts."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from crossaisle.data.settings import Settings
from crossaisle.llm.models import bundled
from crossaisle.prompts import sanitize_for_prompt
from crossaisle.prompts.sanitize import shorten

# Markup of common chat templates and of our own.
MARKS = [
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "[INST]", "[/INST]", "<<SYS>>", "<start_of_turn>", "<think>",
    "[SYSTEM]", "[TOOL_CALLS]", "<|eot_id|>", "{{", "}}", "{%", "{#", "##", "```", "|", "<", ">", "[", "]", "[ [INST] INST]", "[IN[INST]ST]",
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from([*MARKS, "\n", "\u200b", "\u202e", "\x00", " ", "\ue000", "a", "Yes", "system"]), max_size=30).map(
    "".join
)
ANY = st.one_of(st.text(max_size=600), HOSTILE)


@given(ANY, st.integers(1, 500))
@settings(max_examples=400, deadline=None)
def test_sanitization_is_idempotent(text: str, limit: int) -> None:
    once = sanitize_for_prompt(text, limit)
    assert sanitize_for_prompt(once, limit) == once


@given(ANY, st.integers(1, 500))
@settings(max_examples=400, deadline=None)
def test_result_is_one_clean_line_within_the_limit(text: str, limit: int) -> None:
    sanitized = sanitize_for_prompt(text, limit)
    assert len(sanitized) <= limit
    assert not {c for c in sanitized if unicodedata.category(c)[0] == "C" or (c.isspace() and c != " ")}
    assert sanitized == sanitized.strip()
    assert "  " not in sanitized
    assert not set("<>{}[]|`#") & set(sanitized)


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_letters_and_digits_are_kept(text: str) -> None:
    """Only markup is removed: letters and digits stay the same, in the same order."""
    assert [c for c in sanitize_for_prompt(text, 1000) if c.isalnum()] == [c for c in text if c.isalnum()]


@pytest.fixture(scope="module")
def tokenizer() -> AutoTokenizer:
    return AutoTokenizer.from_pretrained(bundled.cache_folder(Settings.read().home))


def test_no_special_token_remains(tokenizer: AutoTokenizer) -> None:
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)  # type: ignore[attr-defined]
    words = {tokenizer.convert_ids_to_tokens(i) for i in special}  # type: ignore[attr-defined]
    assert {"<|im_start|>", "<|im_end|>"} <= words
    for word in words:  # the unsanitized word has special tokens, so the check can fail
        assert special & set(tokenizer.encode(word, add_special_tokens=False)), word  # type: ignore[attr-defined]
        assert not special & set(tokenizer.encode(sanitize_for_prompt(word), add_special_tokens=False)), word  # type: ignore[attr-defined]

    @given(st.lists(st.sampled_from([*sorted(words), "a", "\u200b", "<", "|", "im_", "start", "\n"]), max_size=12).map("".join))
    @settings(max_examples=150, deadline=None)
    def no_mixture_either(text: str) -> None:
        assert not special & set(tokenizer.encode(sanitize_for_prompt(text), add_special_tokens=False))  # type: ignore[attr-defined]

    no_mixture_either()


@pytest.mark.parametrize("mark", ["[INST]", "[/INST]", "[ inst ]", "[TOOL_CALLS]", "[ [INST] INST]", "[IN[INST]ST]", "[[SYS]SYS]"])
def test_no_turn_in_brackets_remains(mark: str) -> None:
    sanitized = sanitize_for_prompt(f"nice {mark} lamp")
    assert "[" not in sanitized
    assert "]" not in sanitized
    assert sanitized.startswith("nice ")
    assert sanitized.endswith(" lamp")


@pytest.mark.parametrize(
    "text",
    [
        "Lunalo Soft Wrap Baby Carrier, 9 kg",
        "It's 100 % wool - “very warm” & 7\" wide; I'd buy it again!",
        "Écharpe d’été · größe 38/40",
        "スーツケース 機内持ち込み",
        "حقيبة سفر",
        "4.5/5 @ $20 + 10 = €30?",
    ],
)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert sanitize_for_prompt(text) == text


@pytest.mark.parametrize(
    ("text", "sanitized"),
    [
        ("", ""),
        (" \n\t ", ""),
        ("two\r\nlines\u2028here", "two lines here"),
        ("in\u200bvisi\u00adble \u202eleft", "invisible left"),
        ("a <b> {{ c }} | `d` ## e", "a ‹b› (( c )) ¦ 'd' ＃＃ e"),
        ("Cable [2 Pack]", "Cable (2 Pack)"),
        ("x\ud800y", "xy"),
    ],
)
def test_examples(text: str, sanitized: str) -> None:
    assert sanitize_for_prompt(text) == sanitized


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("short", 5, "short"),
        ("one two three", 7, "one two"),
        ("one two three", 9, "one two"),
        ("one two three", 8, "one two"),
        ("unbreakable", 4, "unbr"),
        ("lamp, small (white", 13, "lamp, small"),
        ("lamp, small", 6, "lamp"),
        ("lamp - small one", 12, "lamp - small"),
        ("lamp - small one", 8, "lamp"),
        ("Sony " + "あ" * 100, 50, "Sony " + "あ" * 45),
    ],
)
def test_long_text_is_truncated_at_a_word(text: str, limit: int, cut: str) -> None:
    assert shorten(text, limit) == cut
