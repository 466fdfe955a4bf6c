"""Settings, read from `CROSSAISLE_*` environment variables.

An unknown `CROSSAISLE_` name is an error, because a misspelled variable would otherwise be ignored silently.
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
"""Variables that are read where they are used and not stored in `Settings`, which are printed and written to reports."""
AUTO = "auto"
"""The quantization that `llm.models.model_source.resolve_quantization` replaces by what is best on the machine."""
QUANTIZATIONS = (AUTO, "nf4", "bf16", "fp32")
ENDPOINT_PREFIX = "openai:"
"""Start of an LLM that is an OpenAI-compatible endpoint."""
WHEN_BETTER, ALWAYS, NEVER = "when-better", "always", "never"
LLM_POLICIES = (WHEN_BETTER, ALWAYS, NEVER)
MAX_LLM_WEIGHT = 100.0
"""Largest weight of the LLM's scores that can be set; measured ones are below 5."""
DEFAULT_RERANK_DEPTH, MAX_RERANK_DEPTH = 20, 200
"""Default and maximum number of candidates that the LLM scores."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Model choices, paths and service addresses.

    Attributes:
        home: Model cache (`CROSSAISLE_HOME`).
        llm: Model of the ranker and the explainer (`CROSSAISLE_LLM`): `smollm2` (embedded), a folder, a Hugging Face id, or `none`; or
            `openai:http://host:port/v1`, an endpoint that ranks and does not explain.
        embedder: Text embedder (`CROSSAISLE_EMBEDDER`): `minilm` (embedded), a folder or a Hugging Face id; None for the one
            of the workspace's index, or `minilm` for the first index.
        quantization: `nf4` (4 bits), `bf16`, `fp32`, or `auto` (the default): nf4, but bf16 on a CPU that multiplies it in
            hardware (`CROSSAISLE_QUANTIZATION`; `llm.models.quantization.chosen`).
        chroma: `http://host:port` of a Chroma server, `folder` for the database in the workspace, None for the one of the workspace's
            index (`CROSSAISLE_CHROMA`).
        threads: CPU threads for the models, None for all cores (`CROSSAISLE_THREADS`).
        nli: Cross-encoder that rejects explanations contradicting their evidence, a folder or a Hugging Face id (`CROSSAISLE_NLI`);
            None for none.
        events: `postgresql+psycopg://...` of the event log, None for the file in the workspace (`CROSSAISLE_EVENTS`). Contains a
            password, so it is never shown.
        pseudonym_key: Key for hashing user ids, None for the workspace's own (`CROSSAISLE_PSEUDONYM_KEY`). Never shown.
        llm_model: Name of the model at the endpoint, if `llm` is `openai:http://host:port/v1` (`CROSSAISLE_LLM_MODEL`).
        llm_policy: When the LLM's scores count in the order of a history (`CROSSAISLE_LLM_POLICY`): `when-better`, where its measured gain
            is above 0 with its whole interval; `always`, with its fitted weight whatever it gained; `never`.
        llm_weight: Weight of the LLM's scores instead of the measured one, in blend-score units per standard deviation
            (`CROSSAISLE_LLM_WEIGHT`); None (`auto`) for the measured one.
        rerank_depth: Number of candidates that the LLM reads (`CROSSAISLE_RERANK_DEPTH`).
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
    llm_model: str | None = None
    llm_policy: str = WHEN_BETTER
    llm_weight: float | None = None
    rerank_depth: int = DEFAULT_RERANK_DEPTH

    @property
    def is_remote(self) -> bool:
        """Whether the LLM is an endpoint."""
        return self.llm.startswith(ENDPOINT_PREFIX)

    @property
    def llm_name(self) -> str | None:
        """Name of the LLM for people; None without one."""
        return None if self.llm == "none" else self.llm_model if self.is_remote else self.llm

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from the environment.

        Args:
            environment: Variables; None for `os.environ`.

        Raises:
            SettingsError: Unknown `CROSSAISLE_` variable, or an invalid value.
        """
        environment = os.environ if environment is None else environment
        known = {PREFIX + f.name.upper(): f.name for f in fields(cls)}
        values: dict[str, str] = {}
        for name, value in environment.items():
            if not name.startswith(PREFIX) or name in SECRETS:
                continue
            if name not in known:
                # Compared without the prefix, which would make all names similar.
                similar = get_close_matches(name.removeprefix(PREFIX), [key.removeprefix(PREFIX) for key in known], n=1)
                hint = f"did you mean {PREFIX}{similar[0]}?" if similar else "known are " + ", ".join(sorted(known))
                raise SettingsError(f"unknown environment variable {name}; {hint}")
            if value.strip():
                values[known[name]] = value.strip()
        return cls().with_(**values)

    def with_(self, **changes: object) -> Settings:
        """A copy with some values replaced; None keeps a value.

        Raises:
            SettingsError: Invalid value.
        """
        values: dict[str, object] = {name: value for name, value in changes.items() if value is not None}
        if "home" in values:
            values["home"] = Path(str(values["home"]))
        if "threads" in values:
            values["threads"] = _positive("threads", values["threads"])
        if "rerank_depth" in values:
            values["rerank_depth"] = _positive("rerank-depth", values["rerank_depth"], MAX_RERANK_DEPTH)
        if "llm_weight" in values:
            values["llm_weight"] = _weight(values["llm_weight"])
        if (policy := values.get("llm_policy")) is not None and policy not in LLM_POLICIES:
            raise SettingsError(f"llm-policy {policy!r} is not one of {', '.join(LLM_POLICIES)}")
        if (quantization := values.get("quantization")) is not None and quantization not in QUANTIZATIONS:
            raise SettingsError(f"quantization {quantization!r} is not one of {', '.join(QUANTIZATIONS)}")
        changed = replace(self, **values)  # type: ignore[arg-type]  # checked above
        if changed.is_remote and not changed.llm_model:
            raise SettingsError(f"name the model at the endpoint {changed.llm} with --llm-model")
        return replace(changed, home=changed.home.expanduser())


def _positive(name: str, value: object, largest: int | None = None) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1 or (largest is not None and number > largest):
        limits = "of 1 or more" if largest is None else f"from 1 to {largest}"
        raise SettingsError(f"{name} must be a whole number {limits}, not {value!r}")
    return number


def _weight(value: object) -> float | None:
    """The weight, None for `auto`."""
    if value == AUTO:
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = float("nan")
    if not 0 <= number <= MAX_LLM_WEIGHT:  # also refuses nan
        raise SettingsError(f"llm-weight must be {AUTO} or a number from 0 to {MAX_LLM_WEIGHT:g}, not {value!r}")
    return number
