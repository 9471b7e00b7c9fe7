import itertools
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sim import random, training  # noqa: E402

X = torch.arange(10.0)


def fit(loss, *, data=(X,), epochs=3, batch_size=4, seed=1, weight=None, **options):
    weight = torch.nn.Parameter(torch.tensor(0.0)) if weight is None else weight
    optimiser = torch.optim.SGD([weight], lr=0.01)
    call = lambda *parts, generator: loss(weight, *parts, generator)  # noqa: E731
    return training.train(call, data, optimiser, epochs=epochs, batch_size=batch_size, seed=seed, **options), weight


def square(weight, x, generator):
    return ((weight - x) ** 2).mean()


def test_every_epoch_sees_every_example_once_in_an_order_of_its_own():
    seen = []

    def loss(weight, x, y, generator):
        assert torch.equal(2 * x, y)
        seen.append(x.tolist())
        return square(weight, x, generator)

    fit(loss, data=(X, 2 * X))
    assert [len(batch) for batch in seen] == [4, 4, 2] * 3
    epochs = [list(itertools.chain(*seen[i : i + 3])) for i in (0, 3, 6)]
    assert all(sorted(epoch) == X.tolist() for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_records_are_means_over_examples():
    records, weight = fit(
        lambda w, x, g: (square(w, x, g), {"x": x.mean(), "one": 1.0}), after_epoch=lambda epoch: {"twice": 2 * epoch}
    )
    assert {name: len(values) for name, values in records.items()} == {"loss": 3, "x": 3, "one": 3, "twice": 3}
    np.testing.assert_allclose(records["x"], 4.5)
    np.testing.assert_allclose(records["one"], 1)
    np.testing.assert_allclose(records["twice"], [0, 2, 4])
    assert records["loss"][2] < records["loss"][0]
    assert 0 < weight.detach() < 4.5


def test_results_depend_on_seed_and_task_alone():
    def noisy(weight, x, generator):
        return square(weight, x + torch.rand(x.shape, generator=generator), generator)

    def run(**options):
        torch.rand(3)
        return fit(noisy, **options)[0]["loss"]

    first = run()
    np.testing.assert_array_equal(run(), first)
    assert (run(seed=2) != first).all()
    assert (run(task=(1,)) != first).all()


def test_every_epoch_draws_numbers_of_its_own():
    drawn = []

    def loss(weight, x, generator):
        drawn.append(float(torch.rand((), generator=generator)))
        return square(weight, x, generator)

    fit(loss)
    assert len(set(drawn)) == 9


def test_loss_that_is_not_finite_stops_before_the_step():
    calls = []

    def loss(weight, x, generator):
        calls.append(1)
        return square(weight, x, generator) * (float("nan") if len(calls) == 5 else 1.0)

    weight = torch.nn.Parameter(torch.tensor(0.0))
    with pytest.raises(FloatingPointError, match=r"loss = nan in epoch 1, batch 1"):
        fit(loss, weight=weight)
    assert len(calls) == 5
    assert torch.isfinite(weight)


def test_schedule_goes_on_after_every_batch():
    weight = torch.nn.Parameter(torch.tensor(0.0))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5**step)
    # Of gradient one: steps of 1, 1/2, ... and 1/32.
    training.train(lambda x, generator: -weight, (X,), optimiser, epochs=2, batch_size=4, seed=1, schedule=schedule)
    assert float(weight.detach()) == pytest.approx(2 - 2**-5, abs=1e-6)


def test_gradients_are_clipped_together_and_their_norm_recorded():
    weights = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]
    optimiser = torch.optim.SGD(weights, lr=1.0)

    def loss(x, generator):
        return (weights[0] * torch.tensor([3.0, 0.0])).sum() + 4 * weights[1].sum()

    options = {"epochs": 1, "batch_size": 10, "seed": 1}
    records = training.train(loss, (X,), optimiser, clip_norm=0.5, **options)
    np.testing.assert_allclose(records["gradient_norm"], 5, rtol=1e-6)
    np.testing.assert_allclose(weights[0].detach(), [-0.3, 0], atol=1e-5)
    np.testing.assert_allclose(weights[1].detach(), [-0.4], atol=1e-5)
    # A shorter one stays.
    records = training.train(loss, (X,), optimiser, clip_norm=5.1, **options)
    np.testing.assert_allclose(weights[1].detach(), [-4.4], atol=1e-5)
    with pytest.raises(ValueError, match=r"clip_norm = 0"):
        training.train(loss, (X,), optimiser, clip_norm=0.0, **options)


@pytest.mark.parametrize("named", [True, False])
def test_gradient_that_is_not_finite_stops_before_the_step(named):
    layer = torch.nn.Linear(1, 1)
    before = layer.bias.detach().clone()
    with torch.no_grad():
        layer.weight.zero_()
    optimiser = torch.optim.SGD(layer.named_parameters() if named else layer.parameters(), lr=1.0)
    # A root at zero: finite, of infinite slope.
    call = lambda x, generator: (layer.weight**2).sqrt().sum() + layer.bias.sum()  # noqa: E731
    with pytest.raises(FloatingPointError, match=f"in parameter {'weight' if named else 0} = nan in epoch 0, batch 0"):
        training.train(call, (X,), optimiser, epochs=1, batch_size=4, seed=1, clip_norm=1.0)
    torch.testing.assert_close(layer.bias.detach(), before, rtol=0, atol=0)


def test_first_parameters_have_a_stream_of_their_own():
    before = torch.get_rng_state()

    def draw(*address):
        with training.seeded(*address):
            return torch.nn.Linear(2, 2).weight.detach()

    first = draw(1, (2,))
    torch.testing.assert_close(draw(1, (2,)), first, rtol=0, atol=0)
    assert (draw(1, (3,)) != first).all()
    assert (draw(2, (2,)) != first).all()
    assert torch.equal(torch.get_rng_state(), before)


def test_purposes_have_generators_of_their_own():
    drawn = {float(torch.rand((), generator=training.generator(1, (), purpose))) for purpose in random.PURPOSES}
    assert len(drawn) == len(random.PURPOSES)


def test_one_thread_is_given_back():
    before = torch.get_num_threads()
    with training.one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_means_over_seeds():
    values = np.random.default_rng(0).normal(size=(5, 3))
    mean, error = training.over_seeds(values)
    np.testing.assert_allclose(mean, values.mean(0))
    np.testing.assert_allclose(error, np.sqrt(((values - mean) ** 2).sum(0) / 4 / 5))
    assert np.isnan(training.over_seeds([1.0])[1])
    with pytest.raises(ValueError, match="values has an entry nan"):
        training.over_seeds([1.0, np.nan])


def test_wrong_arguments_are_named():
    for options, message in (
        ({"epochs": 0}, "epochs = 0"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"data": (X, X[:3])}, r"data has tensors of \[3, 10\] examples"),
        ({"data": ()}, "data has tensors of"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(square, **options)


def test_without_pytorch_the_error_names_the_extra():
    code = "import sys; sys.modules['torch'] = None\nimport sim.training"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.splitlines()[-1] == 'ImportError: torch is not installed; allowed: pip install "hebbian[nn]"'
