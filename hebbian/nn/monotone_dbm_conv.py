r"""Monotone deep Boltzmann machines whose coupling is made of convolutions."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from hebbian import validation
from hebbian.nn.monotone_dbm import MeanFieldLayer
from hebbian.potts import GroupLayout
from hebbian.prepared_coupling import PreparedCoupling
from hebbian.spectral_scale import spectral_scale

_SCALE = 0.5


class _Shape(NamedTuple):
    """A layer: channels, height, width, groups of each pixel; one without pixels has height and width 1."""

    channels: int
    height: int
    width: int
    groups: int

    @property
    def categories(self) -> int:
        return self.channels // self.groups


class _Connection(NamedTuple):
    """How a tier reads a layer."""

    tier: int
    layer: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: int
    surplus: int

    @property
    def name(self) -> str:
        return f"{self.tier}_{self.layer}"


class _Products:
    """The coupling for given weights: the scale of each group, the blocks within groups, and products."""

    def __init__(self, layer: "MonotoneConvDBM", weights: dict[str, Tensor]) -> None:
        self.layer, self.weights = layer, weights
        largest = math.sqrt(1.0 - layer.margin)
        self.blocks, scales = [], []
        for index, shape in enumerate(layer.shapes):
            grams = self._grams(index)
            scale = spectral_scale(grams, torch.ones_like(grams[..., 0, 0]), largest)
            self.blocks.append(grams * (scale**2)[..., None, None])
            repeats = (shape.height // scale.shape[0], shape.width // scale.shape[1], 1)
            scales.append(scale.repeat(repeats).flatten().repeat_interleave(shape.categories))
        self.scale = torch.cat(scales)

    def factor(self, x: Tensor) -> dict[int, Tensor]:
        """Return the products of the scaled factor with vectors of shape (B, N): an image of each tier."""
        images = self._images(x * self.scale)
        tiers: dict[int, Tensor] = {}
        for one in self.layer.connections:
            image = conv2d(images[one.layer], self.weights[one.name], stride=one.stride, padding=one.padding)
            tiers[one.tier] = tiers[one.tier] + image if one.tier in tiers else image
        return tiers

    def matvec(self, x: Tensor) -> Tensor:
        """Return the products of the coupling with vectors of shape (..., N)."""
        vectors = x.reshape(-1, x.shape[-1])
        tiers = self.factor(vectors)
        images: list[Any] = [0.0] * len(self.layer.shapes)
        for one in self.layer.connections:
            images[one.layer] = images[one.layer] + conv_transpose2d(
                tiers[one.tier],
                self.weights[one.name],
                stride=one.stride,
                padding=one.padding,
                output_padding=one.surplus,
            )
        flat = [self._vector(image, i, vectors) for i, image in enumerate(images)]
        return (self._within(vectors) - self.scale * torch.cat(flat, 1)).reshape(x.shape)

    def _within(self, x: Tensor) -> Tensor:
        """Return the products with the blocks of groups."""
        parts = []
        for part, shape, blocks in zip(self.layer.layers_of(x), self.layer.shapes, self.blocks, strict=True):
            rows, columns, G, k, _ = blocks.shape
            tiles = part.reshape(-1, shape.height // rows, rows, shape.width // columns, columns, G, k)
            product = torch.einsum("nyrxcgk,rcgkl->nyrxcgl", tiles, blocks)
            parts.append(product.reshape(len(x), -1))
        return torch.cat(parts, 1)

    def _grams(self, layer: int) -> Tensor:
        """Return A_g^T A_g of the groups of one period of pixels, (rows, columns, groups, k, k)."""
        shape, read = self.layer.shapes[layer], [one for one in self.layer.connections if one.layer == layer]
        rows, columns = (math.lcm(1, *(one.stride[axis] for one in read)) for axis in (0, 1))
        like = next(iter(self.weights.values()))
        grams = like.new_zeros(rows, columns, shape.groups, shape.categories, shape.categories)
        for one in read:
            weight = self.weights[one.name]
            weight = weight.reshape(len(weight), shape.groups, shape.categories, *one.kernel)
            own = [
                _gram(weight[..., _taps(one, 0, row), :][..., _taps(one, 1, column)])
                for row in range(one.stride[0])
                for column in range(one.stride[1])
            ]
            tile = torch.stack(own).unflatten(0, one.stride)
            grams = grams + tile.repeat(rows // one.stride[0], columns // one.stride[1], 1, 1, 1)
        return grams

    def _images(self, x: Tensor) -> list[Tensor]:
        shapes = self.layer.shapes
        return [
            part.reshape(-1, shape.height, shape.width, shape.channels).permute(0, 3, 1, 2)
            for part, shape in zip(self.layer.layers_of(x), shapes, strict=True)
        ]

    def _vector(self, image: Any, layer: int, like: Tensor) -> Tensor:
        shape = self.layer.shapes[layer]
        if not isinstance(image, Tensor):
            return like.new_zeros(len(like), shape.channels * shape.height * shape.width)
        return image.permute(0, 2, 3, 1).reshape(len(like), -1)


def _gram(columns: Tensor) -> Tensor:
    """Return the Gram matrices over outputs and taps of (out, groups, k, taps, taps) numbers."""
    vectors = columns.permute(1, 2, 0, 3, 4).flatten(2)
    return vectors @ vectors.mT


def _taps(one: _Connection, axis: int, residue: int) -> list[int]:
    """Return the taps of a kernel that touch the pixels of a residue class modulo the stride."""
    return [tap for tap in range(one.kernel[axis]) if (tap - residue - one.padding) % one.stride[axis] == 0]


class MonotoneConvDBM(MeanFieldLayer):
    r"""Monotone deep Boltzmann machine with convolutional tiers.

    The coupling is that of `MonotoneDBM`, with a factor whose tier i reads layer j <= i by a convolution of stride
    W_j / W_i, or whole if layer i has no pixels. Padding is so wide that every pixel of a residue class is touched by
    the same taps, at borders too; thus the part within groups, which is subtracted, depends on that class alone.
    Groups are scaled on both sides, which keeps the coupling symmetric. It is known by its products.

    Parameters
    ----------
    sizes : sequence of tuple
        For each layer (channels, height, width, groups): each pixel has `groups` groups of channels / groups
        categories; or (units, groups) for a layer without pixels, after those that have them. Vectors are ordered by
        layer, row, column, group, category.
    kernels : sequence of sequence of int
        Table of the width of the kernels, (layers, layers), lower-triangular: 0 where tier i does not read layer j. One
        width for all layers that a tier reads; any positive number for tiers without pixels.
    margin, method, tol, max_iter
        As for `MonotoneDBM`; the methods are those for operators.
    device, dtype
        Of the parameters.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, a size is no multiple of that of a tier that reads it.

    References
    ----------
    Feng, Winston, Kolter, Trans. Mach. Learn. Res. (2023), arXiv:2307.04990.

    Examples
    --------
    >>> layer = MonotoneConvDBM([(2, 4, 4, 1), (6, 2, 2, 3), (5, 1)], [[3, 0, 0], [3, 3, 0], [0, 1, 1]])
    >>> layer.layout.layers
    ((16, 2), (12, 2), (1, 5))
    """

    def __init__(
        self,
        sizes: Sequence[Sequence[int]],
        kernels: Sequence[Sequence[int]],
        margin: float = 0.1,
        method: str = "auto",
        tol: float | None = None,
        max_iter: int = 200,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        shapes = [_shape(index, size) for index, size in enumerate(sizes)]
        layout = GroupLayout([(shape.height * shape.width * shape.groups, shape.categories) for shape in shapes])
        super().__init__(layout, margin, method, tol, max_iter)
        self.shapes, self.connections = shapes, _connections(shapes, kernels)
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weights = nn.ParameterDict(
            {
                one.name: nn.Parameter(
                    torch.empty(shapes[one.tier].channels, shapes[one.layer].channels, *one.kernel, **options)
                )
                for one in self.connections
            }
        )
        self.gain = nn.Parameter(torch.empty(len(shapes), **options))
        self.direction = nn.Parameter(torch.empty(layout.size, **options))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights from normal distributions, so that columns of a tier have norms of about 1/2, and biases."""
        for one in self.connections:
            weight = self.weights[one.name]
            taps = max(1.0, math.prod(one.kernel) / math.prod(one.stride))
            nn.init.normal_(weight, std=_SCALE / math.sqrt(len(weight) * taps))
        nn.init.ones_(self.gain)
        nn.init.uniform_(self.direction)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"sizes={[tuple(shape) for shape in self.shapes]}, margin={self.margin}, method={self.method!r}"

    def coupling(self) -> Tensor:
        """Return Phi assembled from its products, shape (N, N): for small N."""
        products = self._products()
        return products.matvec(torch.eye(self.layout.size, dtype=self.gain.dtype, device=self.gain.device))

    def factor(self) -> Tensor:
        """Return the scaled factor assembled from its products, shape (R, N): for small N."""
        products = self._products()
        tiers = products.factor(torch.eye(self.layout.size, dtype=self.gain.dtype, device=self.gain.device))
        return torch.cat([image.flatten(1) for image in tiers.values()], 1).mT

    def bias(self) -> Tensor:
        r"""Return b, shape (N,): for each layer a gain times a direction, :math:`g_l \beta_l / \lVert\beta_l\rVert`."""
        parts = [
            gain * part / part.norm() for gain, part in zip(self.gain, self.layers_of(self.direction), strict=True)
        ]
        return torch.cat(parts)

    def layers_of(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the layers, (..., G k) each, of vectors of shape (..., N)."""
        return x.split([G * k for G, k in self.layout.layers], dim=-1)

    def _products(self) -> _Products:
        return _Products(self, dict(self.weights.items()))

    def _product(self) -> tuple[Callable[[Tensor], Tensor], PreparedCoupling]:
        fixed = {name: weight.detach() for name, weight in self.weights.items()}

        def prepare() -> tuple[Any, Any]:
            products = _Products(self, {name: weight.clone() for name, weight in fixed.items()})
            return products, products.matvec

        return self._products().matvec, self._keep(tuple(fixed.values()), prepare)


def _shape(index: int, size: Sequence[int]) -> _Shape:
    """Return the shape of a layer, or raise."""
    if len(size) not in (2, 4):
        raise ValueError(f"sizes[{index}] = {tuple(size)}; allowed: (channels, height, width, groups), (units, groups)")
    numbers = [validation.integer(f"every entry of sizes[{index}]: entry", number, minimum=1) for number in size]
    shape = _Shape(*numbers) if len(size) == 4 else _Shape(numbers[0], 1, 1, numbers[1])
    if shape.channels % shape.groups:
        raise ValueError(
            f"sizes[{index}] has {shape.channels} channels in {shape.groups} groups; allowed: a multiple of the groups"
        )
    return shape


def _connections(shapes: list[_Shape], kernels: Sequence[Sequence[int]]) -> list[_Connection]:
    """Return what the table connects, or raise."""
    table = validation.rectangular("kernels", kernels)
    n = len(shapes)
    if table.shape != (n, n):
        raise ValueError(f"kernels has shape {table.shape}; allowed: {(n, n)}")
    found = []
    for tier, row in enumerate(table.tolist()):
        widths = [validation.integer(f"kernels[{tier}][{j}]", width, minimum=0) for j, width in enumerate(row)]
        if any(widths[tier + 1 :]):
            raise ValueError(f"kernels[{tier}] = {widths}; allowed: 0 for layers after that of the tier")
        used = set(widths) - {0}
        whole = shapes[tier].height == shapes[tier].width == 1
        if len(used) > 1 and not whole:
            raise ValueError(f"kernels[{tier}] = {widths}; allowed: one width for all layers that a tier reads")
        found += [_connection(shapes, tier, j, width, whole) for j, width in enumerate(widths) if width]
    if not found:
        raise ValueError("kernels is zero; allowed: one connection or more")
    return found


def _connection(shapes: list[_Shape], tier: int, layer: int, width: int, whole: bool) -> _Connection:
    to, of = shapes[tier], shapes[layer]
    if whole:
        return _Connection(tier, layer, (of.height, of.width), (of.height, of.width), 0, 0)
    stride = of.width // to.width
    if (stride * to.width, stride * to.height) != (of.width, of.height) or not stride:
        raise ValueError(
            f"sizes[{layer}] has {of.height} x {of.width} pixels, which tier {tier} reads; "
            f"allowed: a multiple of {to.height} x {to.width}"
        )
    padding = max(0, math.ceil((stride * (width - 2) + width) / 2))
    # Images of the tier are width - 1 wider than its layer; transposed, they miss these pixels at the far borders.
    surplus = 2 * padding - width - stride * (width - 2)
    return _Connection(tier, layer, (width, width), (stride, stride), padding, surplus)
