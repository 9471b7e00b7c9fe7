r"""Parallel tempering: copies of one quenched sample at neighbouring temperatures exchange their configurations."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import QuenchedSample, validation
from sim import random
from sim.glauber import device, front, kernels, states

# What samples exp(-H/T): the exchange rule holds for this measure alone.
DYNAMICS = ("glauber", "metropolis")
SCANS = ("ordered", "random")

LABELS = front.LABELS | {
    "exchange": ("fraction of accepted exchanges with the next temperature", "1"),
    "round_trips": ("journeys from the lowest to the highest temperature and back", "1"),
    "T_lower": ("lower temperature of the exchange", "1"),
}


def parallel_tempering(
    sample: QuenchedSample,
    *,
    T: ArrayLike,
    sweeps: int,
    equilibration: int = 0,
    seed: int,
    task: tuple[int, ...] = (0,),
    initial: str | ArrayLike = "random",
    corruption: float = 0.0,
    pattern: int = 0,
    components: int = 3,
    replicas: int = front.REPLICAS,
    dynamics: str = "glauber",
    scan: str = "ordered",
    series: bool = False,
    algorithm: str = "auto",
    backend: str = "auto",
) -> xr.Dataset:
    r"""Simulate one network at all temperatures of a ladder at once, with exchanges between neighbours.

    After each sweep the even or, in turn, the odd pairs of neighbouring temperatures exchange configurations with
    probability :math:`\min(1, e^{(\beta_j - \beta_{j+1})(E_j - E_{j+1})}),` which leaves the product of the
    Boltzmann measures invariant. A configuration crosses barriers while it is hot: from a ladder that reaches above
    the transition come equilibrium averages where `sim.simulate` measures the metastable state that it started from.

    Parameters
    ----------
    sample : QuenchedSample
        Network with a polynomial interaction.
    T : array_like, shape (temperatures,)
        Ladder: at least two temperatures > 0 (1/T a finite number) in increasing order, see `tuned_ladder`.
    sweeps : int
        Sweeps (N updates at each temperature) measured, after each of which observables are recorded; at least 1.
    equilibration : int
        Sweeps before them that are discarded.
    seed : int
        Seed of the run.
    task : tuple of int
        Address of this sample within the run, see `sim.random`.
    initial, corruption, pattern, components
        Initial spins of every temperature, as in `sim.simulate`; `pattern` is also the one whose overlaps are recorded.
    replicas : int
        Independent ladders of the same sample, at least 1.
    dynamics : {"glauber", "metropolis"}
        Heat bath or Metropolis.
    scan : {"ordered", "random"}
        Sites in order or at random.
    series : bool
        Whether to keep the time series.
    algorithm : {"auto", "rows", "fields", "blocks"}
        How fields are computed, see `sim.glauber.states.choose`.
    backend : {"auto", "cpu"}
        Hardware; exchanges are on the CPU only.

    Returns
    -------
    xarray.Dataset
        ``m``, ``n``, ``energy`` and ``acceptance`` along (T, replica) and ``q`` along (T, pair), with errors and, if
        asked for, ``*_series``, as `sim.simulate` returns them; ``exchange`` (T_lower), the fraction of exchanges
        accepted between a temperature and the next (NaN where none was tried); ``round_trips`` (replica), how often
        configurations travelled from the lowest to the highest temperature and back within the sweeps measured.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or contradicts another, or the interaction is exponential.
    MemoryError
        If the record does not fit in memory, with the estimate.

    References
    ----------
    Hukushima and Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996).
    """
    front.check_sample(sample)
    temperatures = front.check_options(
        {
            "T": T,
            "sweeps": sweeps,
            "equilibration": equilibration,
            "initial": initial,
            "corruption": corruption,
            "pattern": pattern,
            "components": components,
            "replicas": replicas,
        }
    )
    if validation.choice("backend", backend, device.BACKENDS) == "gpu":
        raise ValueError("backend = 'gpu': replicas are exchanged on the CPU only; allowed: 'auto', 'cpu'")
    _check_ladder(temperatures)
    validation.choice("dynamics", dynamics, DYNAMICS)
    validation.choice("scan", scan, SCANS)
    states.check_algorithm(sample.model, algorithm, scan)
    if sample.model.P is None:
        raise ValueError("interaction = 'exponential' has energies that overflow; allowed: 'distinct' or 'all'")
    J = len(temperatures)
    held = max(sweeps, equilibration) + sweeps * series
    validation.memory(
        f"the record of {sweeps} sweeps, {replicas} replicas, {J} temperatures",
        8.0 * held * J * replicas * (5 + (replicas - 1) / 2),
    )
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
    updates = float(sample.model.N) * replicas * (sweeps + equilibration)
    chosen = states.choose(sample, algorithm, updates, temperatures, scan)
    state = states.make(sample, chosen, replicas * J)
    ladder = (
        state,
        np.repeat(start, J, axis=0),
        1 / temperatures,
        front.DYNAMICS[dynamics],
        front.SCANS[scan],
        np.array([random.float_word(value) for value in temperatures.tolist()]),
        np.array(random.kernel_key(seed, task, "dynamics")),
        np.array(random.kernel_key(seed, task, "exchange")),
        *front.probe(sample, pattern),
        np.arange(replicas * J).reshape(replicas, J),
    )
    _advance(ladder, 0, equilibration)
    record, q, exchanges = _advance(ladder, equilibration, sweeps)

    results = [front.summary(sample, record[:, :4, j], q[:, j], series) for j in range(J)]
    variables = front.along_temperatures(results)
    done, tried = exchanges
    variables["exchange"] = (("T_lower",), np.where(tried > 0, done / np.maximum(tried, 1), np.nan))
    trips = [_round_trips(record[:, 4, 0, a], record[:, 4, -1, a]) for a in range(replicas)]
    variables["round_trips"] = (("replica",), np.array(trips))
    coordinates = {"T": temperatures, "T_lower": temperatures[:-1]} | front.of_replicas(replicas)
    return front.dataset(variables, coordinates, LABELS)


def tuned_ladder(
    sample: QuenchedSample,
    *,
    lowest: float,
    highest: float,
    temperatures: int,
    seed: int,
    task: tuple[int, ...] = (0,),
    sweeps: int = 200,
    rounds: int = 5,
    **options: Any,
) -> NDArray[np.float64]:
    r"""Find a ladder of temperatures whose neighbours all exchange at the same rate.

    The sum of the rejection rates below an inverse temperature is close to a function :math:`\Lambda(\beta)` that does
    not depend on the ladder; temperatures at equal steps of :math:`\Lambda` reject equally often. Starting from a
    geometric ladder each round measures :math:`\Lambda`, in a run twice as long as that of the round before,
    and inverts it.

    Parameters
    ----------
    sample : QuenchedSample
        Network with a polynomial interaction.
    lowest, highest : float
        Ends of the ladder, 0 < lowest < highest.
    temperatures : int
        Length of the ladder, at least 2. With so few that all exchanges are rejected nothing can be learned.
    seed : int
        Seed of the runs.
    task : tuple of int
        Address of this sample within the run, see `sim.random`.
    sweeps : int
        Sweeps measured in the first round, at least 2; half as many are discarded before.
    rounds : int
        Runs, at least 1.
    **options
        Further arguments of `parallel_tempering`.

    Returns
    -------
    ndarray, shape (temperatures,)
        Increasing temperatures from `lowest` to `highest`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        If an argument is out of range, or as in `parallel_tempering`.

    References
    ----------
    Syed, Bouchard-Côté, Deligiannidis, Doucet, J. R. Stat. Soc. B 84, 321 (2022), arXiv:1905.02939.
    """
    # Only here: the import takes as long as that of xarray, and `import sim` should not.
    from scipy.interpolate import PchipInterpolator

    lowest = validation.real("lowest", lowest, above=0.0)
    highest = validation.real("highest", highest, above=lowest)
    J = validation.integer("temperatures", temperatures, minimum=2)
    validation.integer("sweeps", sweeps, minimum=2)
    ladder = np.geomspace(lowest, highest, J)
    for k in range(validation.integer("rounds", rounds, minimum=1)):
        length = sweeps * 2**k
        run = parallel_tempering(
            sample, T=ladder, sweeps=length, equilibration=length // 2, seed=seed, task=task, **options
        )
        # The inverse function needs steps > 0, also where no exchange was rejected.
        rejection = np.maximum(1 - run.exchange.values, 1 / length)
        barrier = np.concatenate([[0.0], np.cumsum(rejection)])
        beta = PchipInterpolator(barrier, 1 / ladder)(np.linspace(0.0, barrier[-1], J))
        ladder[1:-1] = 1 / beta[1:-1]
    return ladder


def _check_ladder(temperatures: NDArray[np.float64]) -> None:
    # 1/T is to be a number.
    smallest = np.finfo(np.float64).tiny
    if len(temperatures) < 2 or temperatures[0] < smallest or np.any(np.diff(temperatures) <= 0):
        raise ValueError(
            f"T = {temperatures.tolist()}; allowed: two or more temperatures >= {smallest:.3g} in increasing order"
        )


def _advance(
    ladder: tuple[Any, ...], first: int, sweeps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Run `sweeps` sweeps in chunks; return the record, the overlaps of the ladders and the count of exchanges."""
    state, sigma, betas, rule, scan, words, key, exchange_key, probes, units, holder = ladder
    replicas, J = holder.shape
    record = np.empty((sweeps, 5, J, replicas))
    q = np.empty((sweeps, J, replicas * (replicas - 1) // 2))
    exchanges = np.zeros((2, J - 1), dtype=np.int64)
    for chunk in front.chunks(sweeps):
        kernels.build(state, sigma)
        address = (first + chunk.start, words, key, exchange_key)
        measured = (record[chunk], q[chunk], exchanges)
        kernels.temper(state, sigma, betas, rule, scan, *address, probes, units, holder, *measured)
    return record, q, exchanges


def _round_trips(lowest: NDArray[np.float64], highest: NDArray[np.float64]) -> int:
    """Count journeys from the lowest temperature to the highest and back; arguments: who is there, sweep by sweep."""
    rows = np.stack([lowest, highest], axis=1).ravel()
    is_lowest = np.arange(rows.size) % 2 == 0
    trips = 0
    for row in np.unique(rows):
        visits = is_lowest[rows == row]
        arrivals = int(visits[0]) + int(np.count_nonzero(visits[1:] & ~visits[:-1]))
        trips += max(0, arrivals - 1)
    return trips
