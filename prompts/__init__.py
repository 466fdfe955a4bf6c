"""Prompt templates for language models: versioned files, and sanitization of untrusted text.

A template `name.vN.md` has sections with headings such as `## system` and `## user`, each a Jinja2 text whose variables are all required.
A released version is never edited; a better one gets the next number. Training and serving render through `Prompt.render`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from .sanitize import sanitize_for_prompt

__all__ = ["Prompt", "fill", "load", "sanitize_for_prompt"]


@dataclass(frozen=True)
class Prompt:
    """One version of one prompt.

    Attributes:
        name: Name of the prompt.
        version: Version number, from 1.
        sections: Heading to Jinja2 source.
    """

    name: str
    version: int
    sections: dict[str, str]

    @property
    def id(self) -> str:
        """Name and version, as recorded in model cards: `rank.v1`."""
        return f"{self.name}.v{self.version}"

    def render(self, section: str, **values: Any) -> str:
        """Text of a section; untrusted values must have passed `sanitize_for_prompt`.

        Raises:
            jinja2.UndefinedError: A variable of the template is missing.
        """
        return fill(self.sections[section], **values)

    def lines(self, section: str) -> list[str]:
        """Lines of a section that lists alternatives, as sources for `fill`."""
        return self.sections[section].strip().splitlines()


@cache
def load(name: str, version: int = 1) -> Prompt:
    """Load a version of the prompt `name`.

    Raises:
        FileNotFoundError: There is no such version.
    """
    source = files(__package__).joinpath("templates", f"{name}.v{version}.md").read_text("utf-8")
    parts = re.split(r"^## (\w+)\n", source, flags=re.MULTILINE)
    return Prompt(name, version, dict(zip(parts[1::2], parts[2::2], strict=True)))


def fill(source: str, **values: Any) -> str:
    """Render a Jinja2 source; strip line breaks at both ends.

    Raises:
        jinja2.UndefinedError: A variable is missing.
    """
    return str(_template(source).render(**values)).strip("\n")


@lru_cache(maxsize=512)  # compiling takes a hundred times as long as filling
def _template(source: str) -> Any:
    return _environment().from_string(source)


@cache
def _environment() -> Any:
    from jinja2 import Environment, StrictUndefined

    # Prompts are plain text: HTML escaping would garble them; `sanitize_for_prompt` protects them.
    return Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
