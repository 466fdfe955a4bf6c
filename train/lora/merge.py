"""Merging of a base model and its ranking adapter into one model, for engines that do not load our adapters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ...data.atomic_files import replace_folder, staging_folder
from ...data.errors import SettingsError, storage_errors
from ...data.settings import Settings
from ...llm.models import adapters, projector
from ...llm.models.language_model import LanguageModel
from ...llm.models.library_output import quiet_libraries


def merge(settings: Settings, adapter: Path, out: Path) -> Path:
    """Write the merged model in bf16 safetensors to the folder `out`, and return it.

    `--llm OUT` loads it. It ranks like base and adapter with the adapter's prompt, within the rounding of bf16. Everything else
    it generates comes from the merged weights too, because the base weights are not available any more.

    Args:
        settings: Name the base model.
        adapter: Folder of the adapter.
        out: A new or empty folder.

    Raises:
        SettingsError: `out` is not empty.
        ModelError, StaleAdapterError: See `LanguageModel.load`.
        StorageError: The disk is full.
    """
    if out.exists() and any(out.iterdir()):
        raise SettingsError(f"{out} is not empty; name a new folder for the merged model")
    card = adapters.read_card(adapter)
    # Merged in float32, so that each weight is rounded to bf16 once.
    llm = LanguageModel.load(settings.with_(quantization="fp32"), adapter)
    with quiet_libraries(), storage_errors(f"the model in {out}"), staging_folder(out.parent) as staging:
        adapters.merge_and_unload(llm.model)
        fresh = staging / "model"
        fresh.mkdir()
        if (adapter / projector.FILE).exists():
            shutil.copy2(adapter / projector.FILE, fresh)
        llm.model.bfloat16().save_pretrained(fresh)
        llm.tokenizer.save_pretrained(fresh)
        (fresh / adapters.CARD).write_text(json.dumps({**card, "merged": True}, indent=1, ensure_ascii=False) + "\n", "utf-8")
        replace_folder(fresh, out)
    return out
