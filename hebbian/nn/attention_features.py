r"""An attention layer whose query-key matrices are random and frozen: a model linear in its value vectors.

An input is a query token x_0 and keys x_1, ..., x_N of dimension d; a constant is added to each,
:math:`\tilde x = [x; 1]`. With M heads,

.. math::
    f(x) = \sum_{m=1}^M \frac1N \sum_{i=1}^N
        \sigma(\langle \tilde x_0, W_m \tilde x_i \rangle)\, \langle v_m, \tilde x_i \rangle .

Its features, which the value vectors v multiply, are invariant under permutations of the keys.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from hebbian import validation
from hebbian.attention_targets import identity_bias

ACTIVATIONS = ("relu", "exp", "softmax")


class RandomFeatureAttention(nn.Module):
    r"""Attention with frozen random query-key matrices and trainable value vectors.

    .. math::
        W_m = W_0 + \sqrt{\text{weight\_var}}\, G_m, \qquad G_m \text{ of independent standard normal entries}

    Scores of unit tokens have variance 1 around :math:`\langle \tilde x_0, W_0 \tilde x_i \rangle` at the default
    variance. `softmax` replaces :math:`\sigma(\cdot)/N` by weights that sum to 1 over keys.

    Parameters
    ----------
    d : int
        Dimension of a token, at least 1.
    n_heads : int
        Number M of heads, at least 1.
    bias_matrix : array_like, optional
        Mean W_0 of the query-key matrices, shape (d + 1, d + 1); zero by default.
    weight_var : float
        Variance of their entries, at least 0.
    activation : {"relu", "exp", "softmax"}
        What is made of the scores.
    seed : int
        Seed of the matrices, 0 to 2^64 - 1; layers of one seed share G whatever their mean.
    device, dtype : optional
        As of any PyTorch module; random numbers are drawn in double precision on the CPU.

    Attributes
    ----------
    V : Parameter, shape (M, d + 1)
        Value vectors, zero at first: gradient descent then goes to the fit of least norm.
    W : buffer, shape (M, d + 1, d + 1)
        Query-key matrices, no parameter.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range; by a call, if tokens are not finite, of another dimension, or fewer than 2.

    References
    ----------
    Fu, Guo, Bai, Mei, NeurIPS 2023, arXiv:2307.11353.

    Examples
    --------
    >>> layer = RandomFeatureAttention(d=2, n_heads=5, seed=0)
    >>> x = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    >>> layer.features(x).shape, layer(x)
    (torch.Size([1, 15]), tensor([0.], grad_fn=<MvBackward0>))
    """

    W: torch.Tensor

    def __init__(
        self,
        d: int,
        n_heads: int,
        bias_matrix: ArrayLike | None = None,
        weight_var: float = 0.25,
        activation: str = "relu",
        *,
        seed: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.d = validation.integer("d", d, minimum=1)
        self.n_heads = validation.integer("n_heads", n_heads, minimum=1)
        self.weight_var = validation.real("weight_var", weight_var, minimum=0.0)
        self.activation = validation.choice("activation", activation, ACTIVATIONS)
        self.seed = _check_seed(seed)
        mean = np.zeros((d + 1, d + 1)) if bias_matrix is None else bias_matrix
        self._mean = torch.tensor(validation.finite("bias_matrix", mean, (d + 1, d + 1)), dtype=torch.float64)
        self._declare(torch.empty(self.n_heads, d + 1, d + 1, device=device, dtype=dtype))
        self.V = nn.Parameter(torch.empty(self.n_heads, d + 1, device=device, dtype=dtype))
        self.reset_parameters()

    def _declare(self, W: torch.Tensor) -> None:
        """Register the query-key matrices."""
        self.register_buffer("W", W)

    def reset_parameters(self) -> None:
        """Draw the query-key matrices of the seed, and set the value vectors to zero."""
        noise = _normal(self.seed, self.n_heads, self.d + 1, self.d + 1)
        with torch.no_grad():
            self.W.copy_(self._mean + math.sqrt(self.weight_var) * noise)
            self.V.zero_()

    def features(self, x: torch.Tensor) -> torch.Tensor:
        r"""Return :math:`(1/N) \sum_i \sigma(\langle \tilde x_0, W_m \tilde x_i \rangle)\, \tilde x_i` for all m.

        Parameters
        ----------
        x : Tensor, shape (B, N + 1, d)
            Query and keys.

        Returns
        -------
        Tensor, shape (B, M (d + 1))
            The derivative of the output with respect to V.
        """
        _check_tokens(x, self.d)
        xt = _with_constant(x)
        keys = xt[:, 1:]
        # The query first: M (d+1)^2 and M N (d+1) products an input, and nothing of size M N (d+1) is kept.
        rows = torch.einsum("ba,mac->bmc", xt[:, 0], self.W)
        scores = rows @ keys.transpose(1, 2)
        if self.activation == "softmax":
            return (torch.softmax(scores, -1) @ keys).flatten(1)
        weights = torch.relu(scores) if self.activation == "relu" else torch.exp(scores)
        return (weights @ keys).flatten(1) / keys.shape[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return f of inputs of shape (B, N + 1, d), shape (B,)."""
        return self.features(x) @ self.V.flatten()

    def extra_repr(self) -> str:
        """Return what the layer's line says in brackets."""
        return f"d={self.d}, n_heads={self.n_heads}, activation={self.activation!r}, seed={self.seed}"


class BiasedRandomFeatureAttention(RandomFeatureAttention):
    r"""Random-feature attention whose matrices have the mean :math:`W_0 = s\, {\rm blockdiag}(I_d, 0)`.

    Scores then have the mean :math:`s \langle x_0, x_i \rangle`.

    Parameters
    ----------
    d, n_heads : int
        Dimension of a token and number of heads, at least 1.
    scale : float
        s.
    **options
        See `RandomFeatureAttention`.
    """

    def __init__(self, d: int, n_heads: int, scale: float = 1.0, **options: Any) -> None:
        self.scale = validation.real("scale", scale)
        super().__init__(d, n_heads, identity_bias(d, self.scale), **options)


class ReluAttentionLayer(RandomFeatureAttention):
    """The attention layer in full: as `RandomFeatureAttention`, with trainable query-key matrices too.

    Parameters
    ----------
    d, n_heads : int
        Dimension of a token and number of heads, at least 1.
    **options
        See `RandomFeatureAttention`.

    Attributes
    ----------
    V : Parameter, shape (M, d + 1)
    W : Parameter, shape (M, d + 1, d + 1)
    """

    def _declare(self, W: torch.Tensor) -> None:
        self.W = nn.Parameter(W)


class RandomFeatureMLP(nn.Module):
    r"""Random features of all tokens in one vector, which know nothing of the symmetry of the keys.

    .. math::
        f(x) = \sum_m v_m\, {\rm ReLU}(\langle w_m, [x_0; \ldots; x_N; 1] \rangle), \qquad
        w_m \sim \mathcal N(0, I/(N+2))

    Parameters
    ----------
    d, N : int
        Dimension of a token and number of keys, at least 1.
    n_units : int
        Number of units, at least 1; M (d + 1) of them train as many parameters as M heads.
    seed : int
        Seed of the weights, 0 to 2^64 - 1.
    device, dtype : optional
        As of any PyTorch module.

    Attributes
    ----------
    v : Parameter, shape (n_units,)
        Output weights, zero at first.
    w : buffer, shape (n_units, (N + 1) d + 1)
        First weights, no parameter.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range; by a call, if tokens are not finite or of another number or dimension.

    References
    ----------
    Fu, Guo, Bai, Mei, NeurIPS 2023, arXiv:2307.11353.
    """

    w: torch.Tensor

    def __init__(self, d: int, N: int, n_units: int, *, seed: int = 0, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.d, self.N = validation.integer("d", d, minimum=1), validation.integer("N", N, minimum=1)
        self.n_units = validation.integer("n_units", n_units, minimum=1)
        self.seed = _check_seed(seed)
        self.register_buffer("w", torch.empty(self.n_units, (N + 1) * d + 1, device=device, dtype=dtype))
        self.v = nn.Parameter(torch.empty(self.n_units, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first weights of the seed, and set the output weights to zero."""
        with torch.no_grad():
            self.w.copy_(_normal(self.seed, *self.w.shape) / math.sqrt(self.N + 2))
            self.v.zero_()

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the units of inputs of shape (B, N + 1, d), shape (B, n_units)."""
        _check_tokens(x, self.d)
        if x.shape[1] != self.N + 1:
            raise ValueError(f"x has {x.shape[1]} tokens; allowed: {self.N + 1}, a query and N = {self.N} keys")
        return torch.relu(_with_constant(x.flatten(1)) @ self.w.T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return f of inputs of shape (B, N + 1, d), shape (B,)."""
        return self.features(x) @ self.v

    def extra_repr(self) -> str:
        """Return what the layer's line says in brackets."""
        return f"d={self.d}, N={self.N}, n_units={self.n_units}, seed={self.seed}"


def _check_seed(seed: int) -> int:
    return validation.integer("seed", seed, minimum=0, maximum=2**64 - 1)


def _normal(seed: int, *shape: int) -> torch.Tensor:
    """Return standard normal numbers, in double precision on the CPU."""
    # PyTorch reads the upper half of its seeds as negative numbers.
    generator = torch.Generator().manual_seed(seed if seed < 2**63 else seed - 2**64)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _with_constant(x: torch.Tensor) -> torch.Tensor:
    """Return vectors with a 1 behind their entries."""
    return torch.cat([x, torch.ones_like(x[..., :1])], -1)


def _check_tokens(x: torch.Tensor, d: int) -> None:
    """Raise unless x has the shape (B, N + 1 >= 2, d) and is finite; what is compiled checks the shape alone."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"x is a {type(x).__name__}; allowed: torch.Tensor")
    if x.ndim != 3 or x.shape[1] < 2 or x.shape[2] != d:
        raise ValueError(f"x has shape {tuple(x.shape)}; allowed: (any, at least 2 tokens: a query and keys, d = {d})")
    if not torch.compiler.is_compiling() and not x.isfinite().all():
        where = tuple((~x.isfinite()).nonzero()[0].tolist())
        raise ValueError(f"x has an entry {x[where]} at {where}; allowed: finite numbers")
