r"""What monotone deep Boltzmann machines are compared with at completing and classifying images.

All take one-hot pixels as first and the label as last layer, and what is observed of them, as `hebbian.nn.MonotoneDBM`.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

from hebbian import validation
from hebbian.fixed_point import group_softmax, solve_mean_field
from hebbian.nn import MeanFieldOutput
from hebbian.nn.group_layer import GroupLayer
from hebbian.potts import GroupLayout


class UnrolledMeanField(GroupLayer):
    r"""Undamped mean field of any symmetric coupling, a few steps of which are differentiated one by one.

    Parameters
    ----------
    layout : GroupLayout
        Groups of the N entries.
    layered : bool
        Whether layers are joined with the next alone, as in a deep Boltzmann machine; else all groups with all others.
    steps : int
        Number of steps, at least 1.
    """

    mask: Tensor

    def __init__(self, layout: GroupLayout, *, layered: bool = False, steps: int = 10) -> None:
        super().__init__(layout)
        self.steps = validation.integer("steps", steps, minimum=1)
        allowed = ~layout.block_mask()
        if layered:
            sizes = [G * k for G, k in layout.layers]
            layer = np.repeat(np.arange(len(sizes)), sizes)
            allowed &= abs(layer[:, None] - layer) == 1
        self.register_buffer("mask", torch.as_tensor(allowed), persistent=False)
        self.weight = nn.Parameter(torch.empty(layout.size, layout.size))
        self.shift = nn.Parameter(torch.empty(layout.size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Draw couplings from a normal distribution of width :math:`1/(2\sqrt N)`, and set b to 0."""
        nn.init.normal_(self.weight, std=0.5 / self.layout.size**0.5)
        nn.init.zeros_(self.shift)

    def coupling(self) -> Tensor:
        """Return Phi, shape (N, N)."""
        return (self.weight + self.weight.mT) / 2 * self.mask

    def bias(self) -> Tensor:
        """Return b, shape (N,)."""
        return self.shift

    def forward(self, x: Any = None, mask: Any = None) -> MeanFieldOutput:
        """Return probabilities and fields after the steps."""
        coupling, clamp = self.coupling(), self.observed(x, mask)
        q = torch.as_tensor(self.layout.uniform, dtype=coupling.dtype, device=coupling.device)[None]
        for _ in range(self.steps):
            q = _clamped(q, clamp, self.layout)
            logits = q @ coupling + self.shift
            q = group_softmax(logits, self.layout)
        return MeanFieldOutput(_clamped(q, clamp, self.layout), logits, None)


class MaskedPerceptron(GroupLayer):
    """Two layers of rectified units, from pixels of which those hidden are blank to all pixels and the label.

    Parameters
    ----------
    pixels, levels, labels : int
        Numbers of pixels, grey levels and classes.
    width : int
        Units of each layer.
    """

    def __init__(self, pixels: int, levels: int, labels: int, width: int = 256) -> None:
        super().__init__(GroupLayout([(pixels, levels), (1, labels)]))
        outputs, inputs = self.layout.size, pixels * levels
        self.network = nn.Sequential(
            nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
        )

    def forward(self, x: Any, mask: Any) -> MeanFieldOutput:
        """Return logits."""
        clamp = self.observed(x, mask)
        assert clamp is not None
        known = clamp[1] * _spread(clamp[0], self.layout)
        logits = self.network(known[:, : self.network[0].in_features])
        return MeanFieldOutput(group_softmax(logits.detach(), self.layout), logits, None)


class RestrictedBoltzmann(GroupLayer):
    r"""Restricted Boltzmann machine with visible pixels and label, and binary hidden units; without label of its own.

    Trained by persistent contrastive divergence: the gradient of `surrogate` is that of the log-likelihood, with
    chains in place of the model's averages.

    Parameters
    ----------
    pixels, levels, labels : int
        Numbers of pixels, grey levels and classes.
    hidden : int
        Number of hidden units.
    chains, steps : int
        Persistent chains, and Gibbs steps of each for every update.
    """

    chains: Tensor

    def __init__(
        self, pixels: int, levels: int, labels: int, hidden: int = 120, chains: int = 128, steps: int = 3
    ) -> None:
        super().__init__(GroupLayout([(pixels, levels), (hidden, 2), (1, labels)]))
        self.visible = GroupLayout([(pixels, levels), (1, labels)])
        self.steps = validation.integer("steps", steps, minimum=1)
        self.weight = nn.Parameter(torch.empty(self.visible.size, hidden))
        self.visible_bias = nn.Parameter(torch.empty(self.visible.size))
        self.hidden_bias = nn.Parameter(torch.empty(hidden))
        self.register_buffer("chains", torch.empty(validation.integer("chains", chains, minimum=1), self.visible.size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw small weights, set biases to 0 and chains to the uniform state."""
        nn.init.normal_(self.weight, std=0.05)
        nn.init.zeros_(self.visible_bias)
        nn.init.zeros_(self.hidden_bias)
        self.chains.copy_(torch.as_tensor(self.visible.uniform).expand_as(self.chains))

    def start(self, levels: Tensor, classes: Tensor) -> None:
        """Set visible biases to the logarithms of frequencies in the data, as one does for quick learning."""
        counts = self.visible_vectors(levels, classes).sum(0)
        with torch.no_grad():
            self.visible_bias.copy_(torch.log((counts + 1) / (len(levels) + 1)))

    def visible_vectors(self, levels: Tensor, classes: Tensor) -> Tensor:
        """Return visible vectors, (B, visible), of pixels (B, pixels) and labels (B,)."""
        (_, k), (_, labels) = self.visible.layers
        parts = [one_hot(levels, k).flatten(1), one_hot(classes, labels)]
        return torch.cat(parts, 1).to(self.weight.dtype)

    def free_energy(self, v: Tensor) -> Tensor:
        """Return minus the logarithm of the weight of visible vectors, summed over hidden states, (B,)."""
        return -(v @ self.visible_bias) - softplus(v @ self.weight + self.hidden_bias).sum(-1)

    def surrogate(self, levels: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
        """Return free energy of the data less that of the chains, after their steps."""
        with torch.no_grad():
            for _ in range(self.steps):
                self.chains.copy_(self._gibbs(self.chains, generator))
        return self.free_energy(self.visible_vectors(levels, classes)).mean() - self.free_energy(self.chains).mean()

    def coupling(self) -> Tensor:
        """Return Phi of all groups, shape (N, N): a hidden unit that is on feels and makes the fields."""
        N, on = self.layout.size, self._on()
        seen = self._seen()
        full = self.weight.new_zeros(N, N)
        full[seen[:, None], on] = self.weight
        return full + full.mT

    def bias(self) -> Tensor:
        """Return b of all groups, shape (N,)."""
        full = self.weight.new_zeros(self.layout.size)
        full[self._seen()], full[self._on()] = self.visible_bias, self.hidden_bias
        return full

    @torch.no_grad()
    def forward(self, x: Any = None, mask: Any = None) -> MeanFieldOutput:
        """Return the mean field from the start of its field at the uniform state, by damped steps."""
        coupling, bias, clamp = self.coupling(), self.bias(), self.observed(x, mask)
        # Of several solutions this finds one.
        solution = solve_mean_field(coupling, bias, self.layout, method="mirror", clamp=clamp, tol=1e-2, max_iter=500)
        q = solution.q if solution.q.ndim == 2 else solution.q[None]
        return MeanFieldOutput(q, q @ coupling + bias, solution)

    def _gibbs(self, v: Tensor, generator: torch.Generator) -> Tensor:
        p = torch.sigmoid(v @ self.weight + self.hidden_bias)
        h = (torch.rand(p.shape, generator=generator).to(p) < p).to(v.dtype)
        logits = h @ self.weight.mT + self.visible_bias
        # The largest of logits with Gumbel noise is a sample.
        noise = -torch.log(-torch.log(torch.rand(logits.shape, generator=generator).clamp(1e-12, 1 - 1e-7)))
        noisy = logits + noise.to(logits)
        parts, at = [], 0
        for G, k in self.visible.layers:
            part = noisy[:, at : at + G * k].reshape(-1, G, k)
            parts.append(one_hot(part.argmax(-1), k).flatten(1))
            at += G * k
        return torch.cat(parts, 1).to(v.dtype)

    def _seen(self) -> Tensor:
        (G, k), (hidden, _), (_, labels) = self.layout.layers
        return torch.cat([torch.arange(G * k), G * k + 2 * hidden + torch.arange(labels)]).to(self.weight.device)

    def _on(self) -> Tensor:
        (G, k), (hidden, _), _ = self.layout.layers
        return (G * k + 2 * torch.arange(hidden) + 1).to(self.weight.device)


def _spread(mask: Tensor, layout: GroupLayout) -> Tensor:
    """Return values of groups at each of their entries."""
    return mask[:, torch.as_tensor(layout.groups, device=mask.device)]


def _clamped(q: Tensor, clamp: tuple[Tensor, Tensor] | None, layout: GroupLayout) -> Tensor:
    """Return probabilities with the values of observed groups."""
    return q if clamp is None else torch.where(_spread(clamp[0], layout), clamp[1], q)


def mode_log_probabilities(
    levels: NDArray[np.integer], classes: NDArray[np.integer], k: int, labels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the logarithms of how frequent each level of each pixel and each label are, (pixels, k) and (labels,).

    Parameters
    ----------
    levels : ndarray of int, shape (n, pixels)
        Grey levels, 0 to k - 1.
    classes : ndarray of int, shape (n,)
        Labels.
    k, labels : int
        Numbers of levels and labels.
    """
    counts = (levels[..., None] == np.arange(k)).sum(0)
    of_label = np.bincount(classes, minlength=labels)
    return np.log((counts + 1) / (len(levels) + k)), np.log((of_label + 1) / (len(levels) + labels))


def nearest_log_probabilities(
    train: tuple[NDArray[np.integer], NDArray[np.integer]],
    levels: NDArray[np.integer],
    observed: NDArray[np.bool_],
    k: int,
    labels: int,
    neighbours: int = 5,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the nearest examples say, by squared differences of observed pixels, (n, pixels, k) and (n, labels).

    Probabilities are frequencies among neighbours, mixed with those of all examples, which weigh as much as one.

    Parameters
    ----------
    train : (ndarray, ndarray)
        Grey levels (m, pixels) and labels (m,) of examples.
    levels, observed : ndarray, shape (n, pixels)
        Images, and which pixels are observed.
    k, labels : int
        Numbers of levels and labels.
    neighbours : int
        Examples that are asked.
    """
    known, examples = observed.astype(float), train[0].astype(float)
    distance = known @ (examples**2).T - 2 * (known * levels) @ examples.T
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :neighbours]
    prior = [np.exp(log_p) for log_p in mode_log_probabilities(*train, k, labels)]
    pixels = (train[0][nearest][..., None] == np.arange(k)).sum(1) + prior[0]
    of_label = (train[1][nearest][..., None] == np.arange(labels)).sum(1) + prior[1]
    return np.log(pixels / (neighbours + 1)), np.log(of_label / (neighbours + 1))
