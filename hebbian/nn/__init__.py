"""Neural layers, one file a paper; needs PyTorch, which the extra ``nn`` brings."""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError('torch is not installed; allowed: pip install "hebbian[nn]"') from error

from hebbian.nn.ntk_mlp import NTKMLP

__all__ = ["NTKMLP"]
