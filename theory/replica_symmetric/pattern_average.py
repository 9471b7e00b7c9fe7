r"""Averages of a spin over the entries of K diluted patterns and their data noise, without sampling.

A spin in the field :math:`X = \sum_\mu n_\mu \hat\eta^\mu` of independent entries :math:`\hat\eta = \xi x`: blank with
probability d, else :math:`\xi = \pm 1` and x the normalised example mean. Two exact sums, of which the cheaper serves:

- over frequencies, T > 0, at a cost of :math:`K^2` for each: with y = X/T,

  .. math::
      \tanh y = \int_0^\infty \frac{\sin \tau y}{\sinh(\pi\tau/2)} d\tau, \qquad
      \ln\cosh y = \int_0^\infty \frac{1 - \cos\tau y}{\tau\sinh(\pi\tau/2)} d\tau,

  and the average of a product over independent patterns is a product. By Poisson's formula the midpoint rule of step h
  repeats tanh y, with alternating signs, at a distance of :math:`2\pi/h`: its error is
  :math:`2 e^{-2(2\pi/h - |y|)}`, below 1e-14 with the step taken here, and that of the cut at
  :math:`\tau = 24` is below 1e-15. Hundreds of patterns take what two would.
- over the values of all entries: any T, T = 0 included, for few patterns; with Gaussian data noise X is Gaussian
  given the archetypes, an average that `quadrature` knows.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hebbian import DenseHebbian, MultitaskingHebbian, validation
from hebbian.compilation import cached_njit
from theory.replica_symmetric import disorder
from theory.replica_symmetric.quadrature import DECAYING, NORMAL, spin_averages, spin_entropy

#: The most terms of a sum over the values of all entries.
LARGEST_ENUMERATION = 20_000_000
#: The lowest temperature above 0 of the sum over frequencies, whose terms grow as 1/T.
LOWEST_T = 1e-4
#: Whether second and fourth `averages` are needed. Truth values of NumPy: Numba compiles anew for either of Python's.
CURVED, FLAT = np.bool_(True), np.bool_(False)
#: Takes the place of an infinite curvature, at T = 0 in fields that vanish.
SINGULAR = 1e12

_CUT = 24.0
_MARGIN = 17.0
# What the probability of the fields beyond the period of the midpoint rule is below: 2 exp(-36).
_RARE = 36.0
# A number of patterns whose values nobody sums, and whose power is a float.
_MANY = 60
# A Gaussian average takes the time of so many terms.
_GAUSSIAN_TERMS = 20
# A field at T = 0 is zero if so much smaller than its parts.
_ROUNDING = 1e-12


class Entries(NamedTuple):
    r"""Law of the entries :math:`\hat\eta = \xi x` of a pattern.

    Parameters
    ----------
    dilution : float
        d, the probability of a blank.
    mean, deviation : float
        Mean and standard deviation of x; 1 and 0 when storing.
    quality, examples : float
        r and M of the binomial law of x; M = 0: x is Gaussian, or 1.
    lattice : ndarray, shape (4, L)
        Values of :math:`\hat\eta`, ascending and symmetric about 0; their probabilities; given the value, the mean of
        the archetype's entry and the probability that it is no blank. Empty where x is not discrete, or the values of K
        entries are too many to be summed.
    terms : float
        Cost of the sum over the values of K entries.
    """

    dilution: float
    mean: float
    deviation: float
    quality: float
    examples: float
    lattice: NDArray[np.float64]
    terms: float


def entries(model: MultitaskingHebbian, *, K: int, data_noise: str = "auto") -> Entries:
    r"""Return the law of the entries of K patterns of a model.

    Parameters
    ----------
    model : MultitaskingHebbian
        Its dilution, training, quality and examples are used.
    K : int
        Number of patterns.
    data_noise : {"auto", "binomial", "gaussian"}
        Law of the example mean x; ``auto`` is the binomial one, exact at any number of examples.

    Returns
    -------
    Entries

    Raises
    ------
    ValueError
        If `data_noise` is unknown.
    """
    validation.choice("data_noise", data_noise, disorder.DATA_NOISES)
    r, M = model.quality or 1.0, model.examples or 1
    storing = r == 1.0
    binomial = data_noise != "gaussian" and not storing
    mean, deviation = 1.0, 0.0
    if not storing:
        mean, deviation = 1 / math.sqrt(1 + model.rho), math.sqrt(model.rho / (1 + model.rho))
    many = min(K, _MANY)
    lattice, terms = np.empty((4, 0)), math.inf if binomial else _GAUSSIAN_TERMS * 3.0**many
    # The weight of the binomial law lies within about 10 sqrt(M) values, see `disorder`.
    if storing or (binomial and min(M, 10 * math.sqrt(M)) ** many <= LARGEST_ENUMERATION):
        undiluted = DenseHebbian(N=2, P=2, training=model.training, quality=model.quality, examples=model.examples)
        mean_of_examples = disorder.network(undiluted, load=1.0, T=0.0, data_noise="binomial")
        lattice = _lattice(model.dilution, mean_of_examples.x, mean_of_examples.weight)
        terms = float(lattice.shape[1]) ** many
    return Entries(model.dilution, mean, deviation, r, float(M) if binomial else 0.0, lattice, terms)


def _lattice(d: float, x: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    values, place = np.unique(np.concatenate([x, -x, [0.0]]), return_inverse=True)
    probability, signed, filled = np.zeros((3, values.size))
    half = (1 - d) / 2 * weight
    np.add.at(signed, place, np.concatenate([half, -half, [0.0]]))
    np.add.at(filled, place, np.concatenate([half, half, [0.0]]))
    np.add.at(probability, place, np.concatenate([half, half, [d]]))
    possible = probability > 0
    scale = np.where(possible, probability, 1.0)
    return np.stack([values, probability, signed / scale, filled / scale])


@cached_njit(error_model="numpy")
def averages(
    n: NDArray[np.float64], T: float, law: Entries, curved: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float, float]:
    r"""Averages of a spin in the field :math:`X = \sum_\mu n_\mu\hat\eta^\mu`.

    Parameters
    ----------
    n : ndarray, shape (K,)
        Amplitudes.
    T : float
        Temperature, T >= 0.
    law : Entries
        Law of :math:`\hat\eta`.
    curved : bool
        Whether the second and fourth averages are needed; they are 0 otherwise.

    Returns
    -------
    tuple
        :math:`E[\hat\eta^\mu\tanh(X/T)]` and :math:`E[\xi^\mu\tanh(X/T)]`, shape (K,);
        :math:`E[\hat\eta^\mu\hat\eta^\nu{\rm sech}^2(X/T)]/T`, shape (K, K);
        :math:`E[(\xi^\mu)^2{\rm sech}^2(X/T)]/T`, shape (K,); :math:`T\,E\ln 2\cosh(X/T)`; the entropy
        :math:`E[\ln 2\cosh(X/T) - (X/T)\tanh(X/T)]`. At T = 0 their limits, with sign(0) = 0 and `SINGULAR` for the
        curvature of a field that vanishes.
    """
    if T == 0.0 or law.terms <= n.size * frequencies(n, T, law):
        return over_values(n, T, law, curved)
    return over_frequencies(n, T, law, curved)


@cached_njit(error_model="numpy")
def _largest_field(n: NDArray[np.float64], law: Entries) -> float:
    """Return what |X| exceeds with a probability below 1e-15: its bound, or Hoeffding's."""
    total, squares = np.sum(np.abs(n)), np.sum(n * n)
    if law.examples > 0.0:
        R = law.quality**2 + (1.0 - law.quality**2) / law.examples
        variance = (law.quality**2 + 1.0 / law.examples) / R
        return min(total / math.sqrt(R), math.sqrt(2.0 * _RARE * variance * squares))
    hoeffding = math.sqrt(2.0 * _RARE * squares)
    return hoeffding if law.deviation > 0.0 else min(total, hoeffding)


@cached_njit(error_model="numpy")
def frequencies(n: NDArray[np.float64], T: float, law: Entries) -> float:
    """Return the number of frequencies that `over_frequencies` needs."""
    return math.ceil(_CUT * (_largest_field(n, law) / T + _MARGIN) / (2.0 * math.pi))


@cached_njit(error_model="numpy")
def _characteristic(u: float, law: Entries) -> tuple[float, float, float, float, float]:
    r"""Return the averages of cos, :math:`\hat\eta` sin, xi sin, :math:`\hat\eta^2` cos, xi^2 cos, of u hat_eta."""
    filled = 1.0 - law.dilution
    if u == 0.0:
        return 1.0, 0.0, 0.0, filled, filled
    if law.examples == 0.0 and law.deviation == 0.0:
        cos, sin = filled * math.cos(u), filled * math.sin(u)
        return law.dilution + cos, sin, sin, cos, cos
    # phi(u) = E exp(iux), and its derivatives by those of ln phi.
    if law.examples > 0.0:
        r, M = law.quality, law.examples
        root = math.sqrt(r * r + (1.0 - r * r) / M)
        cos, sin = math.cos(u / (M * root)), math.sin(u / (M * root))
        modulus2 = 1.0 - (1.0 - r * r) * sin * sin
        modulus = math.exp(0.5 * M * math.log1p(-(1.0 - r * r) * sin * sin))
        phase = M * math.atan2(r * sin, cos)
        # (-sin + i r cos)/(cos + i r sin)
        slope = complex(-(1.0 - r * r) * sin * cos, r) / (modulus2 * root)
        square = (1.0 - 1.0 / M) * slope * slope - 1.0 / (M * root * root)
    else:
        variance = law.deviation**2
        modulus, phase = math.exp(-0.5 * variance * u * u), law.mean * u
        slope = complex(-variance * u, law.mean)
        square = slope * slope - variance
    phi = complex(filled * modulus * math.cos(phase), filled * modulus * math.sin(phase))
    return law.dilution + phi.real, -(phi * slope).real, phi.imag, -(phi * square).real, phi.real


@cached_njit(error_model="numpy")
def over_frequencies(
    n: NDArray[np.float64], T: float, law: Entries, curved: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float, float]:
    """Return what `averages` does, for T > 0."""
    K = n.size
    first, magnetisation, nonblank = np.zeros(K), np.zeros(K), np.zeros(K)
    curvature = np.zeros((K, K))
    cos, odd, sign, square, filled = np.empty(K), np.empty(K), np.empty(K), np.empty(K), np.empty(K)
    before, after = np.ones(K + 1), np.ones(K + 1)
    step = 2.0 * math.pi / (_largest_field(n, law) / T + _MARGIN)
    log_cosh = 0.0
    for k in range(math.ceil(_CUT / step)):
        tau = (k + 0.5) * step
        weight = step / math.sinh(0.5 * math.pi * tau)
        # Factors can vanish: products of all but some of them are built up from both ends, not divided.
        for mu in range(K):
            cos[mu], odd[mu], sign[mu], square[mu], filled[mu] = _characteristic(tau * n[mu] / T, law)
            before[mu + 1] = before[mu] * cos[mu]
        for mu in range(K - 1, -1, -1):
            after[mu] = after[mu + 1] * cos[mu]
        log_cosh += weight / tau * (1.0 - before[K])
        for mu in range(K):
            others = weight * before[mu] * after[mu + 1]
            first[mu] += others * odd[mu]
            magnetisation[mu] += others * sign[mu]
            if curved:
                curvature[mu, mu] += tau * others * square[mu]
                nonblank[mu] += tau * others * filled[mu]
                between = -tau * weight * before[mu] * odd[mu]
                for nu in range(mu + 1, K):
                    curvature[mu, nu] += between * odd[nu] * after[nu + 1]
                    between *= cos[nu]
    _mirror(curvature)
    free = math.log(2.0) + log_cosh
    return first, magnetisation, curvature / T, nonblank / T, T * free, free - np.sum(n * first) / T


@cached_njit(error_model="numpy")
def over_values(
    n: NDArray[np.float64], T: float, law: Entries, curved: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float, float]:
    """Return what `averages` does, for few patterns."""
    if law.lattice.shape[1] > 0:
        return _over_lattice(n, T, law.lattice, curved)
    return _over_archetypes(n, T, law, curved)


@cached_njit(error_model="numpy")
def _over_lattice(
    n: NDArray[np.float64], T: float, lattice: NDArray[np.float64], curved: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float, float]:
    K, L = n.size, lattice.shape[1]
    first, magnetisation, nonblank = np.zeros(K), np.zeros(K), np.zeros(K)
    curvature = np.zeros((K, K))
    free = entropy = 0.0
    # Sums over the entries before each pattern of one configuration; averages over all entries from each pattern on.
    field, size, weight = np.zeros(K + 1), np.zeros(K + 1), np.ones(K + 1)
    tanh, chi, chi_entry = np.zeros(K + 1), np.zeros(K + 1), np.zeros((K + 1, K))
    place = np.zeros(K, dtype=np.int64)
    # Opposite configurations contribute the same: the first entry is never negative.
    place[0] = L // 2
    mu = 0
    while True:
        for nu in range(mu, K):
            part = n[nu] * lattice[0, place[nu]]
            field[nu + 1] = field[nu] + part
            size[nu + 1] = size[nu] + abs(part)
            weight[nu + 1] = weight[nu] * lattice[1, place[nu]]
            if nu == 0 and place[0] > L // 2:
                weight[1] *= 2.0
        spin_tanh, spin_chi, spin_s = _spin(field[K], T, _ROUNDING * size[K])
        tanh[K], chi[K] = weight[K] * spin_tanh, weight[K] * spin_chi
        free += weight[K] * (field[K] * spin_tanh + T * spin_s)
        entropy += weight[K] * spin_s
        mu = K
        while mu > 0:
            mu -= 1
            value = lattice[0, place[mu]]
            first[mu] += value * tanh[mu + 1]
            magnetisation[mu] += lattice[2, place[mu]] * tanh[mu + 1]
            tanh[mu] += tanh[mu + 1]
            tanh[mu + 1] = 0.0
            if curved:
                nonblank[mu] += lattice[3, place[mu]] * chi[mu + 1]
                chi_entry[mu, mu] += value * chi[mu + 1]
                curvature[mu, mu] += value * value * chi[mu + 1]
                for nu in range(mu + 1, K):
                    curvature[mu, nu] += value * chi_entry[mu + 1, nu]
                    chi_entry[mu, nu] += chi_entry[mu + 1, nu]
                    chi_entry[mu + 1, nu] = 0.0
                chi[mu] += chi[mu + 1]
                chi[mu + 1] = 0.0
            place[mu] += 1
            if place[mu] < L:
                break
            place[mu] = 0
        else:
            break
    _mirror(curvature)
    return first, magnetisation, curvature, nonblank, free, entropy


@cached_njit(error_model="numpy")
def _over_archetypes(
    n: NDArray[np.float64], T: float, law: Entries, curved: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float, float]:
    K, a, b = n.size, law.mean, law.deviation
    first, magnetisation, nonblank = np.zeros(K), np.zeros(K), np.zeros(K)
    curvature = np.zeros((K, K))
    free = entropy = 0.0
    probability = np.array([0.5 * (1.0 - law.dilution), law.dilution, 0.5 * (1.0 - law.dilution)])
    place = np.zeros(K, dtype=np.int64)
    place[0] = 1
    while True:
        xi = place - 1.0
        field, deviation, weight = 0.0, 0.0, 1.0 if place[0] == 1 else 2.0
        for mu in range(K):
            field += a * n[mu] * xi[mu]
            deviation += (b * n[mu] * xi[mu]) ** 2
            weight *= probability[place[mu]]
        deviation = math.sqrt(deviation)
        if deviation > 0.0:
            tanh, chi, _, slope, bend = spin_averages(field, deviation, T, DECAYING, NORMAL)
            spin_s = T * spin_entropy(field, deviation, T, DECAYING, NORMAL)
        else:
            tanh, chi, spin_s = _spin(field, T, 0.0)
            slope = bend = 0.0
        # Stein's lemma: E[g F(X)] = b n xi E F'(X) for the normal variable g of a pattern, once or twice.
        free += weight * (field * tanh + deviation**2 * chi + T * spin_s)
        entropy += weight * spin_s
        for mu in range(K):
            first[mu] += weight * (a * xi[mu] * tanh + b * b * n[mu] * xi[mu] ** 2 * chi)
            magnetisation[mu] += weight * xi[mu] * tanh
        if curved:
            for mu in range(K):
                nonblank[mu] += weight * xi[mu] ** 2 * chi
                curvature[mu, mu] += weight * b * b * xi[mu] ** 2 * chi
                for nu in range(mu, K):
                    through_mu, through_nu = b * b * n[mu] * xi[mu], b * b * n[nu] * xi[nu]
                    curvature[mu, nu] += (weight * xi[mu] * xi[nu]) * (
                        a * a * chi + a * (through_mu + through_nu) * slope + through_mu * through_nu * bend
                    )
        if not _advance(place, 3, 1):
            break
    _mirror(curvature)
    return first, magnetisation, curvature, nonblank, free, entropy


@cached_njit(error_model="numpy")
def _spin(field: float, T: float, zero: float) -> tuple[float, float, float]:
    """Return tanh(field/T), its derivative and the entropy of the spin; at T = 0 fields up to `zero` vanish."""
    if T == 0.0:
        if abs(field) <= zero:
            return 0.0, SINGULAR, math.log(2.0)
        return math.copysign(1.0, field), 0.0, 0.0
    y = abs(field) / T
    decay = math.exp(-2.0 * y)
    return (
        math.copysign((1.0 - decay) / (1.0 + decay), field),
        4.0 * decay / ((1.0 + decay) ** 2 * T),
        math.log1p(decay) + 2.0 * y * decay / (1.0 + decay),
    )


@cached_njit(error_model="numpy")
def _advance(place: NDArray[np.int64], base: int, lowest: int) -> bool:
    """Count on, the first digit from `lowest`; return False after the last number."""
    for mu in range(place.size - 1, -1, -1):
        place[mu] += 1
        if place[mu] < base:
            return True
        place[mu] = lowest if mu == 0 else 0
    return False


@cached_njit(error_model="numpy")
def _mirror(matrix: NDArray[np.float64]) -> None:
    for mu in range(matrix.shape[0]):
        for nu in range(mu):
            matrix[mu, nu] = matrix[nu, mu]
