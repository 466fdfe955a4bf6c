"""A causal LLM in this process: loading with quantization and adapters, chat prompts, encoding and batched greedy generation.

Packed scoring of candidates is in `llm.ranking.packed_scorer`, the format of adapters in `adapters`.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data import deadlines
from ...data.atomic_files import sha256
from ...data.settings import Settings
from ...data.threads import share_cores
from . import adapters, bundled
from .adapter_lock import AdapterLock
from .library_output import quiet_libraries
from .model_source import fingerprint, load_error, resolve_model_path, resolve_quantization
from .projector import load_projector
from .quantization import BITSANDBYTES, compute_dtype, import_bitsandbytes, nf4_config, set_nf4_compute_dtype, stored_quantization
from .usage import record_usage

if TYPE_CHECKING:
    import torch

THOUGHT_START, THOUGHT_END = "<think>", "</think>"
"""Marks around the thoughts of models that think (Qwen3, DeepSeek-R1)."""
_PLACEHOLDER = "\N{SYMBOL FOR UNIT SEPARATOR}"
"""Placeholder for the last message of a chat while the prompt around it is rendered."""


@dataclass
class LanguageModel:
    """A loaded causal LLM and its tokenizer.

    Adapters are off except within `use_adapter`.

    Attributes:
        name: Name in the settings.
        quantization: `nf4`, `bf16` or `fp32`, or the method of a checkpoint that is quantized itself, such as `gptq`, `awq` or `fp8`.
        model: The transformers model.
        tokenizer: The transformers tokenizer.
        context: Maximum number of tokens, prompt and continuation together.
        ranking_prompt_version: Version of the prompt `rank` that the weights or their adapter were trained for.
        has_ranking_adapter: Whether the model holds a ranking adapter.
        explainer_prompt_version: Version of the prompt `word` that the explainer adapter was trained for, None without such an adapter.
        explainer_hash: SHA-256 of the explainer adapter's weights.
        explainer_folder: Folder of the explainer adapter.
    """

    name: str
    quantization: str
    model: Any
    tokenizer: Any
    context: int
    ranking_prompt_version: int = 1
    has_ranking_adapter: bool = False
    explainer_prompt_version: int | None = None
    explainer_hash: str = ""
    explainer_folder: Path | None = None
    _adapter_lock: AdapterLock = field(default_factory=AdapterLock, repr=False)
    _prefix_caches: dict[tuple[bool | str, tuple[int, ...]], Any] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, settings: Settings, adapter: Path | None = None) -> LanguageModel:
        """Load the model of the settings, on CUDA if available, sharded if there are several GPUs, else on the CPU.

        A checkpoint that is quantized itself is loaded as it is, whatever the settings say.

        Args:
            settings: Name the model, its quantization and the number of threads.
            adapter: Folder of a ranking adapter to load with it.

        Raises:
            ModelMissingError: The model is neither in the cache nor reachable, or the folder holds no adapter.
            StaleAdapterError: The adapter was trained on another model or for an unknown prompt version.
            ModelError: The model is not a causal LLM, or cannot be loaded.
        """
        settings = resolve_quantization(settings)
        source = resolve_model_path(settings.llm, settings.home)
        version = adapters.merged_prompt_version(Path(source))
        if adapter is not None:
            version = adapters.check_compatibility(adapter, settings.llm, fingerprint(settings.llm, settings.home))
        quantized = bundled.quantized_folder(settings.home) if settings.llm == bundled.NAME and settings.quantization == "nf4" else None
        share_cores()
        with quiet_libraries():
            import torch
            from safetensors import SafetensorError
            from transformers import AutoModelForCausalLM, AutoTokenizer

            if settings.threads:
                torch.set_num_threads(settings.threads)
            device = "cuda" if torch.cuda.is_available() else "cpu"
            if settings.quantization == "nf4" and device == "cpu":
                import_bitsandbytes()
            try:
                stored = stored_quantization(source)
                precision = stored or settings.quantization
                options = {"quantization_config": nf4_config()} if precision == "nf4" and not quantized else {}
                tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
                model: Any = AutoModelForCausalLM.from_pretrained(
                    quantized or source,
                    dtype="auto" if stored else compute_dtype(precision),
                    device_map="auto" if device == "cuda" and torch.cuda.device_count() > 1 else device,
                    attn_implementation="sdpa",  # accepts the attention masks of packed scoring
                    use_safetensors=True,
                    trust_remote_code=False,
                    **options,
                )
            except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
                raise load_error(settings.llm, error) from error
        if quantized or stored == BITSANDBYTES:
            set_nf4_compute_dtype(model)
        model.eval()
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        context = int(getattr(model.config.get_text_config(), "max_position_embeddings", 0) or 2048)
        if adapter is None and version > 1 and adapters.has_projector(Path(source)):  # of the adapter that was merged into it
            load_projector(model, Path(source))
        loaded = cls(settings.llm, precision, model, tokenizer, context, ranking_prompt_version=version)
        if adapter is not None:
            with quiet_libraries():
                adapters.load_adapter(model, adapter)
            loaded.register_adapter(adapters.RANKING, version)
        return loaded

    def register_adapter(self, task: str, version: int) -> None:
        """Record that the model now holds an adapter, and deactivate all adapters.

        Args:
            task: `adapters.RANKING` or `adapters.EXPLAINING`.
            version: Version of the task's prompt that the adapter is trained for.
        """
        if task == adapters.RANKING:
            self.ranking_prompt_version, self.has_ranking_adapter = version, True
        else:
            self.explainer_prompt_version = version
        self._activate(None)

    @contextlib.contextmanager
    def use_adapter(self, *, adapter: bool | str) -> Iterator[None]:
        """Compute with an adapter, or with the base weights alone, within the block.

        If the model holds an adapter, threads that need other weights wait until the block ends; otherwise this does nothing.

        Args:
            adapter: `adapters.RANKING` or True, `adapters.EXPLAINING`, or False for the base weights. An adapter that the model does not
                hold means the base weights.
        """
        available = {adapters.RANKING: self.has_ranking_adapter, adapters.EXPLAINING: self.explainer_prompt_version}
        held = [task for task, present in available.items() if present]
        if not held:
            yield
            return
        task = adapters.RANKING if adapter is True else adapter
        with self._adapter_lock.use(task if task in held else None, self._activate):
            yield

    def _activate(self, task: str | None) -> None:
        adapters.activate(self.model, task)

    def load_explainer_adapter(self, folder: Path, fingerprint: str) -> None:
        """Load an adapter that generates explanations.

        Args:
            folder: The adapter.
            fingerprint: `fingerprint` of this model.

        Raises:
            StaleAdapterError: The adapter was trained on another model.
            ModelMissingError, ModelError: The adapter is missing or damaged.
        """
        version = adapters.check_compatibility(folder, self.name, fingerprint, adapters.EXPLAINING)
        with self._adapter_lock.exclusive():
            with quiet_libraries():
                adapters.load_adapter(self.model, folder, adapters.EXPLAINING)  # peft activates it
            self.register_adapter(adapters.EXPLAINING, version)
        self.explainer_hash, self.explainer_folder = sha256(folder / adapters.WEIGHTS), folder

    @property
    def device(self) -> torch.device:
        """Device of the input ids."""
        device: torch.device = self.model.get_input_embeddings().weight.device
        return device

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text that already contains the special tokens of the chat template."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def chat_prompt(self, system: str, turns: Sequence[tuple[str, str]]) -> str:
        """Render a chat with the model's own template, up to the start of the assistant's answer.

        Args:
            system: The system message.
            turns: (role, text) pairs, the last one the user's.

        Returns:
            The prompt; plain paragraphs for a model without a template. No thought precedes the answer: thinking is disabled in the
            template, and a thought that the template opens is closed.
        """
        messages = [{"role": "system", "content": system}, *({"role": role, "content": text} for role, text in turns)]
        if not self.tokenizer.chat_template:
            return "\n\n".join(message["content"] for message in messages) + "\n\n"
        try:
            return self._render_chat(messages)
        except Exception as error:  # templates without a system role raise an error of jinja2
            if type(error).__module__.split(".")[0] != "jinja2":
                raise
            first = {"role": "user", "content": f"{system}\n\n{messages[1]['content']}"}
            return self._render_chat([first, *messages[2:]])

    def _render_chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        prompt = str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False))
        return f"{prompt.rstrip()}\n\n{THOUGHT_END}\n\n" if prompt.rstrip().endswith(THOUGHT_START) else prompt

    def split_chat_prompt(self, system: str, turns: Sequence[tuple[str, str]] = ()) -> tuple[str, str]:
        """Return the parts of a chat prompt before and after the user's last message, which do not depend on that message.

        Args:
            system: The system message.
            turns: (role, text) pairs before the last message.
        """
        before, after = self.chat_prompt(system, [*turns, ("user", _PLACEHOLDER)]).split(_PLACEHOLDER)
        return before, after

    def generate(
        self,
        prefix: str,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        process_logits: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        stop_text: str | None = None,
        adapter: bool | str = False,
        max_lines: int | None = 1,
        samples_per_prompt: int = 1,
    ) -> list[str]:
        """Return greedy continuations of all prompts, generated in one batch.

        Args:
            prefix: Common prefix of all prompts; its keys and values are computed once and cached.
            prompts: Texts that follow the prefix.
            max_new_tokens: Maximum length of a continuation.
            process_logits: Maps the ids generated so far (prompts, length) and the next logits (prompts, vocabulary) to the logits to
                choose from.
            stop_text: Text of one token that ends a continuation, in addition to the end-of-sequence token.
            adapter: See `use_adapter`.
            max_lines: Number of lines to keep of each continuation, None for all.
            samples_per_prompt: Continuations per prompt, adjacent in the result; the prompt is processed once.

        Raises:
            TimedOutError: The current deadline has passed.
        """
        if not prompts:
            return []
        import torch
        from transformers import LogitsProcessorList

        record_usage(texts_generated=len(prompts) * samples_per_prompt)
        head = tuple(self.encode(prefix))
        tails = [self.encode(prompt) for prompt in prompts]
        width = max(map(len, tails))
        # Padding is placed between prefix and tail, so that all rows end where their continuation starts.
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[*head, *[pad] * (width - len(tail)), *tail] for tail in tails], device=self.device)  # (prompts, length)
        mask = torch.tensor(
            [[1] * len(head) + [0] * (width - len(tail)) + [1] * len(tail) for tail in tails], device=self.device
        )  # (prompts, length)

        def next_logits(input_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            deadlines.check()  # stop as soon as the caller has given up
            return process_logits(input_ids[:, ids.shape[1] :], logits) if process_logits else logits

        with torch.inference_mode(), quiet_libraries(), self.use_adapter(adapter=adapter):
            cache = copy.deepcopy(self._prefix_cache(head, adapter))
            cache.batch_repeat_interleave(len(tails))
            if samples_per_prompt > 1:
                self.model(
                    ids[:, len(head) : -1],
                    attention_mask=mask[:, :-1],
                    position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, len(head) : -1],  # padding takes no position
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                cache.batch_repeat_interleave(samples_per_prompt)
                ids, mask = ids.repeat_interleave(samples_per_prompt, 0), mask.repeat_interleave(samples_per_prompt, 0)
            output = self.model.generate(
                ids,
                attention_mask=mask,
                past_key_values=cache,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=pad,
                eos_token_id=[self.tokenizer.eos_token_id, *(self.encode(stop_text)[:1] if stop_text else [])],
                logits_processor=LogitsProcessorList([next_logits]),
            )
        texts = self.tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)
        return ["\n".join(text.strip().split("\n")[:max_lines]).strip() for text in texts]

    def _prefix_cache(self, head: tuple[int, ...], adapter: bool | str) -> Any:
        import torch
        from transformers import DynamicCache

        key = (adapter, head)
        if key not in self._prefix_caches:
            with torch.inference_mode():
                cache = DynamicCache(config=self.model.config)
                self.model(torch.tensor([head], device=self.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
            # At most two prompts are in use, one with each adapter; older caches would only take memory.
            self._prefix_caches = {**dict(list(self._prefix_caches.items())[-1:]), key: cache}
        return self._prefix_caches[key]
