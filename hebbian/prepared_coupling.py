r"""Couplings in orthonormal coordinates of the tangent space, with spectrum and inverses kept between solutions."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_array, to_device
from numpy.typing import NDArray
from scipy.linalg import lapack

from hebbian import validation
from hebbian.potts import GroupLayout, check_coupling, check_layout, coupling_bounds


class TangentCoordinates:
    r"""Coordinates of vectors in the tangent space of the simplices: k - 1 of each group, the zero-sum gauge built in.

    :math:`x = \bar x + E t` with E of orthonormal columns that sum to zero over each group. Vectors with the same t
    differ by constants on groups. Binary groups have the one coordinate :math:`(x_1 - x_2)/\sqrt2`.

    Parameters
    ----------
    layout : GroupLayout
        Groups of the N entries.
    """

    def __init__(self, layout: GroupLayout) -> None:
        self.layout = layout
        self.size = layout.size - layout.n_groups
        self._parts = []
        start = 0
        for first, G, k in layout.segments:
            self._parts.append((first, start, G, k, _helmert(k)))
            start += G * (k - 1)

    def reduce(self, x: Any) -> Any:
        """Return the coordinates, shape (..., size), of vectors of shape (..., N)."""
        xp = array_namespace(x)
        parts = []
        for first, _, G, k, basis in self._parts:
            part = x[..., first : first + G * k]
            if k == 2:
                parts.append((part[..., ::2] - part[..., 1::2]) * 0.5**0.5)
            elif k > 2:
                groups = part.reshape((*x.shape[:-1], G, k))
                parts.append((groups @ like(basis, x)).reshape((*x.shape[:-1], G * (k - 1))))
        if not parts:
            return x[..., :0]
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)

    def expand(self, t: Any) -> Any:
        """Return the vectors, shape (..., N), that have the coordinates and sum to zero over each group."""
        xp = array_namespace(t)
        parts = []
        for _, start, G, k, basis in self._parts:
            part = t[..., start : start + G * (k - 1)]
            if k == 2:
                half = part * 0.5**0.5
                parts.append(xp.stack([half, -half], axis=-1).reshape((*t.shape[:-1], 2 * G)))
            else:
                groups = part.reshape((*t.shape[:-1], G, k - 1))
                parts.append((groups @ like(basis.T, t)).reshape((*t.shape[:-1], G * k)))
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)

    def per_coordinate(self, values: Any) -> Any:
        """Return values of groups, shape (..., n_groups), at each of their coordinates."""
        xp = array_namespace(values)
        groups = np.repeat(np.arange(self.layout.n_groups), self.layout.categories - 1)
        return xp.take(values, like_index(groups, values), axis=-1)


class PreparedCoupling:
    r"""A coupling that many solutions share.

    Parameters
    ----------
    coupling : array or CouplingOperator
        Phi, shape (N, N), of NumPy, CuPy or PyTorch (without gradient), or an object with ``matvec``.
    layout : GroupLayout
        Groups of the N entries.
    bounds : (float, float), optional
        Known bounds of the spectrum of :math:`T \Phi T` from below and above; computed by default. `monotone_coupling`
        has none above 1 - margin.

    Raises
    ------
    TypeError, ValueError
        If the coupling does not fit the layout, is not finite, symmetric and hollow up to 1e-8, or a bound has the
        wrong sign.
    """

    def __init__(self, coupling: Any, layout: GroupLayout, bounds: tuple[float, float] | None = None) -> None:
        self.layout = check_layout(layout)
        self.coordinates = TangentCoordinates(layout)
        self.is_operator = hasattr(coupling, "matvec")
        self.matrix: Any = None
        if not self.is_operator:
            host = check_coupling(on_host(coupling), layout)
            coupling = host if isinstance(coupling, (list, tuple)) or is_numpy_array(coupling) else coupling
            reduced = self.coordinates.reduce(self.coordinates.reduce(coupling).T)
            self.matrix = (reduced + reduced.T) / 2
        self.coupling = coupling
        self._uniform_field: Any = None
        if bounds is None and self.is_operator:
            bounds = coupling_bounds(coupling, layout, "lanczos")
        elif bounds is None:
            spectrum = np.append(np.linalg.eigvalsh(on_host(self.matrix).astype(np.float64)), 0.0)
            bounds = float(spectrum.min()), float(spectrum.max())
        self.lambda_min = validation.real("bounds[0]", bounds[0], maximum=0.0)
        self.lambda_max = validation.real("bounds[1]", bounds[1], minimum=0.0)
        self._inverses: dict[tuple[float, float], Any] = {}

    def product(self, t: Any) -> Any:
        """Return the products with coordinates of shape (B, size)."""
        if self.matrix is not None:
            return t @ self.matrix
        return self.coordinates.reduce(self.coupling.matvec(self.coordinates.expand(t)))

    def field(self, bias: Any) -> Any:
        r"""Return the coordinates of the field :math:`\Phi u + b` of the uniform state."""
        if self._uniform_field is None:
            uniform = like(self.layout.uniform, bias)[None]
            product = self.coupling.matvec(uniform) if self.is_operator else uniform @ self.coupling
            self._uniform_field = self.coordinates.reduce(product)
        return self.coordinates.reduce(bias) + self._uniform_field

    def inverse(self, identity: float, scale: float) -> Any:
        r"""Return :math:`(c I - s \Phi)^{-1}` in coordinates, which must be positive definite; kept."""
        if self.matrix is None:
            raise ValueError("coupling is an operator without a matrix to invert; allowed methods: 'mirror', 'newton'")
        if (identity, scale) not in self._inverses:
            self._inverses[identity, scale] = _inverse(identity, scale, self.matrix)
        return self._inverses[identity, scale]


def like(values: NDArray[Any], x: Any) -> Any:
    """Return host values as an array of the kind, precision and device of x."""
    if is_numpy_array(x):
        return values.astype(x.dtype, copy=False)
    xp = array_namespace(x)
    return to_device(xp.asarray(values, dtype=x.dtype), x.device)


def like_index(values: NDArray[Any], x: Any) -> Any:
    """Return host indices as an array of the kind and device of x."""
    if is_numpy_array(x):
        return values
    return to_device(array_namespace(x).asarray(values), x.device)


def on_host(x: Any) -> Any:
    """Return an array of any kind as one of NumPy."""
    if hasattr(x, "get"):
        return x.get()
    return x.detach().cpu().numpy() if hasattr(x, "detach") else x


def _helmert(k: int) -> NDArray[np.float64]:
    """Return k - 1 orthonormal columns that sum to zero, shape (k, k - 1)."""
    basis = np.zeros((k, k - 1))
    for column in range(k - 1):
        basis[: column + 1, column] = 1.0
        basis[column + 1, column] = -(column + 1.0)
    return basis / np.sqrt(np.arange(1, k) * np.arange(2, k + 1))


def _inverse(identity: float, scale: float, matrix: Any) -> Any:
    xp = array_namespace(matrix)
    if not is_numpy_array(matrix):
        eye = xp.eye(matrix.shape[0], dtype=matrix.dtype, device=matrix.device)
        return xp.linalg.inv(identity * eye - scale * matrix)
    shifted = -scale * matrix
    shifted[np.diag_indices_from(shifted)] += identity
    if not shifted.size:
        return shifted
    potrf, potri = lapack.get_lapack_funcs(("potrf", "potri"), (shifted,))
    factor, info = potrf(shifted.T, lower=False, overwrite_a=True, clean=False)
    if info:
        raise ValueError(f"{identity} I - {scale} coupling is not positive definite; allowed: bounds that hold")
    inverse, _ = potri(factor, lower=False, overwrite_c=True)
    upper = np.triu(inverse)
    return np.ascontiguousarray(upper + np.triu(upper, 1).T)
