"""Suppression of warnings and progress bars of the model libraries that a user cannot act on."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Suppress warnings and progress bars of bitsandbytes, transformers, accelerate and peft within the block."""
    names = ("bitsandbytes", "transformers", "accelerate")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="bitsandbytes")
        # A model may hold several adapters on purpose: one for each task, at most one of them active.
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
