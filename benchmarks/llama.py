"""The peer of our models: Llama of Transformers on PyTorch, in the same shape."""

from __future__ import annotations

from typing import Any

from jaxmusic import config as configs

VOCAB = 1500
"""Tokens of both sides: about as many as the default codec has."""


def llama(model: configs.Model, context: int, attention: str) -> Any:
    """A Llama with weights of its own making, always the same.

    Args:
      model: the shape.
      context: tokens of the longest row.
      attention: name that Transformers has for an implementation of attention.
    """
    import torch
    import transformers

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
