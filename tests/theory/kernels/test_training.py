import numpy as np
import pytest
from scipy.linalg import expm

from theory.kernels import descent, flow, mlp_kernel, posterior, series, train_law, training

RNG = np.random.default_rng(0)
TRAIN, TEST = RNG.normal(size=(12, 5)), RNG.normal(size=(6, 5))
Y = RNG.normal(size=(12, 2))
ALL = mlp_kernel(np.concatenate([TRAIN, TEST]), depth=2, cw=1.6, cb=0.1)


def blocks(kernel):
    return kernel[:12, :12], kernel[12:, :12], kernel[12:, 12:]


K_TT, K_ST, K_SS = blocks(ALL.nngp)
T_TT, T_ST, T_SS = blocks(ALL.ntk)
KERNELS = {"theta_tt": T_TT, "theta_st": T_ST, "k_tt": K_TT, "k_st": K_ST, "k_ss": K_SS}
# Outputs at train and test inputs together.
JOINT = {"theta_tt": T_TT, "theta_st": np.concatenate([T_TT, T_ST]), "k_tt": K_TT}
JOINT |= {"k_st": np.concatenate([K_TT, K_ST]), "k_ss": ALL.nngp}


def by_definition(t, kernels=KERNELS, ridge=0.0):
    """The affine map of the initial outputs, with the exponential of a matrix."""
    A = kernels["theta_tt"] + ridge * np.eye(12)
    M = kernels["theta_st"] @ np.linalg.solve(A, np.eye(12) - expm(-A * t))
    cov = kernels["k_ss"] + M @ K_TT @ M.T - M @ kernels["k_st"].T - kernels["k_st"] @ M.T
    return M @ Y, cov


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_flow_is_the_linear_equation_of_motion(ridge):
    times = [0.01, 0.3, 2.0, 50.0]
    law = flow(**KERNELS, y=Y, t=times, ridge=ridge)
    for i, t in enumerate(times):
        mean, cov = by_definition(t, ridge=ridge)
        np.testing.assert_allclose(law.mean[i], mean, atol=1e-11)
        np.testing.assert_allclose(law.cov[i], cov, atol=1e-11)
        one = flow(**KERNELS, y=Y[:, 0], t=t / 2, lr=2.0, ridge=ridge)
        np.testing.assert_allclose(one.mean, mean[:, 0], atol=1e-11)
        assert one.cov.shape == (6, 6)
    variances = flow(**KERNELS | {"k_ss": np.diag(K_SS)}, y=Y, t=times, ridge=ridge)
    np.testing.assert_allclose(variances.cov, np.diagonal(law.cov, axis1=1, axis2=2), atol=1e-12)


def test_flow_integrates_the_gradient():
    # Small steps of f' = -theta (f - y) on one draw of initial outputs, to the second order.
    draw = np.linalg.cholesky(ALL.nngp) @ RNG.normal(size=(18, 2))
    f, step = draw.copy(), 1e-4
    for _ in range(2000):
        middle = f - step / 2 * ALL.ntk[:, :12] @ (f[:12] - Y)
        f = f - step * ALL.ntk[:, :12] @ (middle[:12] - Y)
    law = flow(**KERNELS, y=Y, t=0.2, start=(draw[:12], draw[12:]))
    np.testing.assert_allclose(law.mean, f[12:], atol=1e-6)


def test_the_beginning_is_the_prior_and_the_end_interpolates():
    law = flow(**JOINT, y=Y, t=[0.0, np.inf])
    np.testing.assert_array_equal(law.mean[0], 0)
    np.testing.assert_allclose(law.cov[0], ALL.nngp, atol=1e-14)
    np.testing.assert_allclose(law.mean[1][:12], Y, atol=1e-8)
    assert np.abs(law.cov[1][:12, :12]).max() < 1e-10
    alone = flow(**JOINT, y=Y, t=np.inf)
    np.testing.assert_allclose(alone.mean, law.mean[1], atol=1e-10)
    np.testing.assert_allclose(alone.cov, law.cov[1], atol=1e-10)
    late = flow(**JOINT, y=Y, t=1e7)
    np.testing.assert_allclose(late.mean, law.mean[1], atol=1e-8)
    own = train_law(T_TT, K_TT, Y, [0.4, 3.0])
    np.testing.assert_allclose(own.mean, flow(**JOINT, y=Y, t=[0.4, 3.0]).mean[:, :12], atol=1e-12)


def test_covariances_are_positive_at_all_times():
    law = flow(**JOINT, y=Y, t=np.append(np.geomspace(1e-4, 1e5, 40), np.inf))
    assert np.linalg.eigvalsh(law.cov).min() > -1e-10 * np.trace(ALL.nngp)


def test_a_flow_goes_on_from_where_it_stopped():
    first = flow(**JOINT, y=Y, t=0.3)
    rest = {"k_tt": first.cov[:12, :12], "k_st": first.cov[:, :12], "k_ss": first.cov}
    second = flow(**JOINT | rest, y=Y, t=0.9, start=(first.mean[:12], first.mean))
    once = flow(**JOINT, y=Y, t=1.2)
    np.testing.assert_allclose(second.mean, once.mean, atol=1e-11)
    np.testing.assert_allclose(second.cov, once.cov, atol=1e-11)


def test_units_of_time_of_the_losses():
    for options in ({}, {"ridge": 0.2}):
        mean = flow(**KERNELS, y=Y, t=24 * 0.7, loss="half_mean", **options)
        total = flow(**KERNELS, y=Y, t=0.7, **options)
        np.testing.assert_allclose(mean.mean, total.mean, atol=1e-13)
        np.testing.assert_allclose(mean.cov, total.cov, atol=1e-13)
    steps = descent(**KERNELS, y=Y, step=24 * 0.01, n_steps=7, loss="half_mean")
    np.testing.assert_allclose(steps.mean, descent(**KERNELS, y=Y, step=0.01, n_steps=7).mean, atol=1e-13)


def test_training_the_readout_alone_ends_at_the_posterior():
    readout = KERNELS | {"theta_tt": K_TT, "theta_st": K_ST}
    expected = posterior(K_TT, K_ST, K_SS, Y)
    for t in (np.inf, [1.0, np.inf]):
        law = flow(**readout, y=Y, t=t)
        np.testing.assert_allclose(law.mean if np.ndim(t) == 0 else law.mean[1], expected.mean, atol=1e-9)
        np.testing.assert_allclose(law.cov if np.ndim(t) == 0 else law.cov[1], expected.cov, atol=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_descent_takes_steps(ridge):
    largest = np.linalg.eigvalsh(T_TT)[-1] + ridge
    for step in (1e-3, 1.9 / largest):
        law = descent(**JOINT, y=Y, step=step, n_steps=[0, 1, 5, 60], ridge=ridge)
        A, M = T_TT + ridge * np.eye(12), np.zeros((18, 12))
        powers = np.eye(12)
        for n in range(61):
            if n in (0, 1, 5, 60):
                i = [0, 1, 5, 60].index(n)
                np.testing.assert_allclose(law.mean[i], M @ Y, atol=1e-10)
                cov = ALL.nngp + M @ K_TT @ M.T - M @ ALL.nngp[:12] - ALL.nngp[:, :12] @ M.T
                np.testing.assert_allclose(law.cov[i], cov, atol=1e-10)
            M = M + step * JOINT["theta_st"] @ powers
            powers = powers - step * A @ powers
    slow = descent(**KERNELS, y=Y, step=1e-6, n_steps=400_000, ridge=ridge)
    np.testing.assert_allclose(slow.mean, flow(**KERNELS, y=Y, t=0.4, ridge=ridge).mean, atol=1e-4)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_products_alone_give_what_the_eigenbasis_gives(ridge, monkeypatch):
    times = [0.0, 1e-3, 0.3, 40.0, 1e4, np.inf]
    direct, iterative = (flow(**JOINT, y=Y, t=times, ridge=ridge, method=m) for m in ("direct", "iterative"))
    np.testing.assert_allclose(iterative.mean, direct.mean, atol=1e-9)
    np.testing.assert_allclose(iterative.cov, direct.cov, atol=1e-9)
    one = flow(**KERNELS, y=Y[:, 0], t=0.3, ridge=ridge, method="iterative")
    np.testing.assert_allclose(one.mean, direct.mean[2, 12:, 0], atol=1e-11)
    # Of large kernels "auto" takes them while times are early.
    monkeypatch.setattr(training, "LARGE", 1)
    used, apply = [], series.apply
    monkeypatch.setattr(training.series, "apply", lambda *given: used.append(given) or apply(*given))
    few = KERNELS | {name: KERNELS[name][:1] for name in ("theta_st", "k_st")} | {"k_ss": K_SS[:1, :1]}
    np.testing.assert_allclose(flow(**few, y=Y, t=0.3, ridge=ridge).mean, direct.mean[2, 12:13], atol=1e-11)
    assert len(used) == 1
    flow(**few, y=Y, t=1e4, ridge=ridge)
    assert len(used) == 1


def test_series_have_as_many_terms_as_the_root_of_the_time():
    sizes = [len(series.coefficients(lambda x, t=t: -np.expm1(-t * x) / x, 1.0)) for t in (1e2, 1e4, 1e6)]
    assert 8 < sizes[1] / sizes[0] < 11
    assert 8 < sizes[2] / sizes[1] < 11
    assert np.linalg.eigvalsh(T_TT)[-1] <= series.spectral_bound(T_TT, 0.0)


def test_modes_that_never_learn_stay():
    copies = np.array([0, 0, 1])
    kernels = {"theta_tt": T_TT[np.ix_(copies, copies)], "theta_st": T_ST[:, copies], "k_ss": K_SS}
    kernels |= {"k_tt": K_TT[np.ix_(copies, copies)], "k_st": K_ST[:, copies]}
    law = flow(**kernels, y=Y[:3], t=1e3)
    # The two labels of one input count by their mean.
    merged = flow(T_TT[:2, :2], T_ST[:, :2], K_TT[:2, :2], K_ST[:, :2], K_SS, [Y[:2].mean(0), Y[2]], np.inf)
    np.testing.assert_allclose(law.mean, merged.mean, atol=1e-9)
    for t in (np.inf, [1.0, np.inf]):
        with pytest.raises(ValueError, match=r"theta_tt \+ 0.0 is singular: rows 0 and 1 coincide; allowed: distinct"):
            flow(**kernels, y=Y[:3], t=t)
    assert np.isfinite(flow(**kernels, y=Y[:3], t=np.inf, ridge=1e-3).mean).all()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"t": -1.0}, ValueError, r"t has an entry -1\.0; allowed: numbers >= 0"),
        ({"t": [0.0, np.nan]}, ValueError, "t has an entry nan"),
        ({"t": "late"}, ValueError, "t = 'late'; allowed: a number"),
        ({"lr": 0.0}, ValueError, r"lr = 0\.0 is out of range"),
        ({"loss": "mean"}, ValueError, "loss = 'mean' is unknown; allowed: 'half_sum', 'half_mean'"),
        ({"ridge": -1.0}, ValueError, r"ridge = -1\.0 is out of range"),
        ({"theta_tt": T_TT[:5, :5]}, ValueError, r"theta_tt has shape \(5, 5\); allowed: \(12, 12\)"),
        ({"theta_tt": T_TT + np.triu(np.ones((12, 12)), 1)}, ValueError, r"theta_tt differs by 1\.0"),
        ({"theta_tt": -T_TT}, ValueError, "theta_tt has eigenvalues from"),
        ({"theta_st": T_ST[:3]}, ValueError, r"theta_st has shape \(3, 12\)"),
        ({"k_st": K_ST[:, :3]}, ValueError, r"k_st has shape \(6, 3\)"),
        ({"k_ss": K_TT}, ValueError, r"k_ss has shape \(12, 12\); allowed: \(6, 6\)"),
        ({"y": Y[:3]}, ValueError, r"y has shape \(3, 2\); allowed: \(12, any\)"),
        ({"y": Y * np.inf}, ValueError, "y has an entry"),
        ({"start": (Y, Y)}, ValueError, r"start\[1\] has shape \(12, 2\); allowed: \(6, 2\)"),
        ({"method": "lu", "t": np.inf}, ValueError, "method = 'lu' is unknown; allowed: 'auto', 'direct'"),
        ({"method": "iterative", "t": 1e12}, ValueError, "is too late for method = 'iterative'; allowed: 'direct'"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_bad_input_is_refused(changes, error, words):
    with pytest.raises(error, match=words):
        flow(**(KERNELS | {"y": Y, "t": 1.0} | changes))


def test_bad_steps_are_refused():
    limit = 2 / np.linalg.eigvalsh(T_TT)[-1]
    with pytest.raises(ValueError, match=r"step = .* diverges; allowed with these kernels: below") as error:
        descent(**KERNELS, y=Y, step=1.01 * limit, n_steps=3)
    assert float(str(error.value).rsplit(" ", 1)[1]) == pytest.approx(limit)
    with pytest.raises(ValueError, match=r"n_steps has an entry 1\.5; allowed: integers >= 0"):
        descent(**KERNELS, y=Y, step=1e-3, n_steps=1.5)
