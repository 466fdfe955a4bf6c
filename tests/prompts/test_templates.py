"""Prompt templates: every version loads, renders and rejects missing variables."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest
from jinja2 import Environment, meta

from crossaisle import prompts

FOLDER = Path(prompts.__file__).parent / "templates"
VERSIONS = sorted((match[1], int(match[2])) for file in FOLDER.glob("*.md") if (match := re.fullmatch(r"([a-z_]+)\.v(\d+)\.md", file.name)))


def test_prompt_file_names_have_a_name_and_a_version() -> None:
    assert len(VERSIONS) == len(list(FOLDER.glob("*.md")))
    assert {("rank", 1), ("explain", 1)} <= set(VERSIONS)


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_every_section_renders_and_rejects_missing_variables(name: str, version: int) -> None:
    prompt = prompts.load(name, version)
    assert prompt.id == f"{name}.v{version}"
    assert prompt.sections
    for section, source in prompt.sections.items():
        required = meta.find_undeclared_variables(Environment().parse(source))
        values = {variable: ["x-value"] if re.search(rf"\bin {variable}\b", source) else "x-value" for variable in required}
        text = prompt.render(section, **values)
        assert text.strip()
        assert "{{" not in text
        assert "{%" not in text
        assert not text.startswith("\n")
        assert not text.endswith("\n")
        if required:
            assert "x-value" in text
            with pytest.raises(jinja2.UndefinedError):
                prompt.render(section)


def test_unknown_version_section_or_name() -> None:
    with pytest.raises(FileNotFoundError):
        prompts.load("rank", 99)
    with pytest.raises(FileNotFoundError):
        prompts.load("no_such_prompt")
    with pytest.raises(KeyError):
        prompts.load("rank").render("no such section")


def test_values_are_inserted_verbatim_and_not_rendered() -> None:
    assert prompts.fill("Has: {{ owned }}.", owned="{{ 7 * 7 }} & <b>'x'</b>") == "Has: {{ 7 * 7 }} & <b>'x'</b>."


def test_ranking_prompt_contains_history_and_need_only_if_present() -> None:
    prompt = prompts.load("rank")
    assert prompt.render("user", history=["tent (Outdoors)", "lamp"], need=None, candidate="C?") == (
        "A shopper has bought, oldest first:\n- tent (Outdoors)\n- lamp\nC?"
    )
    assert prompt.render("user", history=[], need="a dry tent", candidate="C?") == 'A shopper says: "a dry tent"\nC?'
    assert prompt.render("user", history=[], need=None, candidate="C?") == "C?"


def test_lines_are_the_alternatives_of_a_section() -> None:
    lines = prompts.load("explain").lines("owned_openings")
    assert len(lines) > 3
    assert all("{{ owned }}" in line and "{{ item }}" in line for line in lines)
