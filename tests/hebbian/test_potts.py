import numpy as np
import pytest

from hebbian.potts import GroupLayout, PairwiseModel, coupling_bounds, monotone_coupling, smallest_eigenvalue

LAYERS = [(3, 2), (2, 4), (1, 2), (2, 1), (2, 2)]
LAYOUT = GroupLayout(LAYERS)


def reference():
    """Model R of the paper's sheet."""
    layout = GroupLayout([(6, 3)])
    r, c = np.arange(10)[:, None], np.arange(18)
    factor = np.cos(1 + 0.7 * r + 1.3 * c + 0.05 * r * c)
    return factor, PairwiseModel(monotone_coupling(factor, layout), 0.5 * np.sin(2 + c), layout)


def random_model(seed=0, layout=LAYOUT, scale=1.0):
    rng = np.random.default_rng(seed)
    coupling = rng.normal(size=(layout.size, layout.size)) * scale
    coupling = np.where(layout.block_mask(), 0, coupling + coupling.T)
    return PairwiseModel(coupling, rng.normal(size=layout.size), layout)


def random_states(rng, layout, *shape):
    return rng.integers(0, layout.categories, (*shape, layout.n_groups))


def test_layout_orders_entries_by_layer_group_category():
    assert (LAYOUT.size, LAYOUT.n_groups) == (22, 10)
    np.testing.assert_array_equal(LAYOUT.offsets, [0, 2, 4, 6, 10, 14, 16, 17, 18, 20, 22])
    np.testing.assert_array_equal(LAYOUT.categories, np.diff(LAYOUT.offsets))
    np.testing.assert_array_equal(LAYOUT.groups[:8], [0, 0, 1, 1, 2, 2, 3, 3])
    assert LAYOUT.segments == ((0, 3, 2), (6, 2, 4), (14, 1, 2), (16, 2, 1), (18, 2, 2))
    assert GroupLayout([(3, 2), (2, 2), (1, 3)]).segments == ((0, 5, 2), (10, 1, 3))
    mask = LAYOUT.block_mask()
    assert mask[6:10, 6:10].all()
    assert mask.sum() == (LAYOUT.categories**2).sum()
    assert GroupLayout(LAYERS) == GroupLayout(list(map(list, LAYERS)))


def test_one_hot_and_tangent():
    states = random_states(np.random.default_rng(1), LAYOUT, 3, 5)
    x = LAYOUT.one_hot(states)
    assert x.shape == (3, 5, 22)
    for group, start in enumerate(LAYOUT.offsets[:-1]):
        np.testing.assert_array_equal(x[..., start : LAYOUT.offsets[group + 1]].argmax(-1), states[..., group])
    np.testing.assert_array_equal(np.add.reduceat(x, LAYOUT.offsets[:-1], axis=-1), np.ones((3, 5, 10)))
    y = np.random.default_rng(2).normal(size=(3, 22))
    projected = LAYOUT.tangent(y)
    np.testing.assert_allclose(np.add.reduceat(projected, LAYOUT.offsets[:-1], axis=-1), 0, atol=1e-14)
    np.testing.assert_allclose(LAYOUT.tangent(projected), projected, atol=1e-15)
    np.testing.assert_allclose(LAYOUT.tangent(y + LAYOUT.uniform), projected, atol=1e-14)
    np.testing.assert_array_equal(LAYOUT.tangent(np.ones(22, int)), np.zeros(22))


def test_tensors_are_projected_as_arrays_are():
    torch = pytest.importorskip("torch")
    y = np.random.default_rng(2).normal(size=(3, 22))
    np.testing.assert_allclose(LAYOUT.tangent(torch.as_tensor(y)).numpy(), LAYOUT.tangent(y), atol=1e-15)


def test_energy_counts_each_pair_once():
    model = random_model()
    states = random_states(np.random.default_rng(3), LAYOUT, 4)
    x = LAYOUT.one_hot(states)
    where = LAYOUT.offsets[:-1] + states
    for one, vector, entries in zip(model.log_weight(x), x, where, strict=True):
        pairs = sum(model.coupling[i, j] for a, i in enumerate(entries) for j in entries[a + 1 :])
        assert one == pytest.approx(pairs + model.bias[entries].sum(), abs=1e-12)
        assert model.energy(vector) == -one
        # A flip of one group changes the log-weight by a difference of its local field.
        other = vector.copy()
        other[6:10] = np.roll(vector[6:10], 1)
        change = (other - vector)[6:10] @ model.local_field(vector)[6:10]
        assert model.log_weight(other) - one == pytest.approx(change, abs=1e-12)


def test_zero_sum_gauge_changes_log_weights_by_a_constant():
    model = random_model(1)
    gauged = model.zero_sum_gauge()
    starts = LAYOUT.offsets[:-1]
    np.testing.assert_allclose(np.add.reduceat(gauged.coupling, starts, axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.add.reduceat(gauged.bias, starts), 0, atol=1e-12)
    x = LAYOUT.one_hot(random_states(np.random.default_rng(5), LAYOUT, 50))
    u = LAYOUT.uniform
    constant = u @ model.coupling @ u / 2 + model.bias @ u
    np.testing.assert_allclose(gauged.log_weight(x), model.log_weight(x) - constant, atol=1e-12)


@pytest.mark.parametrize("margin", [0.1, 0.01, -0.8])
def test_monotone_coupling_is_symmetric_hollow_and_bounded(margin):
    rng = np.random.default_rng(6)
    # Norms of groups that differ ten-thousandfold.
    factor = rng.normal(size=(7, 22)) * 10.0 ** rng.integers(-2, 3, 10)[LAYOUT.groups]
    coupling = monotone_coupling(factor, LAYOUT, margin)
    np.testing.assert_allclose(coupling, coupling.T, atol=1e-14)
    np.testing.assert_array_equal(coupling[LAYOUT.block_mask()], 0)
    spectrum = np.linalg.eigvalsh(coupling)
    assert spectrum[-1] <= 1 - margin + 1e-12
    assert spectrum[0] >= -(LAYOUT.n_groups - 1) * (1 - margin) - 1e-12
    # Groups below the bound keep their factor.
    small = factor * 1e-6
    np.testing.assert_allclose(
        monotone_coupling(small, LAYOUT, margin), np.where(LAYOUT.block_mask(), 0, -small.T @ small), rtol=1e-12
    )


def test_monotone_coupling_reaches_its_bound_and_keeps_single_precision():
    layout = GroupLayout([(20, 3)])
    block = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0] * 1e160
    coupling = monotone_coupling(np.tile(block, 20), layout, 0.05)
    np.testing.assert_allclose(coupling_bounds(coupling, layout), (-19 * 0.95, 0.95), rtol=1e-12)
    single = monotone_coupling(np.tile(block / 1e160, 20).astype(np.float32), layout, 0.05)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, single.T)
    np.testing.assert_allclose(single, coupling, atol=1e-6)
    assert not monotone_coupling(np.zeros((2, 60)), layout).any()


def test_tensors_give_the_coupling_of_arrays():
    torch = pytest.importorskip("torch")
    factor = np.random.default_rng(0).normal(size=(7, 22)) * 10.0 ** np.random.default_rng(1).integers(-2, 3, 22)
    found = monotone_coupling(torch.as_tensor(factor), LAYOUT, 0.2)
    np.testing.assert_allclose(found.numpy(), monotone_coupling(factor, LAYOUT, 0.2), atol=1e-14)
    with pytest.raises(ValueError, match=r"factor has shape \(7, 21\)"):
        monotone_coupling(torch.as_tensor(factor[:, 1:]), LAYOUT)
    factor[3, 3] = np.inf
    with pytest.raises(ValueError, match="factor has an entry"):
        monotone_coupling(torch.as_tensor(factor), LAYOUT)


def test_smallest_eigenvalue_is_a_bound():
    for seed in range(5):
        model = random_model(seed)
        exact = coupling_bounds(model.coupling, LAYOUT)[0]
        for coupling in (model.coupling, Products(model.coupling)):
            assert 1.002 * exact <= smallest_eigenvalue(coupling, LAYOUT) <= exact
    small = GroupLayout([(2, 2)])
    assert smallest_eigenvalue(-np.kron(1 - np.eye(2), np.eye(2)), small) == pytest.approx(-1)
    assert smallest_eigenvalue(np.zeros((22, 22)), LAYOUT) == 0
    with pytest.raises(ValueError, match="tol = 0"):
        smallest_eigenvalue(np.zeros((22, 22)), LAYOUT, tol=0)


def test_energy_is_that_of_the_scaled_factor():
    factor, model = reference()
    norms = [np.linalg.norm(factor[:, 3 * g : 3 * g + 3], 2) for g in range(6)]
    scaled = factor * np.repeat(np.minimum(np.sqrt(0.9) / np.array(norms), 1), 3)
    x = model.layout.one_hot(random_states(np.random.default_rng(7), model.layout, 30))
    expected = -((x @ scaled.T) ** 2).sum(-1) / 2 + x @ (model.bias + (scaled**2).sum(0) / 2)
    np.testing.assert_allclose(model.log_weight(x), expected, atol=1e-13)


def test_spectrum_of_the_reference_model():
    spectrum = np.linalg.eigvalsh(reference()[1].coupling)
    np.testing.assert_allclose(spectrum[[0, -1]], [-2.03080868118857, 0.885673956201837], atol=1e-13)


class Products:
    """A coupling known by its products."""

    def __init__(self, coupling):
        self.coupling = coupling

    def matvec(self, x):
        return x @ self.coupling


@pytest.mark.parametrize("layers", [LAYERS, [(20, 3)], [(3, 2)]])
def test_bounds_are_those_of_the_tangent_spectrum(layers):
    layout = GroupLayout(layers)
    coupling = random_model(8, layout).coupling
    projection = layout.tangent(np.eye(layout.size))
    spectrum = np.linalg.eigvalsh(projection @ coupling @ projection)
    np.testing.assert_allclose(coupling_bounds(coupling, layout), spectrum[[0, -1]], rtol=1e-12)
    np.testing.assert_allclose(coupling_bounds(coupling, layout, "lanczos"), spectrum[[0, -1]], rtol=1e-10)
    np.testing.assert_allclose(coupling_bounds(Products(coupling), layout, "lanczos"), spectrum[[0, -1]], rtol=1e-10)


def test_bounds_of_no_coupling_are_zero():
    assert coupling_bounds(np.zeros((3, 3)), GroupLayout([(3, 1)])) == (0.0, 0.0)
    assert coupling_bounds(np.zeros((22, 22)), LAYOUT, "lanczos") == (0.0, 0.0)


def test_tiers_read_the_layers_below_them_that_they_are_connected_to():
    layout = GroupLayout([(4, 2), (3, 3), (1, 2)])
    full = layout.tier_mask([2, 3, 1])
    np.testing.assert_array_equal(full[0], np.arange(19) < 8)
    np.testing.assert_array_equal(full[4], np.arange(19) < 17)
    assert full[5].all()
    table = [[0, 0, 0], [3, 0, 0], [0, 1, 1]]
    mask = layout.tier_mask([2, 3, 1], table)
    assert not mask[:2].any()
    coupling = monotone_coupling(np.random.default_rng(0).normal(size=(6, 19)) * mask, layout)
    # The first layer couples with itself through tier 1, the others through tier 2; layers 0 and 1 not at all.
    assert np.abs(coupling[:8, :8]).max() > 0
    assert not coupling[:8, 8:].any()
    assert np.abs(coupling[8:17, 17:]).max() > 0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: GroupLayout([]), ValueError, r"layers = \(\); allowed"),
        (lambda: GroupLayout([(1, 2, 3)]), ValueError, r"layers = \(\(1, 2, 3\),\); allowed"),
        (lambda: GroupLayout([(2, 3), (2, 0)]), ValueError, "categories of layer 1 = 0 is out of range"),
        (lambda: GroupLayout([(0, 3)]), ValueError, "groups of layer 0 = 0 is out of range"),
        (lambda: GroupLayout([(1.5, 3)]), TypeError, "groups of layer 0 = 1.5 is not an integer"),
        (lambda: LAYOUT.one_hot(np.zeros((2, 9), int)), ValueError, r"states has shape \(2, 9\); allowed: \(..., 10\)"),
        (lambda: LAYOUT.one_hot(np.zeros(10)), TypeError, "states has dtype float64; allowed: integers"),
        (lambda: LAYOUT.one_hot([0, 0, 0, 4] + [0] * 6), ValueError, "states has 4 for group 3; allowed: 0 to 3"),
        (lambda: LAYOUT.one_hot([-1] + [0] * 9), ValueError, "states has -1 for group 0; allowed: 0 to 1"),
        (lambda: LAYOUT.tier_mask([1, 2]), ValueError, r"ranks = \(1, 2\) has 2 tiers; allowed: 5"),
        (lambda: LAYOUT.tier_mask([1] * 4 + [-1]), ValueError, r"ranks\[4\] = -1 is out of range"),
        (lambda: LAYOUT.tier_mask([1] * 5, np.ones((2, 2))), ValueError, r"connections has shape \(2, 2\)"),
        (lambda: LAYOUT.tier_mask([1] * 5, np.ones((5, 5))), ValueError, "connections joins tier 0 to layer 1"),
        (lambda: PairwiseModel(np.zeros((3, 3)), np.zeros(3), [(3, 1)]), TypeError, "layout = .* is a list"),
        (lambda: PairwiseModel(np.zeros((3, 3)), np.zeros(22), LAYOUT), ValueError, r"coupling has shape \(3, 3\)"),
        (lambda: PairwiseModel(np.zeros((22, 22)), np.zeros(3), LAYOUT), ValueError, r"bias has shape \(3,\)"),
        (lambda: random_model().energy(np.zeros(3)), ValueError, r"x has shape \(3,\); allowed: \(..., 22\)"),
        (
            lambda: monotone_coupling(np.ones((3, 21)), LAYOUT),
            ValueError,
            r"factor has shape \(3, 21\); allowed: \(any",
        ),
        (lambda: monotone_coupling(np.ones((3, 22)), LAYOUT, 1.0), ValueError, "margin = 1.0 is out of range"),
        (lambda: monotone_coupling(np.ones((3, 22)), LAYOUT, -1), ValueError, "margin = -1 is out of range"),
        (lambda: coupling_bounds(np.zeros((22, 22)), LAYOUT, "qr"), ValueError, "method = 'qr' is unknown"),
        (lambda: coupling_bounds(Products(0), LAYOUT), ValueError, "needs the matrix"),
    ],
)
def test_bad_input_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_bad_couplings_are_named():
    coupling = random_model().coupling
    for entry, change, words in [
        ((0, 2), 1e-5, r"coupling is not symmetric: entry \(0, 2\)"),
        ((0, 2), np.nan, r"coupling has an entry nan at \(0, 2\)"),
        ((8, 8), 1e-5, r"coupling is not hollow: entry \(8, 8\), within a group, is 1e-05"),
    ]:
        wrong = coupling.copy()
        wrong[entry] += change
        with pytest.raises(ValueError, match=words):
            PairwiseModel(wrong, np.zeros(22), LAYOUT)
        with pytest.raises(ValueError, match=words):
            coupling_bounds(wrong, LAYOUT)
    with pytest.raises(ValueError, match=r"bias has an entry inf at \(3,\)"):
        PairwiseModel(coupling, np.where(np.arange(22) == 3, np.inf, 0), LAYOUT)
