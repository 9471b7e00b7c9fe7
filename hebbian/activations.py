r"""Activation functions with two derivatives, their kinks and symmetries, for models and theory alike.

Derivatives are the regular parts: of a function with kinks the second derivative leaves out the deltas, which only
matter in averages where the function or its first derivative does not vanish beside them.
"""

import functools
import importlib
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from array_api_compat import array_namespace, is_cupy_namespace

from hebbian import validation

Function = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Activation:
    r"""A function of one real variable z, applied entry by entry.

    Parameters
    ----------
    name : str
        Name, one of `NAMES` or "custom".
    f, df, d2f : callable
        The function and its first two derivatives, from an array of floats of NumPy, CuPy or PyTorch to one of its
        kind and shape; derivatives without the deltas at kinks.
    kinks : tuple of float
        Where f or a derivative jumps, rising.
    parity : {"even", "odd"}, optional
        Symmetry about z = 0, if any.
    homogeneous : (float, float), optional
        Slopes (a, b) of a function that is a z for z < 0 and b z for z > 0.
    continuous : bool
        Whether f itself is continuous.
    parameters : mapping
        What `get_activation` was given besides the name.
    """

    name: str
    f: Function
    df: Function
    d2f: Function
    kinks: tuple[float, ...] = ()
    parity: str | None = None
    homogeneous: tuple[float, float] | None = None
    continuous: bool = True
    parameters: Mapping[str, Any] = field(default_factory=dict)


def get_activation(name: str | Function | Activation, **parameters: Any) -> Activation:
    r"""Return the activation of a name and its parameters, or of a function.

    Parameters
    ----------
    name : str, callable or Activation
        ``linear``; ``relu``; ``leaky_relu(a = 0.01)``; ``abs``; ``abrelu(a, b)``: a z for z < 0 and b z for z > 0;
        ``erf``; ``tanh``; ``sin``; ``cos``; ``gelu``: :math:`z \Phi(z)`; ``swish``: z times the sigmoid; ``sigmoid``;
        ``softplus``; ``gaussian``: :math:`e^{-z^2}`; ``rbf(g)``: :math:`\sqrt2 \sin(\sqrt{2g}\,z + \pi/4)`;
        ``exp(a)``: :math:`e^{a z}`; ``hermite(k)``: the polynomial of degree k, orthonormal under the normal weight;
        ``monomial(k)``: :math:`z^k`; ``step``: 1 for z > 0 and 0 elsewhere. A function becomes the activation "custom";
        an Activation is returned as it is.
    **parameters
        Those in brackets; of a function ``df`` and ``d2f`` (needed where derivatives are used), ``kinks``, ``parity``
        and ``continuous``, as `Activation` has them.

    Raises
    ------
    TypeError, ValueError
        If the name is unknown, or a parameter is missing, unknown or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> leaky = get_activation("leaky_relu", a=0.5)
    >>> leaky.f(np.array([-2.0, 2.0])).tolist(), leaky.df(np.array([-2.0, 2.0])).tolist(), leaky.homogeneous
    ([-1.0, 2.0], [0.5, 1.0], (0.5, 1.0))
    """
    if isinstance(name, Activation):
        _known(name.name, parameters, {})
        return name
    if callable(name):
        return _custom(name, parameters)
    name = validation.choice("activation", name, NAMES)
    make, defaults = _MAKERS[name]
    _known(name, parameters, defaults)
    given = dict(defaults) | parameters
    for key, value in given.items():
        if value is None:
            raise TypeError(f"activation {name!r} needs the parameter {key}")
        check = _INTEGERS.get((name, key))
        given[key] = validation.real(key, value, **_RANGES.get((name, key), {})) if check is None else check(key, value)
    f, df, d2f, facts = make(**given)
    return Activation(name, f, df, d2f, parameters=given, **facts)


def _known(name: str, given: Mapping[str, Any], allowed: Mapping[str, Any]) -> None:
    for key in given:
        if key not in allowed:
            words = ", ".join(allowed) if allowed else "none"
            raise TypeError(f"activation {name!r} has no parameter {key}; allowed: {words}")


def _custom(f: Function, given: Mapping[str, Any]) -> Activation:
    _known("custom", given, dict.fromkeys(("df", "d2f", "kinks", "parity", "continuous")))
    for key in ("df", "d2f"):
        if given.get(key) is not None and not callable(given[key]):
            raise TypeError(f"{key} = {given[key]!r} is not a function")
    kinks = tuple(sorted(validation.real("kinks", kink) for kink in given.get("kinks", ())))
    parity = given.get("parity")
    if parity is not None:
        validation.choice("parity", parity, ("even", "odd"))
    df, d2f = (given.get(key) or functools.partial(_missing, key) for key in ("df", "d2f"))
    return Activation("custom", f, df, d2f, kinks, parity, continuous=bool(given.get("continuous", True)))


def _missing(which: str, z: Any) -> Any:
    raise ValueError(f"{which} of the custom activation is not given; allowed: get_activation(f, {which}=...)")


def _namespace(z: Any) -> Any:
    """Return the functions for an array of its kind; PyTorch's compiler cannot follow the general search."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(z, torch.Tensor) else array_namespace(z)


def _abrelu(a: float, b: float) -> Any:
    parity = {a == b: "odd", a == -b: "even"}.get(True)
    facts = {"kinks": () if a == b else (0.0,), "parity": parity, "homogeneous": (a, b)}
    return functools.partial(_two_slopes, a, b), functools.partial(_slope, a, b), _ZERO, facts


def _two_slopes(a: float, b: float, z: Any) -> Any:
    xp = _namespace(z)
    if a == b:
        return z if a == 1 else a * z
    above = xp.clip(z, 0.0, None)
    return above if (a, b) == (0, 1) else b * above + a * xp.clip(z, None, 0.0)


def _slope(a: float, b: float, z: Any) -> Any:
    xp = _namespace(z)
    return xp.where(z > 0, xp.full_like(z, b), xp.full_like(z, a))


def _constant(value: float, z: Any) -> Any:
    return _namespace(z).full_like(z, value)


def _erf(z: Any) -> Any:
    xp = _namespace(z)
    if hasattr(xp, "erf"):
        return xp.erf(z)
    if is_cupy_namespace(xp):
        return importlib.import_module("cupyx.scipy.special").erf(z)
    from scipy.special import erf

    return erf(z)


def _bell(z: Any) -> Any:
    return _namespace(z).exp(-z * z)


def _normal_density(z: Any) -> Any:
    return _namespace(z).exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _normal_law(z: Any) -> Any:
    return (1 + _erf(z * math.sqrt(0.5))) / 2


def _sigmoid(z: Any) -> Any:
    return (1 + _namespace(z).tanh(z / 2)) / 2


def _sigmoid_slope(z: Any) -> Any:
    return _sigmoid(z) * _sigmoid(-z)


def _sigmoid_curvature(z: Any) -> Any:
    return -_sigmoid_slope(z) * _namespace(z).tanh(z / 2)


def _softplus(z: Any) -> Any:
    xp = _namespace(z)
    return xp.logaddexp(z, xp.zeros_like(z))


def _swish_slope(z: Any) -> Any:
    return _sigmoid(z) + z * _sigmoid_slope(z)


def _swish_curvature(z: Any) -> Any:
    return _sigmoid_slope(z) * (2 - z * _namespace(z).tanh(z / 2))


def _tanh(z: Any) -> Any:
    return _namespace(z).tanh(z)


def _tanh_slope(z: Any) -> Any:
    return 1 - _tanh(z) ** 2


def _waves(size: float, frequency: float, phase: float, parity: str | None) -> Any:
    """Return size sin(frequency z + phase) and its derivatives."""
    parts = [
        functools.partial(_wave, size * frequency**order, frequency, phase + order * math.pi / 2) for order in range(3)
    ]
    return *parts, {"parity": parity}


def _wave(size: float, frequency: float, phase: float, z: Any) -> Any:
    xp = _namespace(z)
    # The cosines of multiples of a quarter turn are exact.
    quarter = phase / (math.pi / 2)
    if quarter == round(quarter):
        turned = xp.cos(frequency * z) if round(quarter) % 2 else xp.sin(frequency * z)
        return (-size if round(quarter) % 4 >= 2 else size) * turned
    return size * xp.sin(frequency * z + phase)


def _exponential(a: float) -> Any:
    return *(functools.partial(_scaled_exponential, a**order, a) for order in range(3)), {}


def _scaled_exponential(size: float, a: float, z: Any) -> Any:
    return size * _namespace(z).exp(a * z)


def _polynomial(function: Callable[[int, Any], Any], k: int, rates: tuple[float, float]) -> Any:
    """Return a polynomial of degree k whose derivatives are multiples of those of degree k - 1 and k - 2."""
    parts = [functools.partial(function, k)]
    for order, size in enumerate((rates[0], rates[0] * rates[1]), 1):
        parts.append(
            functools.partial(_multiple, size, function, k - order) if k >= order else functools.partial(_constant, 0.0)
        )
    return *parts, {"parity": "odd" if k % 2 else "even"} | ({"homogeneous": (1.0, 1.0)} if k == 1 else {})


def _multiple(size: float, function: Callable[[int, Any], Any], k: int, z: Any) -> Any:
    return size * function(k, z)


def _power(k: int, z: Any) -> Any:
    return z**k


def _hermite(k: int, z: Any) -> Any:
    r"""Return :math:`he_k = He_k/\sqrt{k!}` by its three-term recursion."""
    previous, current = _namespace(z).zeros_like(z), _constant(1.0, z)
    for j in range(k):
        previous, current = current, (z * current - math.sqrt(j) * previous) / math.sqrt(j + 1)
    return current


def _step(z: Any) -> Any:
    return _slope(0.0, 1.0, z)


def _smooth(f: Function, df: Function, d2f: Function, parity: str | None = None) -> Callable[[], Any]:
    return lambda: (f, df, d2f, {"parity": parity})


def _erf_slope(z: Any) -> Any:
    return 2 / math.sqrt(math.pi) * _bell(z)


def _erf_curvature(z: Any) -> Any:
    return -2 * z * _erf_slope(z)


def _tanh_curvature(z: Any) -> Any:
    return -2 * _tanh(z) * _tanh_slope(z)


def _gelu(z: Any) -> Any:
    return z * _normal_law(z)


def _gelu_slope(z: Any) -> Any:
    return _normal_law(z) + z * _normal_density(z)


def _gelu_curvature(z: Any) -> Any:
    return (2 - z * z) * _normal_density(z)


def _swish(z: Any) -> Any:
    return z * _sigmoid(z)


def _bell_slope(z: Any) -> Any:
    return -2 * z * _bell(z)


def _bell_curvature(z: Any) -> Any:
    return (4 * z * z - 2) * _bell(z)


_ZERO = functools.partial(_constant, 0.0)
# How each is made, and its parameters with their defaults; None has none.
_MAKERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "linear": (functools.partial(_abrelu, 1.0, 1.0), {}),
    "relu": (functools.partial(_abrelu, 0.0, 1.0), {}),
    "leaky_relu": (lambda a: _abrelu(a, 1.0), {"a": 0.01}),
    "abs": (functools.partial(_abrelu, -1.0, 1.0), {}),
    "abrelu": (_abrelu, {"a": None, "b": None}),
    "erf": (_smooth(_erf, _erf_slope, _erf_curvature, "odd"), {}),
    "tanh": (_smooth(_tanh, _tanh_slope, _tanh_curvature, "odd"), {}),
    "sin": (functools.partial(_waves, 1.0, 1.0, 0.0, "odd"), {}),
    "cos": (functools.partial(_waves, 1.0, 1.0, math.pi / 2, "even"), {}),
    "gelu": (_smooth(_gelu, _gelu_slope, _gelu_curvature), {}),
    "swish": (_smooth(_swish, _swish_slope, _swish_curvature), {}),
    "sigmoid": (_smooth(_sigmoid, _sigmoid_slope, _sigmoid_curvature), {}),
    "softplus": (_smooth(_softplus, _sigmoid, _sigmoid_slope), {}),
    "gaussian": (_smooth(_bell, _bell_slope, _bell_curvature, "even"), {}),
    "rbf": (lambda g: _waves(math.sqrt(2.0), math.sqrt(2.0 * g), math.pi / 4, None), {"g": None}),
    "exp": (_exponential, {"a": 1.0}),
    "hermite": (lambda k: _polynomial(_hermite, k, (math.sqrt(k), math.sqrt(max(k - 1, 0)))), {"k": None}),
    "monomial": (lambda k: _polynomial(_power, k, (k, k - 1)), {"k": None}),
    "step": (lambda: (_step, _ZERO, _ZERO, {"kinks": (0.0,), "continuous": False}), {}),
}
_RANGES: dict[tuple[str, str], dict[str, float]] = {("rbf", "g"): {"above": 0.0}}
_INTEGERS = {(name, "k"): functools.partial(validation.integer, minimum=0) for name in ("hermite", "monomial")}
NAMES = tuple(_MAKERS)
