"""Neural layers, one file a paper; needs PyTorch, which the extra ``nn`` brings."""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError('torch is not installed; allowed: pip install "hebbian[nn]"') from error

from hebbian.nn.attention_features import (
    BiasedRandomFeatureAttention,
    RandomFeatureAttention,
    RandomFeatureMLP,
    ReluAttentionLayer,
)

__all__ = [
    "BiasedRandomFeatureAttention",
    "RandomFeatureAttention",
    "RandomFeatureMLP",
    "ReluAttentionLayer",
]
