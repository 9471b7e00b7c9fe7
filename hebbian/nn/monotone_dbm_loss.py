r"""Loss of joint completion and classification of images whose pixels are partly hidden."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax

from hebbian import validation


class CompletionLoss(NamedTuple):
    """A loss and its parts, all scalars."""

    total: Tensor
    pixel: Tensor
    label: Tensor


class CompletionClassificationLoss(nn.Module):
    r"""Focal loss of hidden pixels, balanced between grey levels, and cross-entropy of the label.

    .. math::
        \mathcal L = (1-w) \frac{\sum_i \omega_{c_i} (1-p_i)^\gamma (-\ln p_i)}{\sum_i \omega_{c_i}} + w\, (-\ln p_y),
        \qquad \omega_c = \frac{1-\beta}{1-\beta^{n_c}}

    over hidden pixels i with grey level c_i, of which the batch has n_c with that level, and
    :math:`p_i = {\rm softmax}(\tau_i^2 u_i)_{c_i}`, :math:`p_y = {\rm softmax}(\tau_c^2 u)_y`. A coupling of
    bounded spectrum gives flat logits u, which the tau, that are learned, make up for.

    Parameters
    ----------
    num_classes : int
        Number of grey levels.
    tau_shape : tuple of int
        Shape of an image, one tau a pixel.
    tau_init : float
        First value of the tau of pixels, > 0; that of the label is 1.
    focal_gamma : float
        gamma >= 0; 0 is the cross-entropy.
    balance : float
        beta in [0, 1); 0 weighs all pixels alike.
    label_weight : float
        w in [0, 1].
    device, dtype
        Of the parameters.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    References
    ----------
    Feng, Winston, Kolter, Trans. Mach. Learn. Res. (2023), arXiv:2307.04990; Lin et al., arXiv:1708.02002; Cui et al.,
    arXiv:1901.05555.
    """

    def __init__(
        self,
        num_classes: int,
        tau_shape: tuple[int, ...],
        tau_init: float = 10**0.5,
        focal_gamma: float = 2.0,
        balance: float = 0.9999,
        label_weight: float = 0.5,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = validation.integer("num_classes", num_classes, minimum=2)
        shape = [validation.integer("every entry of tau_shape: entry", size, minimum=1) for size in tau_shape]
        self.tau_init = validation.real("tau_init", tau_init, above=0.0)
        self.focal_gamma = validation.real("focal_gamma", focal_gamma, minimum=0.0)
        self.balance = validation.real("balance", balance, minimum=0.0, below=1.0)
        self.label_weight = validation.real("label_weight", label_weight, minimum=0.0, maximum=1.0)
        self.tau = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.label_tau = nn.Parameter(torch.empty((), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all tau to their first values."""
        nn.init.constant_(self.tau, self.tau_init)
        nn.init.ones_(self.label_tau)

    def log_probabilities(self, pixels: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logarithms of the probabilities of grey levels and of labels.

        Parameters
        ----------
        pixels : Tensor, shape (B, *tau_shape, num_classes)
            Logits.
        label : Tensor, shape (B, labels)
            Logits.
        """
        return log_softmax(self.tau[..., None] ** 2 * pixels, -1), log_softmax(self.label_tau**2 * label, -1)

    def forward(self, pixels: Tensor, label: Tensor, levels: Tensor, hidden: Tensor, classes: Tensor) -> CompletionLoss:
        """Return the loss.

        Parameters
        ----------
        pixels : Tensor, shape (B, *tau_shape, num_classes)
            Logits of the grey levels.
        label : Tensor, shape (B, labels)
            Logits of the label.
        levels : Tensor of int, shape (B, *tau_shape)
            Grey levels, 0 to num_classes - 1.
        hidden : Tensor of bool, shape (B, *tau_shape)
            Which pixels are hidden; without one, the part of the pixels is 0.
        classes : Tensor of int, shape (B,)
            Labels.

        Raises
        ------
        TypeError, ValueError
            If a shape does not fit, the mask is not bool, or a grey level or label is out of range.
        """
        self._check(pixels, label, levels, hidden, classes)
        log_p, log_label = self.log_probabilities(pixels, label)
        found = log_p.gather(-1, levels[..., None])[..., 0]
        counts = torch.bincount(levels[hidden], minlength=self.num_classes).to(found.dtype)
        # Levels that the batch lacks weigh nothing: none of its pixels reads theirs.
        weights = (1 - self.balance) / (1 - self.balance ** counts.clamp(min=1))
        weight = weights[levels] * hidden
        # A power of 0 may have no finite gradient.
        missed = (-torch.expm1(found)).clamp(min=torch.finfo(found.dtype).tiny)
        total = weight.sum()
        pixel = -(weight * missed**self.focal_gamma * found).sum() / torch.where(total > 0, total, 1.0)
        of_label = cross_entropy(log_label, classes)
        return CompletionLoss((1 - self.label_weight) * pixel + self.label_weight * of_label, pixel, of_label)

    def _check(self, pixels: Tensor, label: Tensor, levels: Tensor, hidden: Tensor, classes: Tensor) -> None:
        batch, shape = len(pixels), tuple(self.tau.shape)
        wanted = {
            "pixels": (pixels, (batch, *shape, self.num_classes)),
            "label": (label, (batch, label.shape[-1])),
            "levels": (levels, (batch, *shape)),
            "hidden": (hidden, (batch, *shape)),
            "classes": (classes, (batch,)),
        }
        for name, (tensor, allowed) in wanted.items():
            if tuple(tensor.shape) != allowed:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}; allowed: {allowed}")
        if hidden.dtype != torch.bool:
            raise TypeError(f"hidden has dtype {hidden.dtype}; allowed: bool")
        for name, numbers, number in (("levels", levels, self.num_classes), ("classes", classes, label.shape[-1])):
            if numbers.numel() and not 0 <= int(numbers.min()) <= int(numbers.max()) < number:
                raise ValueError(
                    f"{name} has entries {int(numbers.min())} to {int(numbers.max())}; allowed: 0 to {number - 1}"
                )
