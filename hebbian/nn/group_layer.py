"""Modules on layers of one-hot groups."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hebbian.potts import GroupLayout, check_layout


class GroupLayer(nn.Module):
    """A module on vectors of N one-hot entries in layers of groups.

    Parameters
    ----------
    layout : GroupLayout
        Groups of the N entries.
    """

    def __init__(self, layout: GroupLayout) -> None:
        super().__init__()
        self.layout = check_layout(layout)

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the layers, (..., G, k) each, of vectors of shape (..., N)."""
        parts = x.split([G * k for G, k in self.layout.layers], dim=-1)
        return tuple(part.unflatten(-1, layer) for part, layer in zip(parts, self.layout.layers, strict=True))

    def observed(self, x: Any, mask: Any) -> tuple[Tensor, Tensor] | None:
        """Return which groups are observed, (B, n_groups), and vectors read there, (B, N), of one tensor or of layers.

        Parameters
        ----------
        x : Tensor or sequence of (Tensor or None), optional
            One-hot values, shape (B, N), or for each layer (B, G, k) or (B, G k); None for a layer that is hidden.
        mask : Tensor or sequence of (Tensor or None), optional
            Which groups are observed, bool, shape (B, n_groups), or for each layer (B, G). By default all groups of
            layers that x has; required where x is one tensor.

        Raises
        ------
        TypeError, ValueError
            If a shape or type is wrong.
        """
        if x is None:
            if mask is not None:
                raise ValueError("mask is given without x; allowed: both or none")
            return None
        if isinstance(x, Tensor):
            if not isinstance(mask, Tensor):
                raise TypeError(f"mask is {type(mask).__name__}; allowed beside an x of one tensor: Tensor")
            return mask, x.detach()
        return self._joined(x, mask)

    def _joined(self, x: Sequence[Tensor | None], mask: Any) -> tuple[Tensor, Tensor]:
        """Return mask and values of layers in one."""
        layers = self.layout.layers
        masks = [None] * len(layers) if mask is None else mask
        if len(x) != len(layers) or len(masks) != len(layers):
            raise ValueError(f"x and mask have {len(x)} and {len(masks)} layers; allowed: {len(layers)}")
        given = [part for part in x if part is not None]
        if not given:
            raise ValueError("x has no layer that is observed; allowed: one or more, or x = None")
        batch = len(given[0])
        values, observed = [], []
        for index, ((G, k), part, marks) in enumerate(zip(layers, x, masks, strict=True)):
            if part is None:
                part, marks = given[0].new_zeros(batch, G * k), given[0].new_zeros(batch, G, dtype=torch.bool)
            elif marks is None:
                marks = part.new_ones(batch, G, dtype=torch.bool)
            if tuple(part.shape) not in ((batch, G, k), (batch, G * k)) or tuple(marks.shape) != (batch, G):
                raise ValueError(
                    f"layer {index} of x and mask has shapes {tuple(part.shape)} and {tuple(marks.shape)}; "
                    f"allowed: ({batch}, {G}, {k}) and ({batch}, {G})"
                )
            values.append(part.detach().reshape(batch, G * k))
            observed.append(marks)
        return torch.cat(observed, 1), torch.cat(values, 1)
