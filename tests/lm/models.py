"""Random causal models of several architectures, small enough for one forward pass a token."""

from __future__ import annotations


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
                num_key_value_heads=1, sliding_window=8, layer_types=["sliding_attention"] * 2 + ["full_attention"],
                **common,
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
