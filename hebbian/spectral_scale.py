r"""Scales that keep the spectral norms of groups of columns below a bound, with gradients where they are PyTorch's."""

from typing import Any

from array_api_compat import array_namespace


def spectral_scale(gram: Any, unit: Any, largest: float) -> Any:
    r"""Return :math:`\min(c / \lVert A_g \rVert_2, 1)` of groups.

    Parameters
    ----------
    gram : array
        :math:`A_g^T A_g / u_g^2`, shape (..., k, k), of NumPy, CuPy or PyTorch.
    unit : array
        u_g > 0, shape (...): an entry's size, as Gram matrices square numbers.
    largest : float
        c > 0.
    """
    xp = array_namespace(gram)
    top = xp.linalg.eigvalsh(gram)[..., -1]
    one = xp.ones_like(top)
    # A root of 0 has no finite gradient, even where it is not taken.
    norm = xp.where(top > 0, xp.sqrt(xp.where(top > 0, top, one)) * unit, 0 * one)
    above = norm > largest
    return xp.where(above, largest / xp.where(above, norm, one), one)


def column_scale(A: Any, G: int, largest: float) -> Any:
    """Return `spectral_scale` of each column of (R, G k) numbers that form G groups of columns, shape (G k,)."""
    xp = array_namespace(A)
    k = A.shape[1] // G
    part = xp.reshape(A, (-1, G, k))
    padded = xp.concat([xp.abs(part), xp.zeros((1, G, k), dtype=A.dtype, device=getattr(A, "device", None))])
    unit = xp.max(padded, axis=(0, 2))
    unit = xp.where(unit > float(xp.finfo(A.dtype).tiny), unit, xp.ones_like(unit))
    columns = xp.permute_dims(part / unit[:, None], (1, 0, 2))
    scale = spectral_scale(xp.matrix_transpose(columns) @ columns, unit, largest)
    return xp.reshape(xp.broadcast_to(scale[:, None], (G, k)), (-1,))
