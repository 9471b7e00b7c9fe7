"""Layers of networks of infinite width, from which `theory.kernels.Network` is composed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hebbian import activations, validation

PADDINGS = ("SAME", "CIRCULAR", "VALID")


@dataclass(frozen=True)
class Dense:
    r"""Fully connected layer, :math:`z = \sqrt{c_w/n}\, W x + \sqrt{c_b}\, b`.

    Parameters
    ----------
    cw, cb : float
        Variances of weights (times the number of inputs) and biases, at least 0.
    lw, lb : float, optional
        Learning rates of both in units of the common one; default: cw and cb, the NTK parametrisation.
    """

    cw: float = 1.0
    cb: float = 0.0
    lw: float | None = None
    lb: float | None = None

    def __post_init__(self) -> None:
        _check_rates(self)


@dataclass(frozen=True)
class Conv2d:
    r"""Convolution of images over positions, with infinitely many channels.

    .. math::
        K'_{ss'} = \frac{c_w}{f_h f_w} \sum_o K_{s+o,\,s'+o} + c_b, \qquad
        \Theta'_{ss'} = \frac{1}{f_h f_w} \sum_o \big(\lambda_w K + c_w \Theta\big)_{s+o,\,s'+o} + \lambda_b

    Parameters
    ----------
    filter : int or (int, int)
        Height and width of the filter.
    padding : {"SAME", "CIRCULAR", "VALID"}
        Zeros around the image, of which the first half, rounded down, in front; periodic images; or no padding.
    stride : int
        Distance of positions that are kept.
    cw, cb, lw, lb
        As `Dense` has them; cw over the number of channels times the filter's size is the variance of a weight.
    """

    filter: int | tuple[int, int] = 3
    padding: str = "SAME"
    stride: int = 1
    cw: float = 1.0
    cb: float = 0.0
    lw: float | None = None
    lb: float | None = None

    def __post_init__(self) -> None:
        _check_rates(self)
        validation.choice("padding", self.padding, PADDINGS)
        validation.integer("stride", self.stride, minimum=1)
        for size in self.filter_sizes:
            validation.integer("filter", size, minimum=1)

    @property
    def filter_sizes(self) -> tuple[int, int]:
        """Height and width of the filter."""
        return self.filter if isinstance(self.filter, tuple) else (self.filter, self.filter)

    def sources(self, axis: int, size: int) -> list[list[int]]:
        """Return, for each offset in the filter, the positions that outputs read along an axis; -1 is outside."""
        width, step = self.filter_sizes[axis], self.stride
        if self.padding == "VALID":
            outputs, front = (size - width) // step + 1, 0
            if size < width:
                raise ValueError(f"filter = {self.filter} exceeds images of size {size}; allowed: at most {size}")
        else:
            outputs = -(-size // step)
            # Of a SAME convolution with stride as much as its last output needs.
            front = max((outputs - 1) * step + width - size, 0) // 2 if self.padding == "SAME" else (width - 1) // 2
        positions = [[i * step + offset - front for i in range(outputs)] for offset in range(width)]
        if self.padding == "CIRCULAR":
            return [[at % size for at in row] for row in positions]
        return [[at if 0 <= at < size else -1 for at in row] for row in positions]


class Activation:
    """Activation function, entry by entry, of the outputs of a layer with weights.

    Parameters
    ----------
    act : str, callable or hebbian.activations.Activation
        As `hebbian.activations.get_activation` takes it.
    **parameters
        Of the activation.
    """

    def __init__(self, act: Any, **parameters: Any) -> None:
        self.act = activations.get_activation(act, **parameters)


@dataclass(frozen=True)
class LayerNorm:
    """Division by the root mean square over the units of a layer; of images over channels, at each position."""


@dataclass(frozen=True)
class Flatten:
    """All positions and channels of an image in one vector."""


@dataclass(frozen=True)
class GlobalAvgPool:
    """Mean over the positions of an image."""


class Residual:
    r"""Layers beside a direct path, :math:`z' = {\rm inner}(z) + \gamma z`.

    Parameters
    ----------
    inner : sequence of layers
        They end with a layer with weights and keep the size of images.
    gamma : float
        Weight of the direct path.
    """

    def __init__(self, inner: Sequence[Any], gamma: float = 1.0) -> None:
        self.inner = list(inner)
        self.gamma = validation.real("gamma", gamma)


LAYERS = (Dense, Conv2d, Activation, LayerNorm, Flatten, GlobalAvgPool, Residual)


def check_layers(layers: Sequence[Any], images: bool, gaussian: bool = False) -> tuple[bool, bool]:
    """Raise unless layers fit on each other; return whether the outputs are images and Gaussian.

    Parameters
    ----------
    layers : sequence
        Layers.
    images, gaussian : bool
        Whether the inputs are images, and outputs of a layer with weights, as activations need them.
    """
    for position, layer in enumerate(layers):
        where = f"layer {position}, {type(layer).__name__}"
        if not isinstance(layer, LAYERS):
            raise TypeError(f"{where}: allowed: {', '.join(kind.__name__ for kind in LAYERS)}")
        if images and isinstance(layer, Dense):
            raise ValueError(f"{where}, of images; allowed: after Flatten or GlobalAvgPool")
        if not images and isinstance(layer, (Conv2d, Flatten, GlobalAvgPool)):
            raise ValueError(f"{where}, of vectors; allowed: of images (N, H, W, C)")
        if isinstance(layer, Activation):
            if not gaussian:
                raise ValueError(f"{where}, of what is not Gaussian; allowed: after a layer with weights")
            gaussian = False
        elif isinstance(layer, (Dense, Conv2d)):
            gaussian = True
        elif isinstance(layer, (Flatten, GlobalAvgPool)):
            images = False
        elif isinstance(layer, Residual):
            inner_images, inner_gaussian = check_layers(layer.inner, images, gaussian)
            if inner_images != images or not layer.inner or not isinstance(layer.inner[-1], (Dense, Conv2d, Residual)):
                raise ValueError(f"{where}: its inner layers end otherwise; allowed: a layer with weights, of one kind")
            gaussian = gaussian and inner_gaussian
    return images, gaussian


def _check_rates(layer: Dense | Conv2d) -> None:
    for name in ("cw", "cb", "lw", "lb"):
        value = getattr(layer, name)
        if value is not None:
            validation.real(name, value, minimum=0.0)
