import numpy as np
import pytest

from tests.theory.replica_symmetric.cases import CASES, build
from theory.replica_symmetric import field


@pytest.mark.parametrize("case", CASES)
def test_derivatives_of_the_averages(case):
    step = 1e-5
    for data_noise in ("binomial", "gaussian"):
        net = build(*case, load=0.1, T=0.3, data_noise=data_noise)
        A, V = 0.8, 0.3
        averages = field.field_averages(A, V, net)
        up, down = (field.field_averages(A + d, V, net) for d in (step, -step))
        assert averages[4] == pytest.approx((up[1] - down[1]) / (2 * step), abs=1e-7)
        assert averages[6] == pytest.approx((up[2] - down[2]) / (2 * step), abs=1e-7)
        up, down = (field.field_averages(A, V + d, net) for d in (step, -step))
        assert averages[5] == pytest.approx((up[1] - down[1]) / (2 * step), abs=1e-7)
        assert averages[7] == pytest.approx((up[2] - down[2]) / (2 * step), abs=1e-7)
        C = 0.2
        _, slope, _ = field.noise(C, net)
        difference = (field.noise(C + step, net)[0] - field.noise(C - step, net)[0]) / (2 * step)
        assert slope == pytest.approx(difference, abs=1e-7)


@pytest.mark.parametrize("M", [100, 2000, 50_000])
def test_a_sparser_sum_over_the_example_mean_is_exact(M):
    # At large M only some points of the binomial lattice are summed; here against all of them.
    net = build(4, "distinct", "supervised", load=0.1, T=0.05, r=3 / M**0.5, M=M)
    A, V = 1.6, 0.2
    exact = np.zeros(3)
    for x, w in zip(net.x, net.weight, strict=True):
        single = net._replace(x=np.array([x]), weight=np.array([1.0]))
        m, _, C = field.field_averages(A, V, single)[:3]
        exact += w * np.array([m, x * m, C])
    assert field.field_averages(A, V, net)[:3] == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("M", [3, 20, 21])
@pytest.mark.parametrize("V", [0.2, 2e-4])  # nodes in y, nodes in z
def test_half_of_a_symmetric_lattice_stands_for_all_of_it(M, V):
    net = build(4, "distinct", "supervised", load=0.1, T=0.05, r=0.3, M=M)
    assert net.x[0] == -net.x[-1]
    exact, entropy = np.zeros(8), 0.0
    for x, w in zip(net.x, net.weight, strict=True):
        single = net._replace(x=np.array([x]), weight=np.array([1.0]))
        exact += w * np.array(field.field_averages(1.6, V, single))
        entropy += w * field.field_entropy(1.6, V, single)
    assert field.field_averages(1.6, V, net) == pytest.approx(exact, rel=1e-11, abs=1e-11)
    assert field.field_entropy(1.6, V, net) == pytest.approx(entropy, abs=1e-12)
