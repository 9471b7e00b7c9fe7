import os
import shutil
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr

from hebbian import DenseHebbian, MultitaskingHebbian, validation
from sim import Adaptive, TaskError, quench, random, simulate, store, sweep
from tests.sim.interrupted import contents

MODEL = DenseHebbian(N=30, P=3)
GRID = {"load": [0.05, 0.2], "T": [0.2, 0.5, 0.8]}
RUN = {"samples": 3, "sweeps": 20, "seed": 5}


def test_every_cell_of_the_grid_is_the_simulation_it_says():
    result = sweep(MODEL, **GRID, **RUN)
    assert result.m.dims == ("load", "T", "sample", "replica")
    assert result.q.dims == ("load", "T", "sample", "pair")
    assert (result.completed == 1).all()
    assert result.K.dims == ("load",)
    assert result.K.values.tolist() == [MODEL.replace(load=load).K for load in GRID["load"]]
    model = MODEL.replace(load=0.2)
    address = (30, 3, random.float_bits(0.2), random.float_bits(0.0), 0, 2)
    sample = model.quench(rng=random.stream(5, address, "patterns"))
    alone = simulate(sample, T=0.5, sweeps=20, equilibration=10, seed=5, task=address)
    np.testing.assert_array_equal(result.m.sel(load=0.2, T=0.5, sample=2), alone.m[0])


def test_the_quenched_sample_of_a_cell_can_be_drawn_again():
    model = MultitaskingHebbian(N=30, K=3, dilution=0.4)
    measured = sweep(model, T=0.4, samples=2, sweeps=1, equilibration=0, seed=5, configurations=True, replicas=1)
    frozen = quench(model, seed=5, sample=1)
    m = frozen.archetype_overlap(measured["spins"].values[0, 1, 0, 0])
    assert measured["m"].values[0, 1, 0] == pytest.approx(m[0], abs=1e-15)
    assert not np.array_equal(frozen.xi, quench(model, seed=5, sample=0).xi)


def test_a_cell_does_not_depend_on_the_rest_of_the_grid():
    whole = sweep(MODEL, **GRID, **RUN)
    part = sweep(MODEL, load=0.2, T=0.8, **RUN | {"samples": 1})
    xr.testing.assert_equal(whole.sel(load=[0.2], T=[0.8], sample=[0]), part)


def test_number_of_patterns_as_an_axis_or_without_axes():
    assert sweep(MODEL, K=[2, 5], T=0.5, **RUN).K.dims == ("K",)
    assert sweep(MODEL.replace(K=7), T=0.5, **RUN).K == 7


def test_file_is_the_same_with_one_worker_two_or_an_executor(tmp_path):
    files = [tmp_path / f"{i}.h5" for i in range(3)]
    one = sweep(MODEL, **GRID, **RUN, out=files[0])
    two = sweep(MODEL, **GRID, **RUN, out=files[1], workers=2)
    with ThreadPoolExecutor(2) as executor:
        sweep(MODEL, **GRID, **RUN, out=files[2], executor=executor)
    xr.testing.assert_identical(one, two)
    xr.testing.assert_equal(store.read(files[0], "simulation").drop_vars("checksum"), one)
    first, *others = map(contents, files)
    for other in others:
        assert first == other


def test_another_seed_gives_other_numbers():
    assert (sweep(MODEL, **GRID, **RUN).q != sweep(MODEL, **GRID, **RUN | {"seed": 6}).q).any()


def test_axes_over_model_parameters():
    model = DenseHebbian(N=20, P=2, K=2, training="supervised", quality=0.5, examples=3)
    result = sweep(model, examples=[1, 5], quality=[0.4, 0.9], N=[20, 24], T=0.1, **RUN)
    assert result.m.dims == ("N", "quality", "examples", "T", "sample", "replica")
    assert result.examples.dtype.kind == "i"


@pytest.mark.parametrize("learning", [{}, {"training": "unsupervised", "quality": 0.7, "examples": 3}])
def test_a_multitasking_network_without_blanks_is_a_dense_one_bit_for_bit(learning):
    grid = {"T": [0.2, 0.5], "samples": 2, "sweeps": 5, "seed": 4, "overlaps": "all"}
    multitasking = sweep(MultitaskingHebbian(N=40, K=3, **learning), dilution=[0.0, 0.3], **grid)
    dense = sweep(DenseHebbian(N=40, P=2, K=3, **learning), **grid)
    xr.testing.assert_identical(
        multitasking.sel(dilution=0.0, drop=True).drop_attrs(deep=False), dense.drop_attrs(deep=False)
    )
    assert not multitasking["energy"].sel(dilution=0.3).identical(dense["energy"])


def test_an_axis_that_the_model_lacks_is_named():
    with pytest.raises(TypeError, match=r"dilution = 0.5 is no parameter of DenseHebbian; allowed: N, load, K"):
        sweep(DenseHebbian(N=40, P=2, K=3), T=0.1, dilution=0.5, samples=1, sweeps=1, seed=1)


def test_given_archetypes_are_used():
    xi = np.where(np.arange(30) % 2, 1, -1)[None].repeat(3, axis=0)
    result = sweep(MODEL.replace(K=3), T=0.01, archetypes=xi, **RUN)
    assert (result.m == 1).all()


def test_what_is_finished_survives_an_error_and_is_not_run_again(tmp_path, monkeypatch):
    calls = []

    def fail_at_the_fourth(job):
        calls.append(job)
        if len(calls) == 4:
            raise RuntimeError("power cut")
        return original(job)

    original = sweep.__globals__["run"]
    monkeypatch.setitem(sweep.__globals__, "run", fail_at_the_fourth)
    path = tmp_path / "results.h5"
    with pytest.raises(TaskError, match="sample 0 failed: RuntimeError: power cut"):
        sweep(MODEL, **GRID, **RUN, out=path)
    kept = store.read(path, "simulation")
    assert kept.completed.values.tolist() == [[1, 1, 1], [0, 0, 0]]
    assert kept.m.sel(load=0.05).notnull().all()
    assert kept.m.sel(load=0.2).isnull().all()
    sweep(MODEL, **GRID, **RUN, out=path, resume=True)
    assert len(calls) == 7
    sweep(MODEL, **GRID, **RUN, out=path, resume=True)
    assert len(calls) == 7
    sweep(MODEL, **GRID, **RUN, out=tmp_path / "whole.h5")
    assert contents(path) == contents(tmp_path / "whole.h5")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 6}, "has seed = 5, asked for is 6"),
        ({"samples": 4}, "parameters.samples = 3, asked for is 4"),
        ({"sweeps": 21}, "parameters.options.* asked for is"),
        ({"load": [0.05, 0.1]}, r"load = \[0.05, 0.2\], asked for is \[0.05, 0.1\]"),
        ({"T": [0.2, 0.5]}, "T|asked for"),
        (
            {"adaptive": Adaptive(budget=8, largest=5)},
            "parameters.adaptive = None, asked for is .*'Adaptive'",
        ),
        ({"replicas": 3}, "parameters.options.replicas = None, asked for is 3"),
    ],
)
def test_another_sweep_is_not_gone_on_with(changed, message, tmp_path):
    path = tmp_path / "results.h5"
    sweep(MODEL, **GRID, **RUN, out=path)
    before = contents(path)
    with pytest.raises(ValueError, match=message):
        sweep(MODEL, **{**GRID, **RUN, **changed}, out=path, resume=True)
    assert contents(path) == before


def test_a_sweep_is_one_group_of_a_file(tmp_path):
    with store.ResultsFile(tmp_path / "results.h5", {"seed": 5}) as file:
        first = sweep(MODEL, **GRID, **RUN, out=file, group="simulation/first")
        second = sweep(MODEL, **GRID, **RUN | {"sweeps": 5}, out=file, group="simulation/second")
    assert store.rooms(tmp_path / "results.h5") == ["simulation/first", "simulation/second"]
    for group, result in (("simulation/first", first), ("simulation/second", second)):
        xr.testing.assert_identical(store.read(tmp_path / "results.h5", group).drop_vars("checksum"), result)


# Lists of points


def test_points_are_those_of_the_product_bit_for_bit(tmp_path):
    whole = sweep(MODEL, **GRID, **RUN)
    points = {"load": [0.2, 0.05, 0.2], "T": [0.8, 0.2, 0.2]}
    listed = sweep(MODEL, points=points, **RUN, out=tmp_path / "results.h5")
    assert listed.m.dims == ("point", "sample", "replica")
    for i, (load, T) in enumerate(zip(points["load"], points["T"], strict=True)):
        one = whole.sel(load=load, T=T)
        for name in ("m", "q", "energy", "m_error", "acceptance"):
            np.testing.assert_array_equal(listed[name][i], one[name], err_msg=name)
        assert listed["K"][i] == one["K"]
        assert (listed["load"][i], listed["T"][i]) == (load, T)
    xr.testing.assert_identical(store.read(tmp_path / "results.h5", "simulation").drop_vars("checksum"), listed)
    with xr.open_datatree(tmp_path / "results.h5") as tree:
        assert set(tree["simulation"].coords) >= {"load", "T"}


def test_points_with_temperatures_as_an_axis():
    whole = sweep(MODEL, **GRID, **RUN)
    listed = sweep(MODEL, points={"load": [0.2, 0.05]}, T=GRID["T"], **RUN)
    assert listed.m.dims == ("point", "T", "sample", "replica")
    np.testing.assert_array_equal(listed["m"], whole["m"].sel(load=[0.2, 0.05]))
    np.testing.assert_array_equal(listed["T"], GRID["T"])


def test_points_of_one_model_share_their_samples(monkeypatch):
    jobs = []
    original = sweep.__globals__["run"]
    monkeypatch.setitem(sweep.__globals__, "run", lambda job: [jobs.append(job), original(job)][1])
    sweep(MODEL, points={"load": [0.1, 0.2, 0.1], "T": [0.3, 0.3, 0.6]}, **RUN)
    assert [(job.model.load, job.options["T"].tolist()) for job in jobs] == 3 * [(0.1, [0.3, 0.6])] + 3 * [(0.2, [0.3])]


# Shards


@pytest.mark.parametrize("points", [{}, {"points": {"load": [0.05, 0.2, 0.05], "T": [0.2, 0.2, 0.5]}}])
def test_shards_are_disjoint_and_make_up_the_whole(points, tmp_path):
    grid = points or GRID
    whole = sweep(MODEL, **grid, **RUN)
    parts = [sweep(MODEL, **grid, **RUN, out=tmp_path / f"{i}.h5", shard=(i, 4)) for i in range(4)]
    counts = sum(part["completed"].values for part in parts)
    np.testing.assert_array_equal(counts, 1)
    for part in parts:
        done = part["completed"] == 1
        np.testing.assert_array_equal(part["m"].where(done), whole["m"].where(done))
        assert part["m"].where(~done).isnull().all()
    # They can be gone on with as one.
    for i in (3, 1, 0, 2):
        joint = sweep(MODEL, **grid, **RUN, out=tmp_path / "joint.h5", shard=(i, 4), resume=True)
    xr.testing.assert_identical(joint, whole)


def test_more_shards_than_tasks():
    empty = sweep(MODEL, **GRID, **RUN, shard=(90, 100), workers=2)
    assert not empty["completed"].any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"T": [-1]}, ValueError, "T = -1"),
        ({"T": []}, ValueError, "T is empty"),
        ({"load": []}, ValueError, "load is empty"),
        ({"load": [0.1, 0.0]}, ValueError, r"load = 0.0 .* \(0.0, inf\)"),
        ({"load": np.nan}, ValueError, "load = nan"),
        ({"load": None}, ValueError, "neither load nor K"),
        ({"load": 1e30}, ValueError, "patterns"),
        ({"N": [20.5]}, ValueError, "non-integer"),
        ({"N": [2]}, ValueError, "N = 2 .* >= P"),
        ({"N": 30000, "load": 0.1}, MemoryError, "GiB"),
        ({"replicas": 10**9}, MemoryError, "GiB"),
        ({"K": [3], "load": 0.1}, ValueError, "give one of the two"),
        ({"quality": 0.5}, ValueError, "no meaning for training='storing'"),
        ({"samples": 0}, ValueError, "samples = 0"),
        ({"sweeps": 0}, ValueError, "sweeps = 0"),
        ({"workers": 0}, ValueError, "workers = 0"),
        ({"seed": -3}, ValueError, "seed = -3"),
        ({"seed": 2**64}, ValueError, "integers from 0 to 18446744073709551615"),
        ({"temperature": 3}, TypeError, "temperature is not an option"),
        ({"dynamics": "none"}, ValueError, "dynamics = 'none'"),
        ({"archetypes": np.zeros((3, 30)), "load": None, "K": 3}, ValueError, "archetypes has an entry 0"),
        ({"load": None, "K": [3, 5], "pattern": 3}, ValueError, "pattern = 3 .* from 0 to 2"),
        ({"load": None, "K": 3, "initial": "mixture", "components": 4}, ValueError, "components = 4 .* from 1 to 3"),
        ({"initial": np.ones(29)}, ValueError, r"initial has shape \(29,\)"),
        ({"algorithm": "fields"}, ValueError, "algorithm = 'fields' needs P = 2"),
        ({"sweeps": 10**13}, MemoryError, "GiB"),
        ({"load": None, "K": [3, 5], "overlaps": "all"}, ValueError, r"overlaps = 'all' with K = \[3, 5\]"),
        ({"N": [20, 30], "configurations": True}, ValueError, r"configurations = True with N = \[20, 30\]"),
        ({"points": {"load": [0.1]}}, ValueError, "points with axes load; allowed: points or axes"),
        ({"points": {}, "load": None}, ValueError, r"points = \{\} is empty"),
        ({"points": {"load": [0.1], "T": [0.1]}, "load": None}, ValueError, "T is given twice or not at all"),
        ({"points": {"load": [0.1]}, "load": None, "T": None}, ValueError, "T is given twice or not at all"),
        ({"points": {"load": [0.1, 0.2], "N": [20]}, "load": None}, ValueError, r"points have \{'load': 2, 'N': 1\}"),
        ({"points": {"load": [0.1, 0.1]}, "load": None}, ValueError, "repeat a point"),
        ({"points": {"load": [[0.1]]}, "load": None}, ValueError, "load = .* in points is no list of numbers"),
        ({"points": {"load": ["a"]}, "load": None}, ValueError, "load = .* in points is no list of numbers"),
        ({"points": {"load": []}, "load": None}, ValueError, "load = .* in points is no list of numbers"),
        ({"points": {"load": [np.inf]}, "load": None}, ValueError, "every value of load: load = inf"),
        ({"points": {"N": [20.5], "load": [0.1]}, "load": None}, ValueError, "N = .* non-integer"),
        ({"points": {"load": [0.1], "T": [-0.1]}, "load": None, "T": None}, ValueError, "T = -0.1"),
        ({"points": {"P": [3]}, "load": None}, ValueError, "neither load nor K"),
        ({"points": {"colour": [3]}, "load": None}, TypeError, "colour = 3.0 is no parameter"),
        ({"shard": (2, 2)}, ValueError, "i of shard .* = 2 .* from 0 to 1"),
        ({"shard": (-1, 2)}, ValueError, "i of shard"),
        ({"shard": (0, 0)}, ValueError, "n of shard"),
        ({"shard": (0.5, 2)}, TypeError, "i of shard .* not an integer"),
        ({"shard": (0, 1, 2)}, TypeError, "is no pair"),
        ({"shard": 3}, TypeError, "shard = 3 is no pair"),
        ({"adaptive": Adaptive(5, 5)}, ValueError, "budget of adaptive = 5 .* >= 6"),
        ({"adaptive": Adaptive(50, 2)}, ValueError, "largest of adaptive = 2 .* >= 3"),
        ({"adaptive": Adaptive(50, 5), "samples": 1}, ValueError, "samples = 1 .* >= 2"),
        ({"adaptive": Adaptive(50, 5), "shard": (0, 2)}, ValueError, "shard"),
        ({"adaptive": 50}, TypeError, "adaptive = 50 is none; allowed: sim.Adaptive"),
        (
            {"adaptive": Adaptive(50, 5), "points": {"load": [0.1], "T": [0.1]}, "load": None, "T": None},
            ValueError,
            "adaptive with a list of points that has T",
        ),
        ({"adaptive": Adaptive(50, 5, variable="colour")}, ValueError, "colour"),
        ({"backend": "gpu", "workers": 2}, ValueError, "backend = 'gpu' with workers = 2"),
        ({"backend": "abacus"}, ValueError, "backend = 'abacus' is unknown"),
        ({"group": ""}, ValueError, "group = '' is no name"),
        ({"group": "a//b"}, ValueError, "group = 'a//b' is no name"),
        ({"executor": "local:2"}, TypeError, "executor = 'local:2' is no executor"),
        ({"overwrite": True, "resume": True}, ValueError, "overwrite and resume are both set"),
        ({"T": None}, ValueError, "T is missing"),
        ({"load": [0.1, 0.1]}, ValueError, "load = .* repeats a value"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        sweep(MODEL, **{**GRID, **RUN, **options}, out=tmp_path / "results.h5")
    assert os.listdir(tmp_path) == []


def test_an_existing_file_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sweep.__globals__, "run", lambda task: pytest.fail("work was started"))
    (tmp_path / "results.h5").write_text("precious")
    with pytest.raises(FileExistsError, match="exists"):
        sweep(MODEL, **GRID, **RUN, out=tmp_path / "results.h5")
    assert (tmp_path / "results.h5").read_text() == "precious"


def test_what_does_not_fit_is_refused_with_the_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=2000))
    with pytest.raises(OSError, match=r"needs about .* KiB on the disk .*, 1.95 KiB are free"):
        sweep(MODEL, **GRID, **RUN, out=tmp_path / "results.h5")
    assert os.listdir(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setattr(validation, "available_memory", lambda: 7000.0)
    with pytest.raises(MemoryError, match=r"2 task\(s\) at once, 2.7 KiB each, and results of .* KiB needs about"):
        sweep(MODEL, **GRID, **RUN, out=tmp_path / "results.h5", workers=2)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n"])
def test_a_foreign_file_is_not_gone_on_with(tmp_path, content):
    (tmp_path / "results.h5").write_bytes(content)
    with pytest.raises(ValueError, match=r"is not an HDF5 file|is no results file"):
        sweep(MODEL, **GRID, **RUN, out=tmp_path / "results.h5", resume=True)
    assert (tmp_path / "results.h5").read_bytes() == content
    assert os.listdir(tmp_path) == ["results.h5"]


def test_the_cost_is_told_before(caplog):
    caplog.set_level("INFO", "hebbian")
    sweep(MODEL, **GRID, **RUN)
    assert "6 tasks, up to " in caplog.text
    assert "on 1 worker(s) like this core" in caplog.text


def test_a_list_of_points_is_gone_on_with(tmp_path):
    points = {"load": [0.1, 0.2, 0.1], "T": [0.3, 0.4, 0.8]}
    first = sweep(MODEL, points=points, **RUN, out=tmp_path / "a.h5")
    xr.testing.assert_identical(sweep(MODEL, points=points, **RUN, out=tmp_path / "a.h5", resume=True), first)
    with pytest.raises(ValueError, match=r"has T = \[0.3, 0.4, 0.8\], asked for is \[0.3, 0.4, 0.9\]"):
        sweep(MODEL, points=points | {"T": [0.3, 0.4, 0.9]}, **RUN, out=tmp_path / "a.h5", resume=True)


ON_CARD = {"backend": "gpu", "algorithm": "blocks", "progress": False}
SMALL = DenseHebbian(N=8, P=2, K=2)
SMALL_GRID = {"K": [1, 2], "T": [0.2, 0.6], "samples": 3, "sweeps": 4, "seed": 3, "equilibration": 2}


def test_a_card_has_the_results_of_the_cpu():
    cpu = sweep(SMALL, **SMALL_GRID, backend="cpu", progress=False)
    card = sweep(SMALL, **SMALL_GRID, **ON_CARD)
    assert cpu.attrs["engine"] != card.attrs["engine"]
    for name in cpu.variables:
        np.testing.assert_array_equal(cpu[name], card[name], err_msg=name)
    points = {"points": {"K": [1, 2, 2], "T": [0.6, 0.2, 0.6]}, "K": None, "T": None}
    apart = sweep(SMALL, **(SMALL_GRID | points), **ON_CARD)
    np.testing.assert_array_equal(apart.m, [card.m[0, 1], card.m[1, 0], card.m[1, 1]])


def test_tasks_of_a_card_do_not_depend_on_those_beside_them(monkeypatch):
    sizes, measure = [], sweep.__globals__["front"].measure_together

    def counted(samples, *arguments, **options):
        sizes.append(len(samples))
        return measure(samples, *arguments, **options)

    monkeypatch.setattr("sim.glauber.front.measure_together", counted)
    together = sweep(SMALL, **SMALL_GRID, **ON_CARD)
    assert sizes[-2:] == [3, 3]
    monkeypatch.setitem(sweep.__globals__, "_CHAINS", 8)
    in_pairs = sweep(SMALL, **SMALL_GRID, **ON_CARD)
    assert sizes[-4:] == [2, 1, 2, 1]
    assert in_pairs.identical(together)


def test_a_sweep_on_a_card_is_gone_on_with_bit_for_bit(tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole.h5", tmp_path / "cut.h5"
    expected = sweep(SMALL, **SMALL_GRID, **ON_CARD, out=whole)
    measure = sweep.__globals__["front"].measure_together

    def failing(samples, options, *, seed, tasks):
        if len(samples) > 1 and samples[0].model.K == 2:
            raise MemoryError("the card is full")
        return measure(samples, options, seed=seed, tasks=tasks)

    with monkeypatch.context() as patch:
        patch.setattr("sim.glauber.front.measure_together", failing)
        with pytest.raises(TaskError, match=r"K = 2, .*failed: with those beside it: MemoryError: the card is full"):
            sweep(SMALL, **SMALL_GRID, **ON_CARD, out=cut)
    assert xr.load_dataset(cut, group="simulation").completed.sum() == 3
    # What has been computed on a card goes on there, without being asked.
    resumed = sweep(SMALL, **SMALL_GRID, algorithm="blocks", progress=False, out=cut, resume=True)
    assert resumed.drop_vars("completed").identical(expected.drop_vars("completed"))
    assert "simulator" in xr.load_dataset(cut, group="simulation").attrs["engine"]


def test_results_of_another_engine_are_not_gone_on_with(tmp_path):
    model, options = DenseHebbian(N=8, P=3, K=2), {**SMALL_GRID, "K": [2], "scan": "synchronous", "progress": False}
    sweep(model, **options, backend="cpu", out=tmp_path / "cpu.h5")
    with pytest.raises(ValueError, match=r"engine = 'sim.glauber, numba, cpu', asked for is 'sim.glauber, .*, gpu'"):
        sweep(model, **options, backend="gpu", out=tmp_path / "cpu.h5", resume=True)
    sweep(model, **options, out=tmp_path / "cpu.h5", resume=True)
