import importlib.util
import sys
import tracemalloc
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from hebbian.activations import NAMES, get_activation
from theory.kernels import Kernels, dual, dual_diag, extend, mlp_kernel

PARAMETERS = {"abrelu": {"a": -0.3, "b": 1.7}, "rbf": {"g": 0.7}, "exp": {"a": 0.4}, "hermite": {"k": 3}}
PARAMETERS |= {"monomial": {"k": 2}, "leaky_relu": {"a": 0.2}}
ACTIVATIONS = [get_activation(name, **PARAMETERS.get(name, {})) for name in NAMES if name != "step"]
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(9, 6)), RNG.normal(size=(7, 6))


def is_installed(name):
    return importlib.util.find_spec(name) is not None


def by_name(act):
    return act.name


def recursion(X, Y, act, depth, cw, cb, lw=None, lb=None, residual=0.0, layer_norm=False):
    """Kernels of pairs by the formulas, layer by layer."""
    cw, cb, lw, lb = (
        np.broadcast_to(v, depth + 1) for v in (cw, cb, cw if lw is None else lw, cb if lb is None else lb)
    )
    products = X @ Y.T / X.shape[1]
    K, T = cw[0] * products + cb[0], lw[0] * products + lb[0]
    q1, q2 = (cw[0] * (Z**2).mean(1) + cb[0] for Z in (X, Y))
    for layer in range(1, depth + 1):
        skip = residual**2 if layer < depth else 0.0
        if layer_norm:
            size = np.sqrt(np.outer(q1, q2))
            k, kdot = dual(act, np.ones((len(X), 1)), np.ones(len(Y)), K / size, tol=1e-11)
            kdot, own = kdot / size, [dual_diag(act, np.ones(1))[0]] * 2
        else:
            k, kdot = dual(act, q1[:, None], q2, K, tol=1e-11)
            own = [dual_diag(act, q)[0] for q in (q1, q2)]
        T = lw[layer] * k + lb[layer] + (cw[layer] * kdot + skip) * T
        K = cw[layer] * k + cb[layer] + skip * K
        q1, q2 = (cw[layer] * k + cb[layer] + skip * q for k, q in zip(own, (q1, q2), strict=True))
    return K, T


def check(found, expected, tol=1e-12):
    for one, two in zip((found.nngp, found.ntk), expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=tol, atol=tol * np.abs(two).max())


@pytest.mark.parametrize("act", ACTIVATIONS, ids=by_name)
def test_compiled_tiles_are_the_recursion(act):
    numbers = {"depth": 3, "cw": [1.1, 0.9, 1.2, 0.8], "cb": [0.1, 0.0, 0.2, 0.1]}
    check(mlp_kernel(X, Y, act, **numbers), recursion(X, Y, act, **numbers))
    # Columns of pairs beyond a register, and an odd number of them.
    wide = RNG.normal(size=(37, 6))
    check(mlp_kernel(X, wide, act, **numbers, tile=19), recursion(X, wide, act, **numbers))


@pytest.mark.parametrize("act", ACTIVATIONS, ids=by_name)
def test_single_precision(act):
    # Squares of polynomials of polynomials amplify the rounding of products.
    tol = 2e-5 if act.name in ("hermite", "monomial") else 2e-6
    single = mlp_kernel(X, Y, act, depth=2, cw=0.9, cb=0.1, dtype="float32")
    assert single.nngp.dtype == single.ntk.dtype == np.float32
    double = mlp_kernel(X, Y, act, depth=2, cw=0.9, cb=0.1)
    check(single, (double.nngp, double.ntk), tol)


@pytest.mark.parametrize("name", ["relu", "erf", "gelu", "gaussian", "tanh"])
def test_residual_normalised_and_other_rates(name):
    for options in (
        {"residual": 0.7},
        {"layer_norm": True},
        {"layer_norm": True, "residual": -0.7},
        {"lw": [1.0, 0.0, 2.0, 0.5], "lb": 0.3},
    ):
        numbers = {"depth": 3, "cw": 1.3, "cb": 0.1} | options
        check(mlp_kernel(X, Y, name, **numbers), recursion(X, Y, name, **numbers))
        # Kernels of inputs with themselves, which are carried apart, are those with copies.
        alone, copies = mlp_kernel(X, **numbers, act=name), mlp_kernel(X, X.copy(), **numbers, act=name)
        check(alone, (copies.nngp, copies.ntk))


@pytest.mark.parametrize("act", ACTIVATIONS, ids=by_name)
def test_arrays_and_compiled_tiles_agree(act):
    numbers = {"act": act, "depth": 2, "cw": [1.1, 0.9, 1.2], "cb": 0.1, "lw": [1.0, 0.5, 2.0], "residual": 0.5}
    for other in (None, Y):
        found = mlp_kernel(X, other, **numbers, backend="numpy")
        compiled = mlp_kernel(X, other, **numbers, backend="numba")
        check(found, (compiled.nngp, compiled.ntk), 1e-12)
    single = mlp_kernel(X, Y, **numbers, backend="numpy", dtype="float32")
    assert single.ntk.dtype == np.float32
    check(single, (compiled.nngp, compiled.ntk), 2e-5)


def test_values_of_another_program():
    # neural-tangents 0.6.5, which counts biases by standard deviation
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(4, 5)), rng.normal(size=(3, 5))
    for options, nngp, ntk in (
        ({"depth": 3, "cw": 2.0, "cb": 0.1}, 0.6905380593734585, 1.0403216965993751),
        ({"act": "erf", "depth": 2, "cw": 1.5, "cb": 0.2}, 0.279307363168765, 0.28960189977199186),
        ({"act": "gelu", "depth": 2, "cw": 1.5, "cb": 0.1}, 0.16383541901635484, 0.16875448166596987),
        ({"act": "sin", "depth": 2, "cb": 0.1}, 0.12079605893111414, 0.09462471604144969),
        ({"act": "gaussian", "depth": 2, "cb": 0.1}, 0.5870721539278216, 0.7668064132691923),
        ({"depth": 3, "cw": 1.5, "cb": 0.1, "residual": 1.0}, 0.7260099367196718, 0.806709246436464),
        (
            {"depth": 2, "cw": 1.5, "cb": 0.1, "parametrization": "standard", "widths": [7, 7]},
            0.3022239263396181,
            2.5251041456198324,
        ),
    ):
        found = mlp_kernel(A, B, **options)
        np.testing.assert_allclose([found.nngp[0, 0], found.ntk[0, 0]], [nngp, ntk], rtol=1e-12)


@pytest.mark.parametrize("depth", [1, 3, 20])
def test_diagonals_are_exact(depth):
    Z = RNG.normal(size=(60, 50))
    found = mlp_kernel(Z, depth=depth, cw=2.0)
    np.testing.assert_allclose(np.diag(found.ntk), (depth + 1) * np.diag(found.nngp), rtol=1e-12)
    np.testing.assert_allclose(np.diag(found.nngp), 2 * (Z**2).mean(1), rtol=1e-12)
    # Copies among other inputs are as exact.
    other = mlp_kernel(Z, Z[::-1].copy(), depth=depth, cw=2.0)
    np.testing.assert_allclose(np.diag(other.ntk[:, ::-1]), np.diag(found.ntk), rtol=1e-12)
    single = mlp_kernel(Z, depth=depth, cw=2.0, dtype="float32")
    np.testing.assert_allclose(np.diag(single.ntk), (depth + 1) * np.diag(found.nngp), rtol=1e-6)
    own = mlp_kernel(Z, depth=depth, cw=2.0, diag_only=True)
    np.testing.assert_array_equal(own.ntk, np.diag(found.ntk))
    np.testing.assert_array_equal(own.nngp, np.diag(found.nngp))


@pytest.mark.parametrize("name", ["relu", "gelu", "erf", "tanh", "sin"])
def test_kernels_are_positive_and_follow_the_data(name):
    Z = RNG.normal(size=(40, 20))
    Z[7] = Z[3] * 1.001
    numbers = {"act": name, "depth": 4, "cw": 1.4, "cb": 0.05}
    found = mlp_kernel(Z, **numbers)
    order, rows = RNG.permutation(40), np.array([3, 7, 11, 20])
    turned = mlp_kernel(Z @ np.linalg.qr(RNG.normal(size=(20, 20)))[0], **numbers)
    for kernel in ("nngp", "ntk"):
        values = getattr(found, kernel)
        np.testing.assert_array_equal(values, values.T)
        assert np.linalg.eigvalsh(values).min() >= -1e-10 * np.trace(values)
        np.testing.assert_allclose(
            getattr(mlp_kernel(Z[order], **numbers), kernel), values[order][:, order], rtol=1e-12
        )
        part = getattr(mlp_kernel(Z[rows], Z[:5], **numbers), kernel)
        far = ~np.eye(40, dtype=bool)[rows][:, :5]
        np.testing.assert_allclose(part[far], values[rows][:, :5][far], rtol=1e-11)
        np.testing.assert_allclose(getattr(turned, kernel), values, rtol=1e-11)


def test_rectifiers_are_homogeneous_and_linear_networks_linear():
    found = mlp_kernel(X, Y, depth=3, cw=2.0)
    scaled = mlp_kernel(3.0 * X, 0.2 * Y, depth=3, cw=2.0)
    check(scaled, (0.6 * found.nngp, 0.6 * found.ntk))
    products = X @ Y.T / 6
    check(mlp_kernel(X, Y, "linear", depth=3, cw=1.5), (1.5**4 * products, 4 * 1.5**4 * products))
    check(mlp_kernel(X, Y, depth=0, cw=1.5, cb=0.2), (1.5 * products + 0.2, 1.5 * products + 0.2))


def test_all_layers():
    every = mlp_kernel(X, None, "erf", depth=3, cw=1.3, cb=0.1, per_layer=True)
    assert every.ntk.shape == (4, 9, 9)
    for depth in range(4):
        last = mlp_kernel(X, None, "erf", depth=depth, cw=1.3, cb=0.1)
        check(Kernels(every.nngp[depth], every.ntk[depth]), (last.nngp, last.ntk))
    own = mlp_kernel(X, None, "erf", depth=3, cw=1.3, cb=0.1, per_layer=True, diag_only=True)
    np.testing.assert_array_equal(own.ntk, np.diagonal(every.ntk, axis1=1, axis2=2))


@pytest.mark.parametrize("name", ["relu", "tanh"])
@pytest.mark.parametrize("tile", [1, 7, 32, 33, 300])
def test_tiles_change_nothing(name, tile):
    Z = np.random.default_rng(3).normal(size=(33, 10))
    numbers = {"act": name, "depth": 3, "cw": 1.7, "cb": 0.1}
    for other in (None, Z[:20] + 0.1):
        whole, part = mlp_kernel(Z, other, **numbers), mlp_kernel(Z, other, **numbers, tile=tile)
        check(part, (whole.nngp, whole.ntk), 1e-13)


def test_kernels_go_to_files_and_memory_stays_that_of_tiles(tmp_path):
    Z = np.random.default_rng(4).normal(size=(1200, 8))
    expected = mlp_kernel(Z, depth=2, cw=2.0)
    memmaps = [np.lib.format.open_memmap(tmp_path / f"{k}.npy", "w+", shape=(1200, 1200)) for k in ("nngp", "ntk")]
    tracemalloc.start()
    mlp_kernel(Z, depth=2, cw=2.0, out=Kernels(*memmaps), tile=128)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    plain = mlp_kernel(Z, depth=2, cw=2.0, tile=128)
    _, with_outputs = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.4 * expected.ntk.nbytes
    assert with_outputs < 2.5 * expected.ntk.nbytes
    check(Kernels(*memmaps), (expected.nngp, expected.ntk), 1e-13)
    check(plain, (expected.nngp, expected.ntk), 1e-13)
    with h5py.File(tmp_path / "kernels.h5", "w") as file:
        sets = [file.create_dataset(name, (1200, 1200), "f4") for name in ("nngp", "ntk")]
        mlp_kernel(Z, depth=2, cw=2.0, out=Kernels(*sets), dtype="float32")
        check(Kernels(sets[0][:], sets[1][:]), (expected.nngp, expected.ntk), 2e-6)


def test_new_inputs_are_appended():
    numbers = {"act": "gelu", "depth": 2, "cw": 1.3}
    whole = mlp_kernel(np.concatenate([X, Y]), **numbers)
    check(extend(mlp_kernel(X, **numbers), X, Y, **numbers), (whole.nngp, whole.ntk))
    part = extend(mlp_kernel(X, **numbers, get="ntk"), X, Y, **numbers)
    assert part.nngp is None
    np.testing.assert_allclose(part.ntk, whole.ntk, rtol=1e-12)
    with pytest.raises(ValueError, match=r"ntk has shape \(16, 16\); allowed: \(9, 9\)"):
        extend(Kernels(ntk=whole.ntk), X, Y, **numbers)
    with pytest.raises(ValueError, match="per_layer = True is not for extend"):
        extend(whole, X, Y, per_layer=True)


def test_near_copies_of_a_slow_series():
    # Coefficients of a function with kinks that has no closed form fall off slowly: near-copies go by quadrature.
    relu = get_activation("relu")
    custom = get_activation(relu.f, df=relu.df, kinks=relu.kinks)
    Z = np.array([[1.0, 0.0], [1.0, 0.02], [0.3, 1.0]])
    expected = mlp_kernel(Z, depth=1, cw=2.0)
    check(mlp_kernel(Z, None, custom, depth=1, cw=2.0), (expected.nngp, expected.ntk), 1e-9)


def test_what_is_not_asked_for_is_not_there():
    assert mlp_kernel(X, get="nngp").ntk is None
    assert mlp_kernel(X, get=["ntk"]).nngp is None
    found = mlp_kernel(X, Y, "step", depth=2, get="nngp", cb=0.1)
    size = np.sqrt(np.outer(((X**2).mean(1) + 0.1), (Y**2).mean(1) + 0.1))
    angle = np.arccos((X @ Y.T / 6 + 0.1) / size)
    k = 0.5 - angle / (2 * np.pi) + 0.1
    np.testing.assert_allclose(found.nngp, 0.5 - np.arccos(k / 0.6) / (2 * np.pi) + 0.1, rtol=1e-12)
    integers = mlp_kernel(np.array([[1, 2], [3, 5]]), depth=1)
    np.testing.assert_array_equal(integers.ntk, mlp_kernel([[1.0, 2.0], [3.0, 5.0]], depth=1).ntk)
    assert integers.ntk.dtype == np.float64


def test_inputs_that_vanish():
    Z = np.array([[0.0, 0.0], [1.0, 2.0]])
    for name in ("relu", "tanh", "gelu", "erf", "cos"):
        found = mlp_kernel(Z, None, name, depth=2, lb=0.3)
        assert np.isfinite(found.ntk).all()
        if name == "tanh":
            near = mlp_kernel(Z + np.array([[1e-7, 0], [0, 0]]), None, name, depth=2, lb=0.3)
            np.testing.assert_allclose(found.ntk, near.ntk, atol=1e-6)


def test_a_card_that_is_not_there(monkeypatch):
    if not is_installed("cupy"):
        with pytest.raises(
            ImportError, match=r"backend = 'cupy' needs the package cupy; `pip install 'hebbian\[gpu\]'`"
        ):
            mlp_kernel(X, backend="cupy")

    class Error(Exception):
        pass

    def asarray(X):
        raise Error("no CUDA-capable device is detected")

    runtime = SimpleNamespace(CUDARuntimeError=Error)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(asarray=asarray, cuda=SimpleNamespace(runtime=runtime)))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(ValueError, match=r"backend = 'cupy': no card answers \(no CUDA-capable"):
        mlp_kernel(X, backend="cupy")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"X2": np.ones((2, 5))}, ValueError, "X2 has 5 columns; allowed: those of X1, 6"),
        ({"X1": X * np.where(X == X[1, 2], np.nan, 1)}, ValueError, r"X1 has an entry nan at \(1, 2\)"),
        ({"X1": np.ones((0, 3))}, ValueError, r"X1 has shape \(0, 3\); allowed: at least one row"),
        ({"X1": np.ones(3)}, ValueError, r"X1 has shape \(3,\); allowed: \(any, any\)"),
        ({"X1": [["a"]]}, TypeError, "X1 has dtype"),
        ({"cw": -1.0}, ValueError, r"cw = -1\.0 is out of range"),
        ({"cb": [0.0, -0.1]}, ValueError, r"cb = -0\.1 is out of range"),
        ({"cw": [1.0, 1.0, 1.0]}, ValueError, r"cw = .* has 3 values; allowed: a number or depth \+ 1 = 2"),
        ({"depth": -1}, ValueError, "depth = -1 is out of range"),
        ({"act": "mish"}, ValueError, "activation = 'mish' is unknown"),
        (
            {"act": "step"},
            ValueError,
            "get = 'ntk' with activation 'step': its slope is infinite; allowed: get = 'nngp'",
        ),
        ({"get": "ntkk"}, ValueError, "get = 'ntkk' is unknown; allowed: 'nngp', 'ntk'"),
        ({"dtype": "float16"}, ValueError, "dtype = 'float16' is unknown"),
        ({"X1": 0 * X, "layer_norm": True}, ValueError, "input 0 has variance 0 before a normalisation"),
        ({"act": "exp", "depth": 9, "cw": 9.0}, ValueError, "kernels overflow at layer"),
        ({"parametrization": "mup"}, ValueError, "parametrization = 'mup' is unknown"),
        ({"parametrization": "standard"}, ValueError, "widths = None; allowed with parametrization = 'standard': 1"),
        ({"widths": [3]}, ValueError, r"widths = \[3\] with parametrization = 'ntk'"),
        ({"tile": 0}, ValueError, "tile = 0 is out of range"),
        (
            {"out": Kernels(np.ones((9, 9)), np.ones((9, 8)))},
            ValueError,
            r"out\.ntk has shape \(9, 8\); allowed: \(9, 9\)",
        ),
        ({"backend": "jax"}, ValueError, "backend = 'jax' is unknown; allowed: 'auto', 'numba', 'numpy', 'cupy'"),
        ({"backend": "numpy", "per_layer": True}, ValueError, "backend = 'numpy' with per_layer or out"),
        ({"residual": np.inf}, ValueError, "residual = inf is out of range"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_bad_input_is_refused(changes, error, words):
    with pytest.raises(error, match=words):
        mlp_kernel(**({"X1": X} | changes))
