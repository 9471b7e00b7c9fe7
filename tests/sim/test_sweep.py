import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import xarray as xr

from hebbian import DenseHebbian, MultitaskingHebbian
from sim import quench, random, simulate, store, sweep

MODEL = DenseHebbian(N=30, P=3)
GRID = {"load": [0.05, 0.2], "T": [0.2, 0.5, 0.8]}
RUN = {"samples": 3, "sweeps": 20, "seed": 5}


def contents(path):
    """Everything in a file but the facts that name the run, not its result."""
    found = {}

    def visit(name, node):
        found.update({(name, key): repr(value) for key, value in node.attrs.items() if key not in REFERENCES})
        if isinstance(node, h5py.Dataset):
            found[name] = (str(node.dtype), node.shape, repr(node[...].tolist()), node.id.get_offset())

    with h5py.File(path) as file:
        file.visititems(visit)
        found.update({key: repr(value) for key, value in file.attrs.items() if key not in store.VOLATILE})
    return found


# HDF5 object references hold addresses; the offsets of the data are compared instead.
REFERENCES = ("REFERENCE_LIST", "DIMENSION_LIST")


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
    xr.testing.assert_equal(store.read(files[0], "simulation"), one)
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
    xr.testing.assert_identical(multitasking.sel(dilution=0.0, drop=True), dense)
    assert not multitasking["energy"].sel(dilution=0.3).identical(dense["energy"])


def test_an_axis_that_the_model_lacks_is_named():
    with pytest.raises(TypeError, match=r"dilution = 0.5 is no parameter of DenseHebbian; allowed: N, load, K"):
        sweep(DenseHebbian(N=40, P=2, K=3), T=0.1, dilution=0.5, samples=1, sweeps=1, seed=1)


def test_given_archetypes_are_used():
    xi = np.where(np.arange(30) % 2, 1, -1)[None].repeat(3, axis=0)
    result = sweep(MODEL.replace(K=3), T=0.01, archetypes=xi, **RUN)
    assert (result.m == 1).all()


def test_what_is_finished_survives_an_error(tmp_path, monkeypatch):
    calls = []

    def fail_at_the_fourth(task):
        calls.append(task)
        if len(calls) == 4:
            raise RuntimeError("power cut")
        return original(task)

    original = sweep.__globals__["run"]
    monkeypatch.setitem(sweep.__globals__, "run", fail_at_the_fourth)
    with pytest.raises(RuntimeError, match="power cut"):
        sweep(MODEL, **GRID, **RUN, out=tmp_path / "results.h5")
    kept = store.read(tmp_path / "results.h5", "simulation")
    assert kept.completed.values.tolist() == [[1, 1, 1], [0, 0, 0]]
    assert kept.m.sel(load=0.05).notnull().all()
    assert kept.m.sel(load=0.2).isnull().all()


def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from hebbian import DenseHebbian\nfrom sim import sweep\n"
        "sweep(DenseHebbian(N=10, P=2, K=1), T=0.1, samples=2, sweeps=1, seed=1, workers=2)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "guard its own work by `if __name__ == '__main__':`" in ended.stderr


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
