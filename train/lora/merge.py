"""A base and its ranking adapter as one model, for engines that take no adapter of ours."""

from __future__ import annotations

import json
from pathlib import Path

from ...data.atomic_files import replace_folder, staging_folder
from ...data.errors import SettingsError, storage_errors
from ...data.settings import Settings
from ...llm.models import adapters
from ...llm.models.language_model import LanguageModel, quiet_libraries


def merge(settings: Settings, adapter: Path, out: Path) -> Path:
    """Writes a whole model in bf16 safetensors whose weights are base and adapter together, and returns its folder `out`.

    `--llm OUT` loads it. It ranks as base and adapter do, within the rounding of bf16, and asks with the adapter's prompt; whatever
    else it writes comes from the merged weights, because the base is no longer there.

    Raises:
        SettingsError: `out` holds something already.
        ModelError, StaleAdapterError: see `LanguageModel.load`. StorageError: the disk is full.
    """
    if out.exists() and any(out.iterdir()):
        raise SettingsError(f"{out} is not empty; name a new folder for the merged model")
    card = adapters.read_card(adapter)
    # Summed in float32, so that each weight is rounded to bf16 once.
    llm = LanguageModel.load(settings.with_(quantization="fp32"), adapter)
    with quiet_libraries(), storage_errors(f"the model in {out}"), staging_folder(out.parent) as staging:
        adapters.merge_and_unload(llm.model)
        fresh = staging / "model"
        llm.model.bfloat16().save_pretrained(fresh)
        llm.tokenizer.save_pretrained(fresh)
        (fresh / adapters.CARD).write_text(json.dumps({**card, "merged": True}, indent=1, ensure_ascii=False) + "\n", "utf-8")
        replace_folder(fresh, out)
    return out
