"""Qwen3-VL for LaWAM's backbone: its sizes as JSON, others' weights without the last layers, and a tokenizer of few words.

transformers' classes are used as they are. A small model of the same classes, with fresh weights and a tokenizer that is made of
the recordings' own instructions, takes the place of the published one where it is too large.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from foreact.core.errors import ForeactError
from foreact.encoders.huggingface import explain, quiet

PUBLISHED = "Qwen/Qwen3-VL-2B-Instruct"
MARKS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
"""Before, after and in the place of pictures."""


def sizes(*, hidden: int, layers: int, heads: int, vision_depth: int, patch: int, image_size: int) -> str:
    """A small Qwen3-VL, as JSON.

    Args:
        hidden: width of the language layers; the vision blocks have three quarters of it.
        layers: of language.
        heads: of attention in both, with half as many for keys and values of language.
        vision_depth: blocks of vision; the first one's output also joins the first language layer (DeepStack).
        patch: pixels of a patch's side; squares of 2 x 2 patches become one token.
        image_size: side of the pictures, in pixels.
    """
    head, vision = hidden // heads, 3 * hidden // 4
    third = head // 2 // 3
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_interleaved": True}
    text = {
        "vocab_size": 512,
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 2),
        "head_dim": head,
        "rope_parameters": rope | {"mrope_section": [head // 2 - 2 * third, third, third]},
    }
    seen = {
        "depth": vision_depth,
        "hidden_size": vision,
        "intermediate_size": 3 * vision,
        "num_heads": heads,
        "patch_size": patch,
        "out_hidden_size": hidden,
        "num_position_embeddings": (image_size // patch) ** 2,
        "deepstack_visual_indexes": [0],
    }
    marks = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return json.dumps({"text_config": text, "vision_config": seen, **{name: k for k, name in enumerate(marks)}})


def published(layers: int) -> str:
    """The first language layers of Qwen3-VL-2B, as JSON."""
    text = {
        "vocab_size": 151_936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": layers,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_interleaved": True,
            "mrope_section": [24, 20, 20],
        },
    }
    seen = {
        "depth": 24,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "out_hidden_size": 2048,
        "deepstack_visual_indexes": [5, 11, 17],
    }
    return json.dumps({"text_config": text, "vision_config": seen})


def make_model(described: str) -> Any:
    """A Qwen3-VL without language head, with fresh weights, from JSON."""
    from transformers.models.qwen3_vl import Qwen3VLConfig, Qwen3VLModel

    return Qwen3VLModel(Qwen3VLConfig(**json.loads(described)))


def load(name: str, layers: int) -> tuple[Any, str]:
    """The first language layers of a Hub id or folder in float32, and its tokenizer as JSON.

    Raises:
        ForeactError: no such model, one of another kind or with fewer layers, weights that are missing, or no tokenizer.
    """
    from transformers import AutoTokenizer
    from transformers.models.qwen3_vl import Qwen3VLConfig, Qwen3VLModel

    with quiet():
        try:
            config: Any = Qwen3VLConfig.from_pretrained(name)
            there = config.text_config.num_hidden_layers
            if config.to_dict().get("model_type") != "qwen3_vl" or there < layers:
                raise ForeactError(f"{name} has {there} language layers, the backbone takes the first {layers}")
            config.text_config.num_hidden_layers = layers
            found: Any = Qwen3VLModel.from_pretrained(
                name, config=config, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False).backend_tokenizer.to_str()
            model, told = found
        except ForeactError:
            raise
        except Exception as error:
            raise ForeactError(explain(name, error, what="Qwen3-VL with its tokenizer")) from error
    wrong = sorted(told["missing_keys"]) + sorted(str(key) for key in told["mismatched_keys"])
    if wrong:
        raise ForeactError(
            f"{name}: {len(wrong)} weights are missing or of another shape ({wrong[0]}): download it again"
        )
    return model.float(), tokenizer


def describe(model: Any) -> str:
    """A loaded model's sizes, as `make_model` takes them."""
    return json.dumps(model.config.to_dict(), sort_keys=True)


def make_tokenizer(texts: Iterable[str]) -> str:
    """A byte-level tokenizer, as JSON: it knows the pieces of these texts' words, and spells all other words out."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=list(MARKS), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sorted(set(texts)), trainer)
    return tokenizer.to_str()
