"""Size of a model from its configuration alone: number of parameters, width and depth, without reading its weights."""

from __future__ import annotations

from dataclasses import dataclass

from ...data.settings import Settings
from .library_output import quiet_libraries
from .model_source import load_error, resolve_model_path


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Size of a causal LLM.

    Attributes:
        parameters: Number of parameters; tied matrices count once.
        hidden: Width of the hidden states of the text decoder.
        layers: Number of its blocks.
    """

    parameters: int
    hidden: int
    layers: int

    @classmethod
    def read(cls, settings: Settings) -> ModelSize:
        """Return the size of the settings' model.

        Raises:
            ModelMissingError: The model is neither in the cache nor reachable.
            ModelError: The model is not a causal LLM, or an endpoint.
        """
        source = resolve_model_path(settings.llm, settings.home)
        with quiet_libraries():
            import torch
            from transformers import AutoConfig, AutoModelForCausalLM

            try:
                config = AutoConfig.from_pretrained(source, trust_remote_code=False)
                if hasattr(config, "quantization_config"):
                    del config.quantization_config  # packed weights would be counted, several in one
                with torch.device("meta"):  # shapes without memory
                    model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
            except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
                raise load_error(settings.llm, error) from error
        text = config.get_text_config()
        return cls(sum(weight.numel() for weight in model.parameters()), int(text.hidden_size), int(text.num_hidden_layers))
