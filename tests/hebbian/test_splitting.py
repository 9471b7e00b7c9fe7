import numpy as np
import pytest

from hebbian.splitting import CONTRACTING, contraction_factor, optimal_step

LOW, HIGH = -18.05, 0.95


def test_bounds_of_known_spectra():
    # (L - m') / (L + m' + 2) at the best step.
    assert contraction_factor("forward_backward", LOW, HIGH) == pytest.approx(19 / 21.1)
    assert contraction_factor("forward_backward", LOW, HIGH, 0.5) == pytest.approx((0.5 * 19.05 - 1) / 1.5)
    # At its largest converging step, 2/(L - 1), the bound is 1.
    assert contraction_factor("forward_backward", LOW, HIGH, 2 / 18.05) == pytest.approx(1)
    assert contraction_factor("softmax_pr", LOW, HIGH) == pytest.approx(18.05 / 22.05)
    assert contraction_factor("softmax_pr", 0.0, 1.9) == pytest.approx(1.9 / 2.1)
    assert contraction_factor("softmax_pr", LOW, HIGH, 2.0, 0.5) == pytest.approx(0.5 + 0.5 * 18.05 / 22.05)
    root = np.sqrt(19.05 / 0.05)
    assert contraction_factor("peaceman_rachford", LOW, HIGH) == pytest.approx((root - 1) / (root + 1))
    assert contraction_factor("douglas_rachford", LOW, HIGH) == pytest.approx(0.5 + 0.5 * (root - 1) / (root + 1))
    assert contraction_factor("parallel", LOW, HIGH) == pytest.approx(18.05 / 2)
    assert optimal_step("mirror", LOW, HIGH) == optimal_step("damped", LOW, HIGH) == pytest.approx(1 / 10.025)


@pytest.mark.parametrize("method", ["forward_backward", "peaceman_rachford", "douglas_rachford", "softmax_pr"])
def test_no_other_step_has_a_smaller_bound(method):
    for low, high in ((LOW, HIGH), (-0.5, 0.3), (0.0, 0.0)):
        best = contraction_factor(method, low, high)
        # Of the softmax-only method steps from 1 to 2 are allowed.
        steps = np.linspace(1, 2, 50) if method == "softmax_pr" else np.geomspace(1e-3, 1e2, 400)
        assert min(contraction_factor(method, low, high, float(step)) for step in steps) >= best * (1 - 1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("newton", -1.0, 0.5), "method = 'newton' is unknown; allowed: 'softmax_pr', "),
        (("mirror", 0.1, 0.5), "lambda_min = 0.1 is out of range"),
        (("mirror", -1.0, -0.1), "lambda_max = -0.1 is out of range"),
        (("mirror", -1.0, 0.5, 0.0), "step = 0.0 is out of range"),
        (("softmax_pr", -1.0, 0.5, 2.0, 1.5), "relaxation = 1.5 is out of range"),
        (("peaceman_rachford", -1.0, 1.0), r"lambda_max = 1.0; allowed for 'peaceman_rachford': below 1 \(use"),
    ],
)
def test_bad_input_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        contraction_factor(*arguments)
    assert set(CONTRACTING) >= {"mirror", "softmax_pr"}
