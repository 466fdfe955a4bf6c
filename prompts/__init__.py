"""What we say to a language model: versioned templates kept as files, and the fence for strangers' text.

A template `name.vN.md` has sections headed `## system`, `## user` and so on, each a Jinja2 text with every variable required.
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
    """One version of one prompt; `sections` maps a heading to its Jinja2 source."""

    name: str
    version: int
    sections: dict[str, str]

    @property
    def id(self) -> str:
        """What a model card records: `rank.v1`."""
        return f"{self.name}.v{self.version}"

    def render(self, section: str, **values: Any) -> str:
        """The text of a section; values are expected to have passed `sanitize_for_prompt`.

        Raises: jinja2.UndefinedError: a variable of the template was not given.
        """
        return fill(self.sections[section], **values)

    def lines(self, section: str) -> list[str]:
        """The lines of a section that lists alternatives, as sources for `fill`."""
        return self.sections[section].strip().splitlines()


@cache
def load(name: str, version: int = 1) -> Prompt:
    """The prompt `name` in one version.

    Raises: FileNotFoundError: there is no such version.
    """
    source = files(__package__).joinpath("templates", f"{name}.v{version}.md").read_text("utf-8")
    parts = re.split(r"^## (\w+)\n", source, flags=re.MULTILINE)
    return Prompt(name, version, dict(zip(parts[1::2], parts[2::2], strict=True)))


def fill(source: str, **values: Any) -> str:
    """A Jinja2 source with its variables filled, without line breaks at its ends.

    Raises: jinja2.UndefinedError: a variable was not given.
    """
    return str(_template(source).render(**values)).strip("\n")


@lru_cache(maxsize=512)  # compiling takes a hundred times as long as filling
def _template(source: str) -> Any:
    return _environment().from_string(source)


@cache
def _environment() -> Any:
    from jinja2 import Environment, StrictUndefined

    # Prompts are plain text: HTML escaping would only spoil them, the fence is what guards them.
    return Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
