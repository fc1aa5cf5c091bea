"""Random causal models of several architectures, small enough for one forward pass a token."""

from __future__ import annotations

import hashlib

import numpy as np


def make(kind: str, vocabulary: int, positions: int = 512):
    """A random causal model of the named architecture, about 20 k weights, dropout off or on as it comes."""
    import torch
    import transformers

    common = {"vocab_size": vocabulary, "max_position_embeddings": positions}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        if kind == "llama":
            config = transformers.LlamaConfig(
                hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, **common
            )
            model = transformers.LlamaForCausalLM(config)
        elif kind == "gemma3":
            config = transformers.Gemma3TextConfig(
                hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, head_dim=8,
                num_key_value_heads=1, sliding_window=8,
                layer_types=["sliding_attention", "sliding_attention", "full_attention"], **common,
            )  # fmt: skip
            model = transformers.Gemma3ForCausalLM(config)
        elif kind == "gemma2":  # caps its logits after the output layer
            config = transformers.Gemma2Config(
                hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, head_dim=8,
                num_key_value_heads=1, sliding_window=8, final_logit_softcapping=0.5, **common,
            )  # fmt: skip
            model = transformers.Gemma2ForCausalLM(config)
        elif kind == "granite":  # divides its logits, which only the whole model knows
            config = transformers.GraniteConfig(
                hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                logits_scaling=0.5, **common,
            )  # fmt: skip
            model = transformers.GraniteForCausalLM(config)
        elif kind == "gpt2":
            config = transformers.GPT2Config(
                vocab_size=vocabulary, n_positions=positions, n_embd=16, n_layer=2, n_head=2
            )
            model = transformers.GPT2LMHeadModel(config)
        else:
            raise AssertionError(kind)
        for weight in model.parameters():  # larger weights: differences between contexts show
            weight.data.mul_(6.0)
    return model.eval()


def digest(model):
    """SHA-256 of all weights, bit for bit."""
    return hashlib.sha256(b"".join(w.detach().numpy().tobytes() for w in model.parameters())).hexdigest()


def tokenizer_hash():
    """Hash of a tokenizer learnt from text full of ties."""
    from firsthand.lm import train_tokenizer

    texts = [f"token {n % 97} of {n % 13} ties and {n % 7} breaks" for n in range(500)]
    return hashlib.sha256(train_tokenizer(texts, 400).backend_tokenizer.to_str().encode()).hexdigest()


def text_ids(length=400, vocabulary=64):
    """Token ids with a pattern."""
    return (np.arange(length) * 7 + np.arange(length) // 5) % vocabulary


def small(seed=0):
    """A Llama of a few thousand weights over `text_ids`."""
    from firsthand.lm import tiny_llama

    return tiny_llama(64, width=16, layers=1, heads=2, seed=seed, context=32)


SETTINGS = {"steps": 12, "batch": 2, "context": 16, "warmup": 3, "device": "cpu"}


def trained_hash(seed=4):
    """Weights after a short training."""
    from firsthand.lm import train

    model = small()
    train(model, text_ids(), seed=seed, **SETTINGS)
    return digest(model)
