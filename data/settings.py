"""What the surroundings say: one frozen `Settings`, read from `CROSSAISLE_*` variables.

An unknown `CROSSAISLE_` name is an error, because a misspelt setting that silently does nothing costs an afternoon.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path

from .errors import SettingsError

PREFIX = "CROSSAISLE_"
SECRETS = ("CROSSAISLE_JUDGE_KEY",)
"""Names that are read where they are used and kept in no settings, which are printed and written into reports."""
AUTO = "auto"
"""The quantization that `llm.models.model_source.resolve_quantization` replaces by what is best on the machine."""
QUANTIZATIONS = (AUTO, "nf4", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are and which models are used.

    Attributes:
        home: the model cache (`CROSSAISLE_HOME`).
        llm: the ranker's and explainer's model (`CROSSAISLE_LLM`): `smollm2` (embedded), a folder, a Hugging Face id, or `none`.
        embedder: the text embedder (`CROSSAISLE_EMBEDDER`): `minilm` (embedded), a folder or a Hugging Face id; None means
            the one that the workspace was indexed with, or `minilm` for the first index.
        quantization: `nf4` (4 bits), `bf16`, `fp32`, or `auto` (the default): nf4, but bf16 on a CPU that multiplies it in
            hardware (`CROSSAISLE_QUANTIZATION`; `llm.models.quantization.chosen`).
        chroma: `http://host:port` of a Chroma server, `folder` for the one in the workspace, None for what the workspace has
            (`CROSSAISLE_CHROMA`).
        threads: CPU threads for the models, None for all cores (`CROSSAISLE_THREADS`).
        nli: a cross-encoder that has to find no contradiction between an explanation and its evidence, a folder or a Hugging Face id
            (`CROSSAISLE_NLI`); None for none.
        events: `postgresql+psycopg://...` for the log of events, None for the file in the workspace (`CROSSAISLE_EVENTS`). Holds a
            password, so it is never shown.
        pseudonym_key: under which user ids are hashed, None for the workspace's own (`CROSSAISLE_PSEUDONYM_KEY`). Never shown.
    """

    home: Path = Path("~/.cache/crossaisle")
    llm: str = "smollm2"
    embedder: str | None = None
    quantization: str = AUTO
    chroma: str | None = None
    threads: int | None = None
    nli: str | None = None
    events: str | None = field(default=None, repr=False)
    pseudonym_key: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """The settings of the surroundings (`os.environ` unless a mapping is given).

        Raises: SettingsError: a `CROSSAISLE_` name that does not exist, or a value that cannot be used.
        """
        environment = os.environ if environment is None else environment
        known = {PREFIX + f.name.upper(): f.name for f in fields(cls)}
        given: dict[str, str] = {}
        for name, value in environment.items():
            if not name.startswith(PREFIX) or name in SECRETS:
                continue
            if name not in known:
                # Compared without the prefix, which alone would make any two names look alike.
                near = get_close_matches(name.removeprefix(PREFIX), [key.removeprefix(PREFIX) for key in known], n=1)
                hint = f"did you mean {PREFIX}{near[0]}?" if near else "known are " + ", ".join(sorted(known))
                raise SettingsError(f"the environment variable {name} means nothing to crossaisle; {hint}")
            if value.strip():
                given[known[name]] = value.strip()
        return cls().with_(**given)

    def with_(self, **given: object) -> Settings:
        """A copy with some values replaced; None leaves a value as it is.

        Raises: SettingsError: a value that cannot be used.
        """
        values: dict[str, object] = {name: value for name, value in given.items() if value is not None}
        if "home" in values:
            values["home"] = Path(str(values["home"]))
        if "threads" in values:
            values["threads"] = _positive("threads", values["threads"])
        if (quantization := values.get("quantization")) is not None and quantization not in QUANTIZATIONS:
            raise SettingsError(f"quantization {quantization!r} is not one of {', '.join(QUANTIZATIONS)}")
        changed = replace(self, **values)  # type: ignore[arg-type]  # checked just above
        return replace(changed, home=changed.home.expanduser())


def _positive(name: str, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise SettingsError(f"{name} must be a whole number of 1 or more, not {value!r}")
    return number
