"""Loading a causal LLM: base, quantization, device, adapter; and the two things done with it, encoding and batched generation.

One seam for every engine that runs in this process. Scoring many candidates in one forward is `scoring`'s business, what an adapter
is on disk is `adapters`'.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data import deadlines
from ...data.atomic_files import sha256
from ...data.errors import ModelError, ModelMissingError
from ...data.settings import AUTO, Settings
from ...data.threads import share_cores
from . import adapters, bundled
from .adapter_lock import Turns
from .quantization import chosen, import_bitsandbytes, nf4

if TYPE_CHECKING:
    import torch

_MESSAGE = "\N{SYMBOL FOR UNIT SEPARATOR}"
"""Stands for a message that is still to come."""


@dataclass
class LanguageModel:
    """A loaded causal LLM and its tokenizer.

    Attributes:
        name: as it was asked for. quantization: `nf4`, `bf16` or `fp32`. context: tokens that fit, prompt and answer together.
        rank_version: of the prompt `rank` that the weights, or their adapter, were trained for. word_version: of the prompt `word`, None
            where there is no adapter for it. word_hash: SHA-256 of that adapter. word_folder: where it lies. adapted: whether there
            is a ranking adapter beside the weights. Adapters are off except in `weights`.
    """

    name: str
    quantization: str
    model: Any
    tokenizer: Any
    context: int
    rank_version: int = 1
    adapted: bool = False
    word_version: int | None = None
    word_hash: str = ""
    word_folder: Path | None = None
    _turns: Turns = field(default_factory=Turns, repr=False)
    _prefixes: dict[tuple[bool | str, tuple[int, ...]], Any] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, settings: Settings, adapter: Path | None = None) -> LanguageModel:
        """The model that the settings name, on CUDA where there is one, else on the CPU.

        Args: adapter: a folder with a ranking adapter that `finetune.train` wrote.
        Raises:
            ModelMissingError: it is neither in the cache nor reachable, or the folder holds no adapter.
            StaleAdapterError: the adapter was trained on another model or for an unknown prompt.
            ModelError: it is no causal LLM, or cannot be loaded.
        """
        settings = settled(settings)
        source = locate(settings.llm, settings.home)
        version = adapters.merged_version(Path(source))
        if adapter is not None:
            version = adapters.check(adapter, settings.llm, fingerprint(settings.llm, settings.home))
        quantized = bundled.quantized(settings.home) if settings.llm == bundled.NAME and settings.quantization == "nf4" else None
        share_cores()
        with quiet():
            import torch
            from safetensors import SafetensorError
            from transformers import AutoModelForCausalLM, AutoTokenizer

            if settings.threads:
                torch.set_num_threads(settings.threads)
            device = "cuda" if torch.cuda.is_available() else "cpu"
            if settings.quantization == "nf4" and device == "cpu":
                import_bitsandbytes()
            dtype = torch.float32 if settings.quantization == "fp32" else torch.bfloat16
            options = {"quantization_config": nf4()} if settings.quantization == "nf4" and not quantized else {}
            try:
                tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
                model: Any = AutoModelForCausalLM.from_pretrained(
                    quantized or source,
                    dtype=dtype,
                    device_map=device,
                    attn_implementation="sdpa",  # the one that takes a mask of our own
                    use_safetensors=True,
                    trust_remote_code=False,
                    **options,
                )
            except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
                raise _explained(settings.llm, error) from error
        model.eval()
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        context = int(getattr(model.config, "max_position_embeddings", 0) or 2048)
        loaded = cls(settings.llm, settings.quantization, model, tokenizer, context, rank_version=version)
        if adapter is not None:
            with quiet():
                adapters.attach(model, adapter)
            loaded.adapt(version)
        return loaded

    def adapt(self, version: int) -> None:
        """Takes note that ranking adapters were put into the model, for a version of the prompt `rank`, and turns them off."""
        self.rank_version, self.adapted = version, True
        self._switch(None)

    def learned_to_write(self, version: int) -> None:
        """Takes note that an adapter for the prompt `word` was put into the model, and turns it off."""
        self.word_version = version
        self._switch(None)

    def learned(self, task: str, version: int) -> None:
        """Takes note that an adapter for a task was put into the model, and turns it off."""
        notes = {adapters.RANK: self.adapt, adapters.WORD: self.learned_to_write}
        notes[task](version)

    @contextlib.contextmanager
    def weights(self, *, adapter: bool | str) -> Iterator[None]:
        """Within the block the model computes with an adapter, or with the base weights alone.

        Where there is one, threads that want other weights wait until the block ends; where there is none nothing happens.

        Args: adapter: `adapters.RANK` or True, `adapters.WORD`, or False for none; one that is not there is none.
        """
        there = {adapters.RANK: self.adapted, adapters.WORD: self.word_version}
        held = [task for task, has in there.items() if has]
        if not held:
            yield
            return
        wanted = adapters.RANK if adapter is True else adapter
        with self._turns.taking(wanted if wanted in held else None, self._switch):
            yield

    def _switch(self, task: str | None) -> None:
        adapters.switch(self.model, task)

    def add_writer(self, folder: Path, fingerprint: str) -> None:
        """Puts an adapter for wording reasons beside the weights.

        Args: folder: with the adapter. fingerprint: of the model.
        Raises: StaleAdapterError: it was trained on another model. ModelMissingError, ModelError: it is not there, or damaged.
        """
        version = adapters.check(folder, self.name, fingerprint, adapters.WORD)
        with self._turns.alone():
            with quiet():
                adapters.attach(self.model, folder, adapters.WORD)  # peft turns it on
            self.learned_to_write(version)
        self.word_hash, self.word_folder = sha256(folder / adapters.WEIGHTS), folder

    @property
    def device(self) -> torch.device:
        """Where the inputs belong."""
        device: torch.device = self.model.get_input_embeddings().weight.device
        return device

    def encode(self, text: str) -> list[int]:
        """Token ids of a text that already holds whatever special tokens the chat template put there."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def chat(self, system: str, turns: Sequence[tuple[str, str]]) -> str:
        """The chat as the model's own template writes it, up to where its answer begins.

        Args: turns: (role, text), the last one the user's. A model without a template gets plain paragraphs.
        """
        messages = [{"role": "system", "content": system}, *({"role": role, "content": text} for role, text in turns)]
        if not self.tokenizer.chat_template:
            return "\n\n".join(message["content"] for message in messages) + "\n\n"
        try:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # some templates know no system role and say so with an error of jinja2's
            if type(error).__module__.split(".")[0] != "jinja2":
                raise
            first = {"role": "user", "content": f"{system}\n\n{messages[1]['content']}"}
            return str(self.tokenizer.apply_chat_template([first, *messages[2:]], tokenize=False, add_generation_prompt=True))

    def frame(self, system: str, turns: Sequence[tuple[str, str]] = ()) -> tuple[str, str]:
        """What a chat has before and after the user's last message, whatever that says. Args: turns: that come before it."""
        before, after = self.chat(system, [*turns, ("user", _MESSAGE)]).split(_MESSAGE)
        return before, after

    def generate(
        self,
        prefix: str,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        among: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        until: str | None = None,
        adapter: bool | str = False,
        lines: int | None = 1,
        times: int = 1,
    ) -> list[str]:
        """One greedy continuation per prompt, all in one batch.

        Args:
            prefix: text that all prompts begin with; its keys and values are computed once and kept.
            prompts: what follows the prefix, one each.
            among: given the ids generated so far (prompts, length) and the next scores (prompts, vocabulary), the scores to choose by.
            until: a text of one token that ends a continuation, besides the model's own end.
            adapter: as `weights` has it. lines: kept of each continuation, None for all.
            times: continuations per prompt, one after another; the prompt is read once.
        Raises: TimedOutError: the deadline of the work at hand is over.
        """
        if not prompts:
            return []
        import torch
        from transformers import LogitsProcessorList

        head = tuple(self.encode(prefix))
        tails = [self.encode(prompt) for prompt in prompts]
        widest = max(map(len, tails))
        # Padding stands between the prefix and the tail: every row then ends where its answer begins.
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[*head, *[pad] * (widest - len(tail)), *tail] for tail in tails], device=self.device)  # (prompts, length)
        mask = torch.tensor(
            [[1] * len(head) + [0] * (widest - len(tail)) + [1] * len(tail) for tail in tails], device=self.device
        )  # (prompts, length)

        def waited_for(so_far: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            deadlines.check()  # nobody may be waiting for the next token
            return among(so_far[:, ids.shape[1] :], scores) if among else scores

        with torch.inference_mode(), quiet(), self.weights(adapter=adapter):
            cache = copy.deepcopy(self._prefix_cache(head, adapter))
            cache.batch_repeat_interleave(len(tails))
            if times > 1:
                self.model(
                    ids[:, len(head) : -1],
                    attention_mask=mask[:, :-1],
                    position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, len(head) : -1],  # padding takes no place
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                cache.batch_repeat_interleave(times)
                ids, mask = ids.repeat_interleave(times, 0), mask.repeat_interleave(times, 0)
            out = self.model.generate(
                ids,
                attention_mask=mask,
                past_key_values=cache,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=pad,
                eos_token_id=[self.tokenizer.eos_token_id, *(self.encode(until)[:1] if until else [])],
                logits_processor=LogitsProcessorList([waited_for]),
            )
        texts = self.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
        return ["\n".join(text.strip().split("\n")[:lines]).strip() for text in texts]

    def _prefix_cache(self, head: tuple[int, ...], adapter: bool | str) -> Any:
        import torch
        from transformers import DynamicCache

        key = (adapter, head)
        if key not in self._prefixes:
            with torch.inference_mode():
                cache = DynamicCache(config=self.model.config)
                self.model(torch.tensor([head], device=self.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
            # Two prompts at most are in use, one with each adapter; an older one would only hold memory.
            self._prefixes = {**dict(list(self._prefixes.items())[-1:]), key: cache}
        return self._prefixes[key]


def locate(name: str, home: Path) -> str:
    """What `from_pretrained` is to be given for a model's name: a folder, or an id of the Hugging Face hub.

    Raises: ModelMissingError: the embedded model was not pulled yet, or the folder holds no model.
    """
    if name == bundled.NAME:
        if not bundled.is_pulled(home):
            raise ModelMissingError(f"the embedded LLM is not in {home} yet; fetch it once with `crossaisle models pull`")
        return str(bundled.folder(home))
    if name.startswith("openai:"):
        raise ModelError(f"{name}: an endpoint cannot rank yet, because ranking reads the model's logits; name a local model")
    folder = Path(name).expanduser()
    if folder.is_dir() and not (folder / "config.json").exists():
        raise ModelMissingError(f"{folder} holds no config.json; --llm wants a folder with a transformers model, or a Hugging Face id")
    if not folder.is_dir() and (folder.is_absolute() or name.startswith(".")):
        raise ModelMissingError(f"there is no folder {folder}; --llm wants a folder with a transformers model, or a Hugging Face id")
    return str(folder) if folder.is_dir() else name


def settled(settings: Settings) -> Settings:
    """The settings with `auto` replaced by the quantization that is best for their model on this machine.

    Raises: ModelMissingError: as `locate`.
    """
    if settings.quantization != AUTO or settings.llm == "none":
        return settings
    import torch

    source = Path(locate(settings.llm, settings.home))
    return settings.with_(quantization=chosen(source, cuda=torch.cuda.is_available()))


def fingerprint(name: str, home: Path) -> str:
    """SHA-256 over a local model's weights, or the hub id where it is not a folder; what cards and reports record."""
    folder = Path(locate(name, home))
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return "+".join(sha256(file) for file in weights) or name


def _explained(name: str, error: Exception) -> ModelError:
    words = str(error) or type(error).__name__
    if isinstance(error, OSError) and Path(name).expanduser().is_dir():
        return ModelError(f"the folder {name} holds no model that can be loaded ({words.splitlines()[0]}); only safetensors are read")
    if isinstance(error, OSError):
        return ModelMissingError(
            f"the model {name!r} is neither in the local cache nor reachable; pull it where there is a network with "
            f"`crossaisle models pull {name}`, or use the embedded one (`--llm {bundled.NAME}`)"
        )
    return ModelError(f"{name!r} cannot be loaded as a causal language model ({words.splitlines()[0]})")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps notices that a user can do nothing about (a hub kernel that is not there on the CPU) out of sight."""
    names = ("bitsandbytes", "transformers", "accelerate")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="bitsandbytes")
        # Several adapters in one model are what is wanted: one for each task, at most one of them on.
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
