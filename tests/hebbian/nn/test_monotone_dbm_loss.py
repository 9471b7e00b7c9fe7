import numpy as np
import pytest
from scipy.special import log_softmax

torch = pytest.importorskip("torch")

from hebbian.nn import CompletionClassificationLoss  # noqa: E402

SHAPE = (2, 3)


def batch(seed=0, n=5, k=4, labels=3):
    rng = np.random.default_rng(seed)
    return (
        torch.as_tensor(rng.normal(size=(n, *SHAPE, k))),
        torch.as_tensor(rng.normal(size=(n, labels))),
        # Without the last level.
        torch.as_tensor(rng.integers(0, k - 1, (n, *SHAPE))),
        torch.as_tensor(rng.random((n, *SHAPE)) < 0.6),
        torch.as_tensor(rng.integers(0, labels, n)),
    )


def by_hand(pixels, label, levels, hidden, classes, tau2, gamma, beta, w):
    """The definition, pixel by pixel."""
    counts = np.bincount(levels[hidden], minlength=4)
    total = norm = 0.0
    for at in np.argwhere(hidden):
        at = tuple(at)
        c = levels[at]
        log_p = log_softmax(tau2 * pixels[at])[c]
        weight = (1 - beta) / (1 - beta ** counts[c])
        total += weight * (1 - np.exp(log_p)) ** gamma * -log_p
        norm += weight
    of_label = -np.mean([log_softmax(one)[c] for one, c in zip(label, classes, strict=True)])
    return (1 - w) * total / norm + w * of_label, total / norm, of_label


@pytest.mark.parametrize(("gamma", "beta", "w"), [(2.0, 0.9999, 0.5), (0.0, 0.0, 0.3), (1.5, 0.9, 1.0)])
def test_loss_is_its_definition(gamma, beta, w):
    loss = CompletionClassificationLoss(4, SHAPE, 2.0, gamma, beta, w, dtype=torch.float64)
    data = batch()
    found = loss(*data)
    expected = by_hand(*(tensor.numpy() for tensor in data), 4.0, gamma, beta, w)
    np.testing.assert_allclose([float(part.detach()) for part in found], expected, rtol=1e-12)


def test_default_temperatures():
    loss = CompletionClassificationLoss(4, SHAPE)
    torch.testing.assert_close(loss.tau.detach() ** 2, torch.full(SHAPE, 10.0))
    assert float(loss.label_tau.detach()) == 1.0
    assert {name: tuple(p.shape) for name, p in loss.named_parameters()} == {"tau": SHAPE, "label_tau": ()}
    with torch.no_grad():
        loss.tau.zero_()
    loss.reset_parameters()
    assert float(loss.tau[0, 0].detach()) == pytest.approx(10**0.5)


def test_observed_pixels_do_not_count():
    loss = CompletionClassificationLoss(4, SHAPE, dtype=torch.float64)
    pixels, label, levels, hidden, classes = batch()
    first = loss(pixels, label, levels, hidden, classes).total
    changed, others = pixels.clone(), levels.clone()
    changed[~hidden] += torch.randn(4, dtype=torch.float64)
    others[~hidden] = 3
    torch.testing.assert_close(loss(changed, label, others, hidden, classes).total, first)
    none = loss(pixels, label, levels, torch.zeros_like(hidden), classes)
    assert float(none.pixel.detach()) == 0
    none.total.backward()
    assert torch.isfinite(loss.tau.grad).all()


def test_gradients():
    loss = CompletionClassificationLoss(4, SHAPE, dtype=torch.float64)
    pixels, label, *rest = batch(n=2)
    inputs = (pixels.requires_grad_(), label.requires_grad_())
    names, parameters = zip(*loss.named_parameters(), strict=True)

    def function(pixels, label, *values):
        return torch.func.functional_call(loss, dict(zip(names, values, strict=True)), (pixels, label, *rest)).total

    assert torch.autograd.gradcheck(function, (*inputs, *parameters))


def test_certain_predictions_have_finite_gradients():
    loss = CompletionClassificationLoss(2, (1,), focal_gamma=0.5)
    pixels = torch.tensor([[[100.0, -100.0]]], requires_grad=True)
    loss(
        pixels, torch.zeros(1, 2), torch.tensor([[0]]), torch.ones(1, 1, dtype=torch.bool), torch.tensor([0])
    ).total.backward()
    assert torch.isfinite(pixels.grad).all()


def test_wrong_arguments_are_named():
    for arguments, message in (
        ({"num_classes": 1}, "num_classes = 1"),
        ({"tau_shape": (0,)}, "entry = 0"),
        ({"tau_init": 0.0}, "tau_init = 0.0"),
        ({"focal_gamma": -1.0}, "focal_gamma = -1.0"),
        ({"balance": 1.0}, "balance = 1.0"),
        ({"label_weight": 1.1}, "label_weight = 1.1"),
    ):
        with pytest.raises(ValueError, match=message):
            CompletionClassificationLoss(**{"num_classes": 4, "tau_shape": SHAPE} | arguments)
    loss = CompletionClassificationLoss(4, SHAPE, dtype=torch.float64)
    pixels, label, levels, hidden, classes = batch()
    with pytest.raises(ValueError, match=r"pixels has shape \(5, 2, 3, 3\)"):
        loss(pixels[..., :3], label, levels, hidden, classes)
    with pytest.raises(TypeError, match="hidden has dtype"):
        loss(pixels, label, levels, hidden.int(), classes)
    with pytest.raises(ValueError, match="levels has entries"):
        loss(pixels, label, levels + 3, hidden, classes)
    with pytest.raises(ValueError, match="classes has entries"):
        loss(pixels, label, levels, hidden, classes + 2)
