"""Random models of the tested families in float64, with attention, heads and windows that differ."""

from __future__ import annotations

import numpy as np

FAMILIES = ("llama", "qwen2", "qwen2-window", "qwen3", "gemma3", "mistral", "gpt2")
VOCABULARY = 64


def random_model(family, *, attention="sdpa", seed=0, positions=512):
    """A random causal model of a few thousand weights; large weights, so that contexts show."""
    import torch
    import transformers

    sizes = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": VOCABULARY, "max_position_embeddings": positions,
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "initializer_range": 0.12,
    }  # fmt: skip
    tied = {**sizes, "tie_word_embeddings": True}
    made = {
        "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)),
        "qwen2": lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**tied)),
        "qwen2-window": lambda: transformers.Qwen2ForCausalLM(
            transformers.Qwen2Config(
                **tied, use_sliding_window=True, sliding_window=8,
                layer_types=["sliding_attention", "full_attention"],
            )
        ),
        "qwen3": lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(head_dim=8, **sizes)),
        "gemma3": lambda: transformers.Gemma3ForCausalLM(
            transformers.Gemma3TextConfig(
                **{**tied, "num_hidden_layers": 3}, head_dim=8, sliding_window=8, final_logit_softcapping=5.0,
                layer_types=["sliding_attention", "sliding_attention", "full_attention"],
            )
        ),
        "mistral": lambda: transformers.MistralForCausalLM(
            transformers.MistralConfig(sliding_window=8, **sizes)
        ),
        "gpt2": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=VOCABULARY, n_positions=positions, n_embd=16, n_layer=2, n_head=2,
                bos_token_id=0, eos_token_id=0, initializer_range=0.12,
            )
        ),
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = made[family]()
    for name, weight in model.named_parameters():
        if "norm" not in name and "ln_" not in name:
            weight.data.mul_(3.0)
    model = model.double().eval()
    model.set_attn_implementation(attention)
    return model


def random_ids(count, seed=0, vocabulary=VOCABULARY):
    """Token ids drawn at random."""
    return np.random.default_rng(seed).integers(0, vocabulary, count).tolist()
