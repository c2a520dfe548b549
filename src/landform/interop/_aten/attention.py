"""Scaled dot-product attention."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from landform.interop._aten._registry import register
from landform.interop._aten.activations import safe_softmax, softmax


@register("scaled_dot_product_attention.default")
def attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    if dropout_p > 0:
        raise ValueError("attention with active dropout is random")
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (jnp.repeat(v, groups, axis=-3) for v in (key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    logits = jnp.einsum("...qe,...ke->...qk", query, key, precision=lax.Precision.HIGHEST) * scale
    if is_causal:
        attn_mask = np.tri(query.shape[-2], key.shape[-2], dtype=bool)
    if attn_mask is not None:
        if attn_mask.dtype == bool:
            logits = jnp.where(attn_mask, logits, -jnp.inf)
        else:
            logits = logits + attn_mask
    weights = softmax(logits, -1) if attn_mask is None else safe_softmax(logits, -1)
    return jnp.matmul(weights, value, precision=lax.Precision.HIGHEST)
