"""A LLaVA-style model with random weights and its Pillow image processor: to try a path without a download.

Knows nothing of any picture; its answers are noise. Nothing here needs torchvision.
"""

from __future__ import annotations

from typing import Any

from firsthand.lm.backend import require, transformers_class
from firsthand.lm.tiny import train_tokenizer

__all__ = ["tiny_llava"]

TEMPLATE = (
    "{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}\n{% endfor %}"
)


def tiny_llava(seed: int = 0) -> tuple[Any, Any]:
    """(model, processor): a few ten thousand weights, pictures of 28 by 28 pixels as 16 tokens; `seed` makes them."""
    require("torch")
    import torch

    kind = transformers_class
    tokenizer = train_tokenizer(["find every cat in the picture <answer> [1, 2, 3, 4] </answer>\n" * 30], 300)
    tokenizer.split_special_tokens = False
    tokenizer.add_special_tokens({"extra_special_tokens": ["<image>"], "pad_token": "<pad>"})
    processor = kind("LlavaProcessor")(
        image_processor=kind("CLIPImageProcessorPil")(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        ),
        tokenizer=tokenizer,
        patch_size=7,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    config = kind("LlavaConfig")(
        vision_config=kind("CLIPVisionConfig")(
            hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28,
            patch_size=7, projection_dim=16,
        ),
        text_config=kind("LlamaConfig")(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=1024,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = kind("LlavaForConditionalGeneration")(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model, processor
