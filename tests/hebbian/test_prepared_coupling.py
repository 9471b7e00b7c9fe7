import numpy as np
import pytest

from hebbian.potts import GroupLayout, coupling_bounds
from hebbian.prepared_coupling import PreparedCoupling, TangentCoordinates
from tests.hebbian.test_potts import LAYOUT, Products, random_model


def test_coordinates_are_those_of_an_orthonormal_basis_of_the_tangent_space():
    coordinates = TangentCoordinates(LAYOUT)
    assert coordinates.size == 22 - 10
    basis = coordinates.expand(np.eye(12))
    np.testing.assert_allclose(basis @ basis.T, np.eye(12), atol=1e-15)
    np.testing.assert_allclose(basis.T @ basis, LAYOUT.tangent(np.eye(22)), atol=1e-15)
    x = np.random.default_rng(0).normal(size=(2, 5, 22))
    np.testing.assert_allclose(coordinates.reduce(x), x @ basis.T, atol=1e-14)
    np.testing.assert_allclose(coordinates.expand(coordinates.reduce(x)), LAYOUT.tangent(x), atol=1e-14)
    assert coordinates.reduce(x.astype(np.float32)).dtype == np.float32
    np.testing.assert_array_equal(coordinates.per_coordinate(np.arange(10)), [0, 1, 2, 3, 3, 3, 4, 4, 4, 5, 8, 9])


@pytest.mark.parametrize("wrap", [lambda coupling: coupling, Products])
def test_products_fields_and_bounds_are_those_of_the_coupling(wrap):
    model = random_model(1)
    prepared = PreparedCoupling(wrap(model.coupling), LAYOUT)
    np.testing.assert_allclose(
        (prepared.lambda_min, prepared.lambda_max), coupling_bounds(model.coupling, LAYOUT), rtol=1e-10
    )
    x = np.random.default_rng(2).normal(size=(3, 22))
    reduce = prepared.coordinates.reduce
    np.testing.assert_allclose(prepared.product(reduce(x)), reduce(LAYOUT.tangent(x) @ model.coupling), atol=1e-12)
    for _ in range(2):
        field = prepared.field(model.bias[None])
        np.testing.assert_allclose(field[0], reduce(model.local_field(LAYOUT.uniform)), atol=1e-13)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_inverse_is_kept(kind):
    model = random_model(3, scale=0.05)
    prepared = PreparedCoupling(model.coupling.astype(kind), LAYOUT)
    inverse = prepared.inverse(2.0, 0.5)
    assert inverse.dtype == kind
    np.testing.assert_allclose(
        inverse @ (2 * np.eye(12) - 0.5 * prepared.matrix), np.eye(12), atol=20 * np.finfo(kind).eps
    )
    assert prepared.inverse(2.0, 0.5) is inverse
    assert prepared.inverse(1.5, 0.5) is not inverse


def test_bad_input_is_refused():
    model = random_model(3)
    with pytest.raises(TypeError, match="layout = 3 is a int; allowed: GroupLayout"):
        PreparedCoupling(model.coupling, 3)
    with pytest.raises(ValueError, match="coupling has shape"):
        PreparedCoupling(model.coupling, GroupLayout([(3, 2)]))
    with pytest.raises(ValueError, match=r"bounds\[0\] = 0.1 is out of range"):
        PreparedCoupling(model.coupling, LAYOUT, bounds=(0.1, 0.9))
    with pytest.raises(ValueError, match=r"bounds\[1\] = -0.1 is out of range"):
        PreparedCoupling(model.coupling, LAYOUT, bounds=(-0.1, -0.1))
    # A bound that does not hold shows when the matrix is inverted.
    wrong = PreparedCoupling(model.coupling, LAYOUT, bounds=(-1.0, 0.5))
    with pytest.raises(ValueError, match=r"2.0 I - 0.5 coupling is not positive definite"):
        wrong.inverse(2.0, 0.5)
    with pytest.raises(ValueError, match="coupling is an operator without a matrix"):
        PreparedCoupling(Products(model.coupling), LAYOUT).inverse(2.0, 0.5)
