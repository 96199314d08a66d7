"""The peer of our models: Llama of Transformers on PyTorch, in the same shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import runner
from jaxmusic import config
from jaxmusic._src.codecs.registry import make_codec

VOCAB = make_codec(config.Codec()).vocab_size
"""Tokens of both sides."""


def llama(model: config.Transformer, context: int, attention: str) -> Any:
    """Makes a Llama with random weights, always the same.

    Args:
      model: the shape.
      context: tokens of the longest row.
      attention: name that Transformers has for an implementation of attention.
    """
    torch, transformers = runner.peer("torch"), runner.peer("transformers")
    torch.manual_seed(0)
    shape = transformers.LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=model.width,
        intermediate_size=model.hidden,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.kv_heads,
        head_dim=model.head_dim,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        attn_implementation=attention,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    return transformers.LlamaForCausalLM(shape)


def generation(model: Any, count: int) -> Callable[[], Any]:
    """Returns a call that samples one piece with `generate`, its default cache, plain sampling."""
    import torch

    prompt = torch.zeros((1, 1), dtype=torch.long)

    def once() -> None:
        model.eval()
        with torch.inference_mode():
            out = model.generate(
                prompt, do_sample=True, top_k=0, max_new_tokens=count, use_cache=True
            )
        assert out.shape[1] == count + 1

    return once
