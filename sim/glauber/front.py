"""Monte Carlo simulation of one quenched sample at several temperatures."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import HebbianNetwork, QuenchedSample, validation
from sim import random
from sim.glauber import device, gpu, kernels, states
from sim.observables import mean_and_error

DYNAMICS = {"glauber": kernels.GLAUBER, "metropolis": kernels.METROPOLIS, "descent": kernels.DESCENT}
SCANS = {"ordered": kernels.ORDERED, "random": kernels.RANDOM, "synchronous": kernels.SYNCHRONOUS}
INITIAL = ("pure", "random", "hierarchical", "mixture", "parallel")
OVERLAPS = ("retrieved", "all")
REPLICAS = 2
# Algorithms, and the temperatures of each.
Plan = list[tuple[str, NDArray[np.intp]]]
# Dimensions and values.
Variable = tuple[tuple[str, ...], NDArray[Any]]

# Caches of real numbers are built anew after this many sweeps, before rounding can add up.
_CHUNK = 1000


def simulate(
    sample: QuenchedSample,
    *,
    T: ArrayLike,
    sweeps: int,
    equilibration: int = 0,
    seed: int,
    task: tuple[int, ...] = (0,),
    initial: str | ArrayLike = "pure",
    corruption: float = 0.0,
    pattern: int = 0,
    components: int = 3,
    anneal: bool = False,
    replicas: int = REPLICAS,
    dynamics: str = "glauber",
    scan: str = "ordered",
    overlaps: str = "retrieved",
    series: bool = False,
    configurations: bool = False,
    algorithm: str = "auto",
    backend: str = "auto",
) -> xr.Dataset:
    r"""Simulate the dynamics of one network at several temperatures.

    Flip energies are exact (no self-coupling) but for rounding: with rows of signs that is none for P = 2, and
    a millionth of their size for P > 2, in single precision. Sequential Glauber and Metropolis dynamics
    sample :math:`e^{-H/T}`; synchronous updates sample another measure, for P = 2 that of Little,
    :math:`\propto \prod_i 2\cosh(h_i/T)`. For T above the spinodal a retrieval state is
    metastable at best: what is measured is an average over the stated window.

    Parameters
    ----------
    sample : QuenchedSample
        Network.
    T : float or array_like, shape (temperatures,)
        Temperatures >= 0, :math:`k_B = 1`; 0 is the limit of the dynamics.
    sweeps : int
        Sweeps (N updates) measured, after each of which observables are recorded; at least 1.
    equilibration : int
        Sweeps before them that are discarded.
    seed : int
        Seed of the run.
    task : tuple of int
        Address of this sample within the run, see `sim.random`.
    initial : {"pure", "random", "hierarchical", "mixture", "parallel"} or array_like, shape (N,) or (replicas, N)
        Initial spins. ``pure``: those of the pattern. ``hierarchical``: at each site the first of the patterns
        `pattern`, `pattern` + 1, ... (cyclically) that is not blank. ``mixture``: the majority of the first
        `components` of them, ``parallel``: of all. Sites that this leaves open are drawn in each replica.
    corruption : float
        Fraction of the initial spins, at random sites in each replica, that is reversed.
    pattern : int
        Pattern that the initial spins start from and whose overlaps m and n are recorded.
    components : int
        Patterns in a "mixture", 1 to K.
    anneal : bool
        Whether each temperature, in the order given, starts from where the one before ended (simulated
        annealing, if T falls) instead of from the same initial spins.
    replicas : int
        Replicas of the same sample with independent dynamics, at least 1.
    dynamics : {"glauber", "metropolis", "descent"}
        Heat bath; Metropolis; or flips that lower the energy only (T must be 0).
    scan : {"ordered", "random", "synchronous"}
        Sites in order, at random, or all at once (Little).
    overlaps : {"retrieved", "all"}
        Whether to average the overlaps with all archetypes too.
    series : bool
        Whether to keep the time series.
    configurations : bool
        Whether to keep the spins after each sweep.
    algorithm : {"auto", "rows", "fields", "blocks"}
        How fields are computed, see `sim.glauber.states.plan` and, on a GPU, `sim.glauber.gpu.choose`.
    backend : {"auto", "cpu", "gpu"}
        Hardware. "auto" takes the GPU where there is one and it is expected to be faster.

    Returns
    -------
    xarray.Dataset
        Along (T, replica): ``m`` Mattis magnetisation, ``n`` overlap with the normalised example mean,
        ``energy`` per spin (``log_energy``, :math:`\ln(-H)`, for the exponential interaction),
        each with ``*_error`` corrected for autocorrelation, and ``acceptance``; along (T, pair): ``q``
        and ``q_error``, for more than one replica. If asked for: ``m_all`` (T, replica, pattern); ``*_series``
        (T, sweep, ...); ``spins`` (T, sweep, replica, site).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or contradicts another, or there is no GPU where one is asked for.
    ImportError
        If a GPU is asked for and a package is missing, with the extra that brings it.
    MemoryError
        If the record does not fit in memory, or a chain on the GPU, with the estimate.
    """
    check_sample(sample)
    options = {
        "T": T,
        "sweeps": sweeps,
        "equilibration": equilibration,
        "initial": initial,
        "corruption": corruption,
        "pattern": pattern,
        "components": components,
        "anneal": anneal,
        "replicas": replicas,
        "dynamics": dynamics,
        "scan": scan,
        "overlaps": overlaps,
        "series": series,
        "configurations": configurations,
        "algorithm": algorithm,
        "backend": backend,
    }
    check_options(options)
    check_network(sample.model, options)
    measured = measure(sample, options, seed=seed, task=task)
    return dataset(measured, coordinates(sample.model, options))


def measure(
    sample: QuenchedSample, options: Mapping[str, Any], *, seed: int, task: tuple[int, ...], parts: Plan | None = None
) -> dict[str, Variable]:
    """Simulate with `options` that `check_options` and `check_network` have seen; {name: (dimensions, values)}."""
    given = _with_defaults(options)
    if backend_of(sample.model, options) == "gpu":
        return measure_together([sample], options, seed=seed, tasks=[task])[0]
    temperatures, sweeps, equilibration = validation.axis("T", given["T"]), given["sweeps"], given["equilibration"]
    replicas, pattern = given["replicas"], given["pattern"]
    start = initial_spins(
        sample,
        given["initial"],
        corruption=given["corruption"],
        pattern=pattern,
        components=given["components"],
        replicas=replicas,
        seed=seed,
        task=task,
    )
    rule, order = DYNAMICS[given["dynamics"]], SCANS[given["scan"]]
    key = np.array(random.kernel_key(seed, task, "dynamics"))
    probes, units = probe(sample, pattern)
    everything = given["overlaps"] == "all"
    xi = np.ascontiguousarray(sample.xi.T) if everything else np.empty((0, 0), dtype=np.int8)

    results: list[dict[str, Variable]] = [{}] * len(temperatures)
    sigma = start.copy()
    for algorithm, members in parts or plan(sample, options):
        together = len(members) if algorithm == "blocks" and not given["anneal"] else 1
        state = states.make(sample, algorithm, replicas * together)
        for stage in members.reshape(-1, together):
            if not given["anneal"]:
                sigma = np.tile(start, (together, 1))
            chains = of_temperatures(temperatures[stage], replicas)
            sums = np.zeros((len(sigma), xi.shape[1]), dtype=np.int64)
            arguments = (state, sigma, chains, rule, order, key, probes, units, together)
            _advance(arguments, 0, equilibration, xi[:, :0], sums[:, :0], False)
            kept = given["configurations"]
            record, q, spins = _advance(arguments, equilibration, sweeps, xi, sums, kept)
            for place, t in enumerate(stage):
                mine = slice(place * replicas, (place + 1) * replicas)
                results[t] = summary(
                    sample, record[:, :, mine], q[:, place], given["series"], spins[:, mine], sums[mine]
                )
    return along_temperatures(results)


def plan(sample: QuenchedSample, options: Mapping[str, Any]) -> Plan:
    """Return which algorithm simulates which temperatures, see `sim.glauber.states.plan`."""
    given = _with_defaults(options)
    T, replicas, scan = validation.axis("T", given["T"]), given["replicas"], given["scan"]
    each = updates(sample.model, options) / len(T)
    if given["anneal"]:
        return [(states.choose(sample, given["algorithm"], each, T, scan), np.arange(len(T)))]
    return states.plan(sample, given["algorithm"], each, T, replicas, scan)


def of_temperatures(temperatures: NDArray[np.float64], replicas: int) -> kernels.Chains:
    """Return what drives `replicas` chains at each of some temperatures."""
    with np.errstate(divide="ignore"):
        beta = 1 / temperatures
    words = np.array([random.float_word(value) for value in temperatures.tolist()], dtype=np.uint32)
    numbers = np.tile(np.arange(replicas, dtype=np.uint32), len(temperatures))
    return kernels.Chains(np.repeat(beta, replicas), np.repeat(words, replicas), numbers)


def probe(sample: QuenchedSample, pattern: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return a pattern and what the network learned of it as integers, and the units of both."""
    learned, unit = sample.learned_integers(pattern)
    return np.stack([sample.xi[pattern].astype(np.int64), learned]), np.array([1.0, unit])


def measure_together(
    samples: Sequence[QuenchedSample], options: Mapping[str, Any], *, seed: int, tasks: Sequence[tuple[int, ...]]
) -> list[dict[str, Variable]]:
    """As `measure`, of several samples of one model, each with its own address, side by side on the GPU."""
    given = _with_defaults(options)
    temperatures, pattern = validation.axis("T", given["T"]), given["pattern"]
    names = "initial", "corruption", "pattern", "components", "replicas"
    start = {name: given[name] for name in names}
    measured = gpu.run(
        gpu.Problem(
            samples=samples,
            starts=np.stack(
                [
                    initial_spins(sample, seed=seed, task=task, **start)
                    for sample, task in zip(samples, tasks, strict=True)
                ]
            ),
            T=temperatures,
            words=np.array([random.float_word(value) for value in temperatures.tolist()]),
            keys=np.array([random.kernel_key(seed, task, "dynamics") for task in tasks]),
            probes=np.stack([probe(sample, pattern)[0] for sample in samples]).astype(np.float64),
            rule=DYNAMICS[given["dynamics"]],
            scan=given["scan"],
            anneal=given["anneal"],
            equilibration=given["equilibration"],
            sweeps=given["sweeps"],
            rebuild=_CHUNK,
            everything=given["overlaps"] == "all",
            configurations=given["configurations"],
            algorithm=given["algorithm"],
        )
    )
    measured.record[:, :, :, :2] *= probe(samples[0], pattern)[1][:, None]
    return [
        along_temperatures(
            [
                summary(sample, record, q, given["series"], spins, sums)
                for record, q, spins, sums in zip(*parts, strict=True)
            ]
        )
        for sample, *parts in zip(samples, *measured, strict=True)
    ]


def chains(options: Mapping[str, Any]) -> int:
    """Return the chains of one sample that a GPU runs side by side."""
    given = _with_defaults(options)
    return given["replicas"] * (1 if given["anneal"] else np.size(given["T"]))


def backend_of(model: HebbianNetwork, options: Mapping[str, Any], samples: int = 1) -> str:
    """Return "cpu" or "gpu": what simulates some samples of a model at once.

    Raises
    ------
    ImportError, ValueError
        If a GPU is asked for and there is none, see `sim.glauber.device.find`.
    """
    given = _with_defaults(options)
    if given["backend"] == "auto":
        found = device.hardware()
        number = samples * chains(options)
        if found is None or not gpu.worthwhile(model, given["scan"], given["algorithm"], number, found):
            return "cpu"
        return "gpu"
    if given["backend"] == "gpu":
        device.find()
    return given["backend"]


def updates(model: HebbianNetwork, options: Mapping[str, Any]) -> float:
    """Return the number of spin updates that a simulation does."""
    given = _with_defaults(options)
    return float(model.N) * given["replicas"] * (given["sweeps"] + given["equilibration"]) * np.size(given["T"])


def coordinates(model: HebbianNetwork, options: Mapping[str, Any]) -> dict[str, ArrayLike]:
    """Return the coordinates of what `measure` returns."""
    given = _with_defaults(options)
    named: dict[str, ArrayLike] = {"T": validation.axis("T", given["T"])} | of_replicas(given["replicas"])
    if given["overlaps"] == "all":
        named["pattern"] = np.arange(model.K or 0)
    return named


def of_replicas(replicas: int) -> dict[str, ArrayLike]:
    """Return the coordinates of replicas and of their pairs."""
    numbers: dict[str, ArrayLike] = {"replica": np.arange(replicas)}
    if replicas > 1:
        numbers["pair"] = [f"{a}-{b}" for a in range(replicas) for b in range(a + 1, replicas)]
    return numbers


def flip_energies(
    sample: QuenchedSample, sigma: ArrayLike, *, algorithm: str = "rows", backend: str = "cpu"
) -> NDArray[np.float64]:
    r"""Energy that each single spin flip costs, as the engine computes it.

    Parameters
    ----------
    sample : QuenchedSample
        Network.
    sigma : array_like, shape (N,)
        Spins -1 and +1.
    algorithm : {"auto", "rows", "fields", "blocks"}
        How fields are computed, see `sim.glauber.states.plan`.
    backend : {"cpu", "gpu"}
        Hardware that computes them; a GPU takes "rows" for "blocks".

    Returns
    -------
    ndarray, shape (N,)
        :math:`H(\sigma_1 \dots -\sigma_i \dots \sigma_N) - H(\sigma) = 2 \sigma_i h_i` of every site; a configuration
        is a fixed point of the dynamics at T = 0 if none is negative. Infinite where the exponential
        interaction exceeds 1.8e308.

    Raises
    ------
    ValueError, TypeError
        If sigma has another shape or other entries, the algorithm is impossible for this network, or there is no GPU.
    ImportError
        If a GPU is asked for and a package is missing.
    """
    check_sample(sample)
    spins = validation.signs("sigma", sigma, (sample.model.N,))[None].copy()
    chosen = states.choose(sample, algorithm, sample.model.N, np.zeros(1), "ordered")
    if validation.choice("backend", backend, ("cpu", "gpu")) == "gpu":
        costs, unit = gpu.flip_energies(sample, spins[0], "rows" if chosen == "blocks" else chosen)
    else:
        state = states.make(sample, chosen, 1)
        kernels.build(state, spins)
        costs, unit = kernels.flip_energies(state, spins, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(costs == 0, 0.0, costs * unit)


def check_sample(sample: object) -> None:
    """Raise TypeError unless the sample is a QuenchedSample."""
    if not isinstance(sample, QuenchedSample):
        raise TypeError(f"sample = {sample!r} is not a QuenchedSample; allowed: what `quench` of a model returns")


def check_options(options: Mapping[str, Any]) -> NDArray[np.float64]:
    """Raise unless all arguments of `simulate` in `options` are in range; return the temperatures."""
    keywords = inspect.signature(simulate).parameters
    for name in options:
        if name not in keywords or name in ("sample", "seed", "task"):
            allowed = ", ".join(sorted(set(keywords) - {"sample", "seed", "task"}))
            raise TypeError(f"{name} is not an option of a simulation; allowed: {allowed}")
    given = _with_defaults(options)
    for name, minimum in (("sweeps", 1), ("equilibration", 0), ("replicas", 1), ("pattern", 0), ("components", 1)):
        validation.integer(name, given[name], minimum=minimum)
    validation.real("corruption", given["corruption"], minimum=0.0, maximum=1.0)
    words: dict[str, Collection[str]] = {
        "dynamics": DYNAMICS,
        "scan": SCANS,
        "overlaps": OVERLAPS,
        "algorithm": gpu.ALGORITHMS,
        "backend": device.BACKENDS,
    }
    if isinstance(given["initial"], str):
        words["initial"] = INITIAL
    for name, allowed_words in words.items():
        validation.choice(name, given[name], allowed_words)
    temperatures = validation.axis("T", given["T"], minimum=0.0)
    if given["dynamics"] == "descent" and temperatures.any():
        raise ValueError(f"T = {temperatures.tolist()} with dynamics = 'descent'; allowed: T = 0")
    return temperatures


def check_network(model: HebbianNetwork, options: Mapping[str, Any]) -> None:
    """Raise unless `options`, which `check_options` has seen, suit a network and what they keep fits in memory."""
    given = _with_defaults(options)
    _check_start(model, given["initial"], given["pattern"], given["components"], given["replicas"])
    if backend_of(model, options) == "gpu":
        gpu.check_algorithm(model, given["scan"], given["algorithm"])
    else:
        states.check_algorithm(model, given["algorithm"], given["scan"])
    sweeps, replicas, temperatures = given["sweeps"], given["replicas"], np.size(given["T"])
    record = f"the record of {sweeps} sweeps, {replicas} replicas, {temperatures} temperatures"
    validation.memory(record, record_memory(model, options))


def record_memory(model: HebbianNetwork, options: Mapping[str, Any]) -> float:
    """Return the bytes of what is recorded and kept of one sample."""
    given = _with_defaults(options)
    sweeps, replicas, temperatures = given["sweeps"], given["replicas"], np.size(given["T"])
    # All temperatures on a GPU; on the CPU one after the other, but for pairs, some of which may be side by side.
    kept = temperatures if given["series"] or backend_of(model, options) == "gpu" else 1
    if model.P == 2:
        kept = max(kept, min(temperatures, states.together(model, updates(model, options) / temperatures, replicas)))
    needed = 8.0 * sweeps * replicas * (4 + (replicas - 1) / 2) * (kept + 1)
    if given["configurations"]:
        needed += 2.0 * temperatures * sweeps * replicas * model.N
    return needed


def initial_spins(
    sample: QuenchedSample,
    initial: str | ArrayLike,
    *,
    corruption: float = 0.0,
    pattern: int = 0,
    components: int = 3,
    replicas: int = REPLICAS,
    seed: int,
    task: tuple[int, ...] = (0,),
) -> NDArray[np.int8]:
    """Return the initial spins of all replicas, shape (replicas, N); arguments as in `simulate`."""
    _check_start(sample.model, initial, pattern, components, replicas)
    N = sample.model.N
    spins = np.empty((replicas, N), dtype=np.int8)
    spins[:] = _template(sample, initial, pattern, components) if isinstance(initial, str) else initial
    for r in range(replicas):
        rng = random.stream(seed, task, "initial", r)
        free = np.flatnonzero(spins[r] == 0)
        if free.size:
            spins[r, free] = 2 * rng.integers(0, 2, size=free.size, dtype=np.int8) - 1
        reversed_sites = rng.permutation(N)[: round(corruption * N)]
        spins[r, reversed_sites] *= -1
    return spins


def _with_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of `simulate`, those in `options` and the defaults of the rest."""
    keywords = inspect.signature(simulate).parameters
    return {name: parameter.default for name, parameter in keywords.items()} | dict(options)


def _check_start(model: HebbianNetwork, initial: str | ArrayLike, pattern: int, components: int, replicas: int) -> None:
    """Raise unless a network has the patterns that initial spins ask for, or given ones have its size."""
    K = model.K or 0
    validation.integer("pattern", pattern, minimum=0, maximum=K - 1)
    if not isinstance(initial, str):
        given = validation.rectangular("initial", initial)
        validation.signs("initial", given, (model.N,) if given.ndim == 1 else (replicas, model.N))
    elif initial == "mixture":
        validation.integer("components", components, minimum=1, maximum=K)


def _template(sample: QuenchedSample, initial: str, pattern: int, components: int) -> NDArray[np.int8]:
    """Return initial spins of a kind, 0 at the sites it leaves open."""
    K = len(sample.xi)
    if initial == "random":
        return np.zeros(sample.model.N, dtype=np.int8)
    if initial == "pure":
        return sample.xi[pattern]
    if initial == "hierarchical":
        spins = sample.xi[pattern].copy()
        for mu in range(pattern + 1, pattern + K):
            spins = np.where(spins == 0, sample.xi[mu % K], spins)
        return spins
    members = (pattern + np.arange(components if initial == "mixture" else K)) % K
    return np.sign(sample.xi[members].sum(axis=0, dtype=np.int64)).astype(np.int8)


LABELS = {
    "m": ("Mattis magnetisation of the retrieved pattern", "1"),
    "n": ("overlap with the normalised example mean", "1"),
    "q": ("overlap of two replicas", "1"),
    "energy": ("energy per spin", "1"),
    "log_energy": ("ln(-H)", "1"),
    "acceptance": ("accepted flips per spin and sweep", "1"),
    "m_all": ("Mattis magnetisation of every pattern", "1"),
    "spins": ("spins after each sweep", "1"),
    "T": ("temperature", "1"),
    "pattern": ("pattern", "1"),
    "replica": ("replica", "1"),
    "pair": ("pair of replicas", "1"),
}


def _advance(
    arguments: tuple[Any, ...],
    first: int,
    sweeps: int,
    xi: NDArray[np.int8],
    sums: NDArray[np.int64],
    configurations: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int8]]:
    """Run `sweeps` sweeps in chunks; return the record, the replica overlaps and the spins."""
    state, sigma, chains, rule, order, key, probes, units, temperatures = arguments
    count, N = sigma.shape
    replicas = count // temperatures
    record = np.empty((sweeps, 4, count))
    q = np.empty((sweeps, temperatures, replicas * (replicas - 1) // 2))
    spins = np.empty((sweeps if configurations else 0, count, N), dtype=np.int8)
    for chunk in chunks(sweeps):
        kernels.build(state, sigma)
        measured = (record[chunk], q[chunk], xi, sums, spins[chunk])
        kernels.run(state, sigma, chains, rule, order, first + chunk.start, key, probes, units, *measured)
    return record, q, spins


def chunks(sweeps: int) -> list[slice]:
    """Cut sweeps into the stretches before each of which the caches are built anew."""
    return [slice(start, min(start + _CHUNK, sweeps)) for start in range(0, sweeps, _CHUNK)]


def summary(
    sample: QuenchedSample,
    record: NDArray[np.float64],
    q: NDArray[np.float64],
    series: bool,
    spins: NDArray[np.int8] | None = None,
    sums: NDArray[np.int64] | None = None,
) -> dict[str, Variable]:
    """Return the averages at one temperature, of what the arguments of `kernels.run` with these names received."""
    exponential = sample.model.P is None
    energy = record[:, 2] if exponential else record[:, 2] / sample.model.N
    measured = {
        "m": ("replica", record[:, 0]),
        "n": ("replica", record[:, 1]),
        "log_energy" if exponential else "energy": ("replica", energy),
    }
    if q.shape[1]:
        measured["q"] = ("pair", q)
    variables: dict[str, Variable] = {}
    for name, (dim, values) in measured.items():
        mean, error = mean_and_error(values)
        variables[name], variables[f"{name}_error"] = ((dim,), mean), ((dim,), error)
        if series:
            variables[f"{name}_series"] = (("sweep", dim), values)
    variables["acceptance"] = (("replica",), record[:, 3].mean(axis=0))
    if sums is not None and sums.size:
        variables["m_all"] = (("replica", "pattern"), sums / (len(record) * sample.model.N))
    if spins is not None and spins.size:
        variables["spins"] = (("sweep", "replica", "site"), spins)
    return variables


def along_temperatures(results: list[dict[str, Variable]]) -> dict[str, Variable]:
    """Stack the variables of single temperatures along T."""
    return {
        name: (("T", *dims), np.stack([result[name][1] for result in results]))
        for name, (dims, _) in results[0].items()
    }


def dataset(
    variables: Mapping[str, Variable],
    coords: Mapping[str, ArrayLike],
    labels: Mapping[str, tuple[str, str]] = LABELS,
) -> xr.Dataset:
    """Return variables {name: (dimensions, values)} as a dataset with long names and units."""
    labelled = xr.Dataset(dict(variables), {name: (name, np.asarray(values)) for name, values in coords.items()})
    for name, variable in labelled.variables.items():
        base, _, suffix = str(name).rpartition("_")
        stem, kind = (base, suffix) if suffix in ("error", "series") else (str(name), "")
        if stem in labels:
            long_name, units = labels[stem]
            kind = {"error": "standard error of the ", "series": "time series of the "}.get(kind, "")
            variable.attrs.update(long_name=kind + long_name, units=units)
    return labelled
