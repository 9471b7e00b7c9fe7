r"""How many wide networks that learned a permutation of k bits must be averaged to apply it exactly.

The mean output of N networks of the law of `theory.permutations` is right in a bit where its sign is. The number that
is needed is the ensemble complexity: of order k ln k for one word (arXiv:2502.16763).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky
from scipy.special import gammaln, log_ndtr, logsumexp

from hebbian import validation
from hebbian.permutations import PermutationTask
from theory.permutations import OutputLaw, joint_law, output_law

Array = NDArray[np.float64]

TAILS = ("exponential", "gaussian")
# Most bits for which all words are sampled together.
LARGEST_K = 12
_MOST_MEMBERS = 2**53
# Added to the variances of words before a Cholesky decomposition, relative to the largest.
_JITTER = 1e-12


def success_probability(
    n_members: ArrayLike, k: int, n_ones: int, sigma_w: float = 1.0, regime: str = "ntk"
) -> NDArray[np.float64]:
    r"""Return the probability that the mean output of trained networks is right in all bits of one word.

    .. math::
        P = \Phi(\sqrt{N/{\rm var}}\, w_1)^{n_1}\, \Phi(\sqrt{N/{\rm var}}\, |w_0|)^{k - n_1}

    Parameters
    ----------
    n_members : array_like
        Number N of networks, at least 1.
    k, n_ones : int
        Bits, and ones of the word.
    sigma_w, regime
        See `output_law`.

    Returns
    -------
    ndarray
        Of the shape of `n_members`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    N = validation.rectangular("n_members", n_members)
    N = validation.finite("n_members", N, (None,) * N.ndim).astype(np.float64)
    if (N < 1).any():
        raise ValueError(f"n_members has an entry {N.min()}; allowed: >= 1")
    return np.exp(_log_success(N, output_law(k, n_ones, sigma_w, regime), k, n_ones))


def ensemble_size(k: int, n_ones: int, p: float = 0.9, sigma_w: float = 1.0, regime: str = "ntk") -> int:
    r"""Return the least number of networks whose mean output is right on a word with probability p.

    Parameters
    ----------
    k, n_ones : int
        Bits, and ones of the word.
    p : float
        Probability, in (0, 1).
    sigma_w, regime
        See `output_law`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or more than 2^53 networks are needed.

    Examples
    --------
    >>> [ensemble_size(10, 2, regime=regime) for regime in ("ntk", "readout")]
    [333, 58]
    """
    p = validation.real("p", p, above=0.0, below=1.0)
    law = output_law(k, n_ones, sigma_w, regime)
    return _least(lambda N: _log_success(np.array(N), law, k, n_ones) >= math.log(p), f"p = {p}", k, sigma_w)


def ensemble_size_bound(
    k: int,
    delta: float,
    n_ones: int | str | None = None,
    sigma_w: float = 1.0,
    regime: str = "ntk",
    tails: str = "exponential",
) -> int:
    r"""Return a number of networks that is enough, by the union bound over coordinates.

    .. math::
        N \ge \frac{2\,{\rm var}}{\min(w_1, |w_0|)^2} \ln\frac k\delta = O(k \ln k)

    for a word, and for all at once :math:`\ln(k(2^k-1)/\delta)` with the largest of all ratios, :math:`O(k^2)`. With
    Gaussian tails the probabilities of wrong bits are summed, each as it is: because most words are much easier than
    those of two ones, this grows for all words at once as :math:`k \ln k` too (to k = 640).

    Parameters
    ----------
    k : int
        Number of bits, at least 2.
    delta : float
        Probability that some bit is wrong, in (0, 1).
    n_ones : int or "all", optional
        Ones of one word; by default the number that needs most; "all": all words at once.
    sigma_w, regime
        See `output_law`.
    tails : {"exponential", "gaussian"}
        Whether the tail of a coordinate is bounded by :math:`e^{-x^2/2}`, and by the worst of all coordinates.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or more than 2^53 networks are needed.

    Examples
    --------
    >>> [ensemble_size_bound(10, 0.1, "all", tails=tails) for tails in ("exponential", "gaussian")]
    [1551, 801]
    """
    k = validation.integer("k", k, minimum=2)
    delta = validation.real("delta", delta, above=0.0, below=1.0)
    validation.choice("tails", tails, TAILS)
    if isinstance(n_ones, str):
        validation.choice("n_ones", n_ones, ("all",))
    weights = [n_ones] if isinstance(n_ones, int) else list(range(1, k + 1))
    laws = {n: output_law(k, n, sigma_w, regime) for n in weights}
    if tails == "exponential":
        words = k * math.log(2) + math.log1p(-(2.0**-k)) if n_ones == "all" else 0.0
        return max(1, math.ceil(2 * max(map(_noise_ratio, laws.values())) * (math.log(k / delta) + words)))

    def few(N: float) -> bool:
        failures = [_log_failure(N, law, k, n, words=n_ones == "all") for n, law in laws.items()]
        return (logsumexp(failures) if n_ones == "all" else max(failures)) <= math.log(delta)

    return _least(few, f"delta = {delta}", k, sigma_w)


def ensemble_size_all(
    k: int, p: float, n_samples: int, rng: np.random.Generator, sigma_w: float = 1.0, regime: str = "ntk"
) -> tuple[float, float]:
    r"""Return the number of networks whose mean output is right on all words with probability p, by Monte Carlo.

    The mean of N networks is :math:`W + g/\sqrt N` with g of covariance C (`joint_law`): a coordinate is right on all
    words if :math:`\sqrt N > \max_x (-g_x/W_x)`. The p-quantile over draws of the largest over coordinates is returned.

    Parameters
    ----------
    k : int
        Number of bits, 2 to 12.
    p : float
        Probability, in (0, 1).
    n_samples : int
        Draws, at least 100.
    rng : numpy.random.Generator
        Source of random numbers.
    sigma_w, regime
        See `output_law`.

    Returns
    -------
    size, error : float
        Quantile of N and its standard error.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    k = validation.integer("k", k, minimum=2, maximum=LARGEST_K)
    p = validation.real("p", p, above=0.0, below=1.0)
    n_samples = validation.integer("n_samples", n_samples, minimum=100)
    rng = validation.generator("rng", rng)
    A = PermutationTask(k).inputs(range(2, k + 1))
    W, C = joint_law(k, A, sigma_w, regime)
    C[np.diag_indices_from(C)] += _JITTER * C.max()
    factor = cholesky(C, lower=True, overwrite_a=True)
    # In units of the deviation that turns the sign of the coordinate; coordinates are independent.
    needed = np.zeros(n_samples)
    for i in range(k):
        g = factor @ rng.standard_normal((len(A), n_samples))
        needed = np.maximum(needed, (-g / W[:, i, None]).max(0))
    needed = np.sort(needed) ** 2
    # Half of the distance between the order statistics one binomial deviation below and above.
    spread = math.sqrt(n_samples * p * (1 - p))
    below, above = np.clip([n_samples * p - spread, n_samples * p + spread], 0, n_samples - 1).astype(int)
    return float(np.quantile(needed, p)), float(needed[above] - needed[below]) / 2


def _log_success(N: Array, law: OutputLaw, k: int, n: int) -> Array:
    if law.var == 0:
        return np.zeros_like(N)
    scale = np.sqrt(N / law.var)
    off = (k - n) * log_ndtr(-scale * law.mean_off) if n < k else 0.0
    return n * log_ndtr(scale * law.mean_on) + off


def _log_failure(N: float, law: OutputLaw, k: int, n: int, *, words: bool) -> float:
    """Return the logarithm of the summed probabilities of wrong bits, in one word of n ones or in all of them."""
    if law.var == 0:
        return -math.inf
    scale = math.sqrt(N / law.var)
    terms = [math.log(n) + log_ndtr(-scale * law.mean_on)]
    if n < k:
        terms.append(math.log(k - n) + log_ndtr(scale * law.mean_off))
    number = gammaln(k + 1) - gammaln(n + 1) - gammaln(k - n + 1) if words else 0.0
    return float(number + logsumexp(terms))


def _least(enough: Callable[[float], Any], what: str, k: int, sigma_w: float) -> int:
    """Return the least number of networks that is enough."""
    low, high = 0, 1
    while not enough(float(high)):
        low, high = high, 2 * high
        if high > _MOST_MEMBERS:
            raise ValueError(f"{what} with k = {k} and sigma_w = {sigma_w} needs over 2^53 networks; allowed: fewer")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(float(middle)) else (middle, high)
    return high


def _noise_ratio(law: OutputLaw) -> float:
    """Return var over the square of the smaller mean; 0 where there is no noise."""
    return 0.0 if law.var == 0 else law.var / float(np.nanmin([law.mean_on, abs(law.mean_off)])) ** 2
