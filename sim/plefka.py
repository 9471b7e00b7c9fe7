r"""Deterministic mean-field dynamics of one quenched sample, by Plefka's expansion of its free energy."""

import math

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import HebbianNetwork, QuenchedSample, validation
from hebbian.compilation import cached_njit
from sim.glauber import front, kernels

LABELS = front.LABELS | {
    "q": ("mean squared magnetisation of a site", "1"),
    "iterations": ("sweeps done", "1"),
    "converged": ("whether the largest change of a sweep fell below the tolerance", "1"),
    "magnetisation": ("magnetisation of every site", "1"),
}


def effective_dynamics(
    sample: QuenchedSample,
    *,
    T: ArrayLike,
    order: int = 1,
    iterations: int = 1000,
    tolerance: float = 1e-9,
    damping: float = 0.0,
    seed: int,
    task: tuple[int, ...] = (0,),
    initial: str | ArrayLike = "pure",
    corruption: float = 0.0,
    pattern: int = 0,
    components: int = 3,
    replicas: int = 1,
    magnetisations: bool = False,
) -> xr.Dataset:
    r"""Iterate the mean-field equations of one network, site after site, to a fixed point.

    .. math::
        m_i \leftarrow \tanh\beta h_i, \qquad
        h_i = -\frac{\partial E}{\partial m_i} \;[\, - \beta (1-q) F''(q)\, m_i \,]_{\rm order\ 2},
        \qquad q = \frac1N \sum_i m_i^2

    E[m] is the mean energy of independent spins of magnetisations m: H itself at real arguments, because no site
    occurs twice in a tuple. Fields come from the elementary symmetric polynomials of each row: a sweep is O(P L N).

    At first order a sweep never raises the variational free energy E - TS, so that it converges without damping.
    The second-order term of the expansion (Plefka, J. Phys. A 15, 1971 (1982)) is
    :math:`-\frac\beta2 \langle U^2 \rangle` with :math:`\langle U^2 \rangle = \langle H^2 \rangle -
    \langle H \rangle^2 - \sum_i (1-m_i^2) (\partial E/\partial m_i)^2`, whose average over the patterns is
    :math:`N [F(1) - F(q) - (1-q) F'(q)]`, F the `energy_covariance`; its derivative is Onsager's reaction. For P > 2
    higher orders vanish for large N as in the P-spin glass. For P = 2 at extensive load they do not: they turn the
    reaction's :math:`F'' = \alpha` into :math:`\alpha/(1 - \beta(1-q))`, which is not offered.

    Parameters
    ----------
    sample : QuenchedSample
        Network whose tuples have no coinciding sites.
    T : float or array_like, shape (temperatures,)
        Temperatures >= 0, :math:`k_B = 1`; 0 is the limit, :math:`m_i = {\rm sign}(h_i)` (q = 1: no reaction).
    order : {1, 2}
        Order of the expansion: naive mean field, or with the reaction; where free spins keep q below 1 that grows
        as 1/T, and at low T no fixed point may be reached.
    iterations : int
        Largest number of sweeps, at least 1.
    tolerance : float
        Largest :math:`|\tanh(\beta h_i) - m_i|` of a sweep that counts as converged, > 0.
    damping : float
        Part of the old value of :math:`m_i` that is kept, in [0, 1).
    seed : int
        Seed of random or corrupted initial spins.
    task : tuple of int
        Address of this sample within the run, see `sim.random`.
    initial, corruption, pattern, components
        Initial spins, as in `sim.simulate`; `pattern` is also the one whose overlaps are returned.
    replicas : int
        Independently drawn initial spins, at least 1.
    magnetisations : bool
        Whether to keep the magnetisations of the sites.

    Returns
    -------
    xarray.Dataset
        Along (T, replica): ``m``, ``n``, ``q``; ``energy`` per spin, at second order with its term
        :math:`-\beta [F(1) - F(q) - (1-q) F'(q)]`; ``iterations`` and ``converged``. If asked for,
        ``magnetisation`` (T, replica, site).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or tuples of the network have coinciding sites.
    MemoryError
        If the state does not fit in memory, with the estimate.

    Examples
    --------
    >>> from hebbian import DenseHebbian
    >>> sample = DenseHebbian(N=100, P=2, K=1).quench(rng=np.random.default_rng(0))
    >>> effective_dynamics(sample, T=0.5, seed=0).m.values.round(3)
    array([[0.956]])
    """
    front.check_sample(sample)
    validation.integer("order", order, minimum=1, maximum=2)
    validation.integer("iterations", iterations, minimum=1)
    validation.real("tolerance", tolerance, above=0.0)
    validation.real("damping", damping, minimum=0.0, below=1.0)
    temperatures = front.check_options(
        {
            "T": T,
            "sweeps": iterations,
            "initial": initial,
            "corruption": corruption,
            "pattern": pattern,
            "components": components,
            "replicas": replicas,
        }
    )
    c = energy_covariance(sample.model) if order == 2 else 0.0
    start = front.initial_spins(
        sample,
        initial,
        corruption=corruption,
        pattern=pattern,
        components=components,
        replicas=replicas,
        seed=seed,
        task=task,
    )
    probes = np.stack([sample.xi[pattern], sample.learned(pattern)])
    state = _state(sample, replicas)
    N, P = sample.model.N, len(state.e[0]) - 1
    results = []
    for temperature in temperatures.tolist():
        m = start.astype(np.float64)
        done, converged = np.zeros(replicas, dtype=np.int64), np.zeros(replicas, dtype=bool)
        while not converged.all() and done.max() < iterations:
            kernels.build(state, m)
            for r in np.flatnonzero(~converged).tolist():
                converged[r] = update_means(state, m, r, temperature, c, damping) < tolerance
                done[r] += 1
        kernels.build(state, m)
        q = np.mean(m**2, axis=1)
        energy = -state.prefactor * state.e[:, P].sum(axis=1) / N
        if temperature:
            energy -= c * (1 - q**P - (1 - q) * P * q ** (P - 1)) / temperature
        variables = dict(zip("mn", probes @ m.T / N, strict=True))
        variables |= {"q": q, "energy": energy, "iterations": done, "converged": converged}
        result: dict[str, front.Variable] = {name: (("replica",), values) for name, values in variables.items()}
        if magnetisations:
            result["magnetisation"] = (("replica", "site"), m)
        results.append(result)
    coordinates = {"T": temperatures, "replica": np.arange(replicas)}
    return front.dataset(front.along_temperatures(results), coordinates, LABELS)


def energy_covariance(model: HebbianNetwork) -> float:
    r"""Coefficient c of the covariance :math:`F(q) = c\,q^P` of the energies of two configurations of overlap q.

    .. math::
        E[H H'] = N F(q), \qquad c = g (1-d)^P \frac{K P!}{4 N^{P-1}} \frac{N!}{(N-P)!\, N^P}

    over the patterns, which are not correlated with the configurations. g is the variance of one pattern's part of
    a coupling: 1 in storing and supervised training, :math:`[r^{2P}(1-1/M) + 1/M]/R^P` in unsupervised.
    For large N it is :math:`c = g\gamma/2`.

    Parameters
    ----------
    model : HebbianNetwork
        Network whose tuples have no coinciding sites, and whose number of patterns is set.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If tuples of the network have coinciding sites, or K is not set.
    """
    P = _order(model)
    if model.K is None:
        raise ValueError("neither load nor K of the model is set; allowed: load > 0 or K >= 1")
    g = 1.0
    if model.training == "unsupervised":
        r, M = model.quality or 1.0, model.examples or 1
        g = (r ** (2 * P) * (1 - 1 / M) + 1 / M) / model.R**P
    # Integers of any size: N^(2P-1) need not be a floating-point number.
    pairs = model.K * math.factorial(P) * math.perm(model.N, P) / (4 * model.N ** (2 * P - 1))
    return g * (1 - model.dilution) ** P * pairs


@cached_njit(fastmath={"reassoc", "contract", "nsz"})
def update_means(state, m, r, T, c, damping):  # type: ignore[no-untyped-def]
    """Visit every site of replica r once.

    Parameters
    ----------
    state
        `kernels.SymmetricRows` built from m; advanced in place.
    m : (replicas, N) float64
        Magnetisations, advanced in place.
    r : int
        Replica.
    T, c, damping : float
        Temperature, coefficient of the reaction (0 at first order) and part of the old value that is kept.

    Returns
    -------
    float
        Largest difference of a magnetisation from the one that its field gives.
    """
    e, P = state.e[r], len(state.orders)
    N, largest = m.shape[1], 0.0
    q = np.mean(m[r] ** 2)
    # Onsager's reaction per magnetisation; it vanishes in the limit T = 0, where q = 1.
    reaction = (1 - q) / T * c * P * (P - 1) * q ** (P - 2) if T > 0 else 0.0
    for i in range(N):
        row, old, total = state.rows[i], m[r, i], 0.0
        for j in range(row.size):
            # e_k of all sites but i, as in `kernels.symmetric_rows_flip_energy`.
            without = 1.0
            for k in range(1, P):
                without = e[k, j] - old * row[j] * without
            total += row[j] * without
        field = state.prefactor * total - reaction * old
        new = math.tanh(field / T) if T > 0 else np.sign(field)
        largest = max(largest, abs(new - old))
        change = (1 - damping) * (new - old)
        for j in range(row.size):
            without = 1.0
            for k in range(1, P + 1):
                product = row[j] * without
                without = e[k, j] - old * product
                e[k, j] += change * product
        m[r, i] = old + change
    return largest


def _order(model: HebbianNetwork) -> int:
    if model.P is None or model.interaction != "distinct":
        raise ValueError(f"interaction = {model.interaction!r} has no multilinear energy; allowed: 'distinct'")
    return model.P


def _state(sample: QuenchedSample, replicas: int) -> kernels.SymmetricRows:
    """Return the state that serves rows of any integers, with real numbers in place of spins."""
    P, L = _order(sample.model), len(sample.rows)
    validation.memory(f"the state of {replicas} replica(s) of {sample.model}", 8.0 * L * (P + 1) * replicas)
    rows: NDArray[np.signedinteger] = np.ascontiguousarray(sample.rows.T)
    orders = tuple(range(1, P + 1))
    return kernels.SymmetricRows(rows, np.zeros((replicas, P + 1, L)), orders, sample.prefactor * math.factorial(P))
