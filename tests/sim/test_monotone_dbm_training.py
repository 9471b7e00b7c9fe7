import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hebbian.nn import CompletionClassificationLoss, MonotoneDBM  # noqa: E402
from hebbian.potts import GroupLayout, PairwiseModel  # noqa: E402
from sim import monotone_dbm_training as training  # noqa: E402
from sim.monotone_dbm_baselines import (  # noqa: E402
    MaskedPerceptron,
    RestrictedBoltzmann,
    UnrolledMeanField,
    mode_log_probabilities,
    nearest_log_probabilities,
)
from sim.potts_exact import enumerate_model  # noqa: E402
from sim.training import generator  # noqa: E402

LAYERS = [(6, 3), (4, 2), (1, 2)]
LAYOUT = GroupLayout(LAYERS)


def images(n=40, seed=0):
    """Two patterns with a fifth of the pixels replaced, and which of them it was."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 2, n)
    levels = np.array([[0, 1, 2, 0, 1, 2], [2, 2, 0, 1, 1, 0]])[classes]
    return np.where(rng.random(levels.shape) < 0.2, rng.integers(0, 3, levels.shape), levels), classes


def make(kind):
    torch.manual_seed(0)
    return {
        "monotone": lambda: MonotoneDBM(LAYERS, (0, 0, 8)),
        "unconstrained": lambda: UnrolledMeanField(LAYOUT, steps=5),
        "perceptron": lambda: MaskedPerceptron(6, 3, 2, width=16),
    }[kind]()


@pytest.mark.parametrize("kind", ["monotone", "unconstrained", "perceptron"])
def test_models_learn_to_complete_and_classify(kind):
    model, loss = make(kind), CompletionClassificationLoss(3, (6,), focal_gamma=0.0, balance=0.0)
    records = training.train_monotone_dbm(model, loss, *images(200), epochs=8, batch_size=20, lr=2e-2, seed=1)
    assert records["loss"][-1] < 0.8 * records["loss"][0]
    np.testing.assert_allclose(records["loss"], (records["pixel"] + records["label"]) / 2, rtol=1e-5)
    assert (records["unconverged"] == 0).all()
    assert np.isnan(records["lambda_min"]).all() == (kind != "monotone")
    levels, classes = images(200, seed=1)
    observed = np.random.default_rng(2).random(levels.shape) < 0.6
    found = training.scores(*training.completion(model, loss, levels, observed), levels, ~observed, classes)
    assert found["label_accuracy"] > 0.85
    mode = mode_log_probabilities(*images(200), 3, 2)
    tiled = [np.tile(part, (200, *[1] * part.ndim)) for part in mode]
    assert (
        found["pixel_cross_entropy"] < training.scores(*tiled, levels, ~observed, classes)["pixel_cross_entropy"] - 0.1
    )


def test_training_repeats_and_moves_the_spectrum():
    def run(seed=1):
        model, loss = make("monotone"), CompletionClassificationLoss(3, (6,))
        return training.train_monotone_dbm(model, loss, *images(), epochs=2, batch_size=16, lr=1e-2, seed=seed), model

    (first, model), (second, _) = run(), run()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
    assert (run(2)[0]["loss"] != first["loss"]).all()
    assert first["lambda_min"][1] != first["lambda_min"][0]
    assert first["lambda_min"][1] == model.prepared().lambda_min


def test_solutions_not_found_in_time_are_counted():
    torch.manual_seed(0)
    model = MonotoneDBM(LAYERS, (0, 0, 8), max_iter=1, tol=1e-6)
    loss = CompletionClassificationLoss(3, (6,))
    records = training.train_monotone_dbm(model, loss, *images(), epochs=2, batch_size=16, seed=1)
    np.testing.assert_array_equal(records["unconverged"], [3, 3])


def test_what_is_hidden_does_not_matter():
    model = make("monotone")
    levels, _ = (torch.as_tensor(array) for array in images())
    observed = torch.rand(levels.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    other = torch.where(observed, levels, (levels + 1) % 3)
    for one, two in zip(
        training.complete(model, levels, observed), training.complete(model, other, observed), strict=True
    ):
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_scores():
    p = np.array([[[0.7, 0.3], [0.4, 0.6]], [[0.2, 0.8], [0.9, 0.1]]])
    hidden = np.array([[True, False], [True, True]])
    found = training.scores(
        np.log(p), np.log([[0.9, 0.1], [0.6, 0.4]]), np.array([[0, 0], [0, 0]]), hidden, np.array([0, 1])
    )
    assert found["pixel_accuracy"] == pytest.approx(2 / 3)
    assert found["pixel_cross_entropy"] == pytest.approx(-np.log([0.7, 0.2, 0.9]).mean())
    assert found["label_accuracy"] == 0.5
    assert found["label_cross_entropy"] == pytest.approx(-np.log([0.9, 0.4]).mean())


@pytest.mark.parametrize(("c", "several"), [(1.5, 0.0), (4.0, 1.0)])
def test_several_solutions_are_found_where_there_are(c, several):
    G = 6
    layout = GroupLayout([(G, 2)])
    coupling = c / (G - 1) * np.kron(1 - np.eye(G), np.eye(2))
    mask = np.zeros((3, G), dtype=bool)
    found = training.solve_from_starts(
        coupling, np.zeros(2 * G), layout, (mask, np.zeros((3, 2 * G))), starts=8, seed=1
    )
    assert found["ambiguous"] == several
    assert found["unsolved"] == found["undamped_failures"] == 0
    assert found["lambda_max"] == pytest.approx(c)
    # With all but one group observed there is one solution at any strength.
    mask[:, 1:] = True
    values = np.tile([1.0, 0.0], (3, G))
    assert (
        training.solve_from_starts(coupling, np.zeros(2 * G), layout, (mask, values), starts=8, seed=1)["ambiguous"]
        == 0
    )


def test_layers_are_joined_with_the_next_alone():
    coupling = UnrolledMeanField(LAYOUT, layered=True).coupling().detach().numpy()
    assert not coupling[:18, :18].any()
    assert not coupling[:18, 26:].any()
    assert coupling[:18, 18:26].all()
    assert coupling[18:26, 26:].all()
    np.testing.assert_array_equal(coupling, coupling.T)


def test_unrolled_steps_go_to_the_solution():
    model = make("unconstrained")
    model.steps = 100
    x = torch.as_tensor(LAYOUT.one_hot(np.zeros((1, LAYOUT.n_groups), dtype=int)), dtype=torch.float32)
    mask = torch.zeros(1, LAYOUT.n_groups, dtype=torch.bool)
    mask[:, :2] = True
    q = model(x, mask).q
    torch.testing.assert_close(q[:, :6], x[:, :6])
    again = torch.cat([part.softmax(-1).flatten(1) for part in model.split(q @ model.coupling() + model.bias())], 1)
    torch.testing.assert_close(again[:, 6:], q[:, 6:], rtol=0, atol=1e-5)


def boltzmann():
    torch.manual_seed(3)
    model = RestrictedBoltzmann(3, 2, 3, hidden=2, chains=4000).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def test_free_energy_and_chains_are_those_of_the_coupling():
    model = boltzmann()
    exact = enumerate_model(
        PairwiseModel(model.coupling().detach().numpy(), model.bias().detach().numpy(), model.layout)
    )
    states = np.array(np.meshgrid(*[range(2)] * 3, range(3), indexing="ij")).reshape(4, -1).T
    v = torch.as_tensor(model.visible.one_hot(states))
    assert torch.logsumexp(-model.free_energy(v), 0).item() == pytest.approx(exact.log_z, abs=1e-10)
    draws = generator(1, (), "noise")
    for _ in range(50):
        model.chains.copy_(model._gibbs(model.chains, draws))
    visible = np.concatenate([exact.marginals[:6], exact.marginals[10:]])
    error = np.sqrt(visible * (1 - visible) / 4000)
    # Nine marginals within five standard errors: a false-alarm rate of 5e-6, with a fixed seed.
    assert (abs(model.chains.mean(0).numpy() - visible) < 5 * error).all()


def test_contrastive_divergence_learns_marginals():
    levels, classes = images(400)
    model = RestrictedBoltzmann(6, 3, 2, hidden=4, chains=50)
    records = training.train_by_contrastive_divergence(
        model, levels, classes, epochs=10, batch_size=50, lr=1e-2, seed=1
    )
    assert len(records["loss"]) == 10
    loss = CompletionClassificationLoss(3, (6,), tau_init=1.0)
    tested, wanted = images(200, seed=1)
    observed = np.ones(tested.shape, dtype=bool)
    found = training.scores(*training.completion(model, loss, tested, observed), tested, ~observed, wanted)
    assert found["label_accuracy"] > 0.85
    assert np.isnan(found["pixel_accuracy"])


def test_nearest_images():
    train = np.array([[0, 0, 3], [3, 3, 3], [0, 1, 0]]), np.array([0, 1, 1])
    observed = np.array([[True, True, False], [False, False, True]])
    asked = np.array([[0, 1, 3], [0, 0, 2]])
    pixels, label = nearest_log_probabilities(train, asked, observed, 4, 2, neighbours=1)
    # Third, then the first of two that are as near.
    assert label.argmax(1).tolist() == [1, 0]
    assert pixels.argmax(-1).tolist() == [[0, 1, 0], [0, 0, 3]]
    np.testing.assert_allclose(np.exp(pixels).sum(-1), 1)
    np.testing.assert_allclose(np.exp(label).sum(-1), 1)
    np.testing.assert_allclose(np.exp(label[0]), (np.array([0, 1]) + np.array([2, 3]) / 5) / 2)


def test_wrong_arguments_are_named():
    model, loss = make("monotone"), CompletionClassificationLoss(3, (6,))
    for options, message in (
        ({"obs_level": 1.5}, "obs_level = 1.5"),
        ({"lr": 0.0}, "lr = 0.0"),
        ({"epochs": 0}, "epochs"),
    ):
        with pytest.raises(ValueError, match=message):
            training.train_monotone_dbm(model, loss, *images(), **{"epochs": 1, "seed": 1} | options)
    with pytest.raises(ValueError, match="starts = 1"):
        training.solve_from_starts(np.zeros((22, 22)), np.zeros(22), LAYOUT, (None, None), starts=1, seed=1)
