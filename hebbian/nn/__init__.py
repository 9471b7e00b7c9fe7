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
from hebbian.nn.monotone_dbm import MeanFieldLayer, MeanFieldOutput, MonotoneDBM, SoftmaxProx
from hebbian.nn.monotone_dbm_conv import MonotoneConvDBM
from hebbian.nn.monotone_dbm_loss import CompletionClassificationLoss, CompletionLoss
from hebbian.nn.ntk_mlp import NTKMLP

__all__ = [
    "NTKMLP",
    "BiasedRandomFeatureAttention",
    "CompletionClassificationLoss",
    "CompletionLoss",
    "MeanFieldLayer",
    "MeanFieldOutput",
    "MonotoneConvDBM",
    "MonotoneDBM",
    "RandomFeatureAttention",
    "RandomFeatureMLP",
    "ReluAttentionLayer",
    "SoftmaxProx",
]
