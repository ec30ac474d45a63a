"""Temporal model `ssm`: a diagonal state-space model over the frames of a story."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, last_real

from . import SsmOptions

LEAST_DECAY, MOST_DECAY = 0.1, 0.99
"""Range of the initial decay |λ|. The paper's range is 0 to 1, whose ends have no logarithm."""


class Ssm(nn.Module):
    """Layers of linear recurrent units, each with a layer norm before, a gate after, and a residual connection.

    Orvieto et al. (2023), "Resurrecting Recurrent Neural Networks for Long Sequences", figure 1.
    """

    def __init__(self, options: SsmOptions, context: BuildContext) -> None:
        super().__init__()
        width = context.width
        self.layers = nn.Sequential(
            *(
                Layer(width=width, states=options.states or width, dropout=options.dropout)
                for _ in range(options.layers)
            )
        )

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after each frame (B, K, D) and after the last real one (B, D), from (B, K, D) and (B, K)."""
        steps: Tensor = self.layers(frames)
        return steps, last_real(steps, mask)


class Layer(nn.Module):
    """One linear recurrent unit with its gate."""

    def __init__(self, *, width: int, states: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.recurrence = LinearRecurrence(width=width, states=states)
        self.gated = nn.Linear(width, 2 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """Return (B, K, D) from (B, K, D)."""
        hidden = functional.gelu(self.recurrence(self.norm(frames)))  # (B, K, D)
        added: Tensor = self.dropout(functional.glu(self.gated(hidden), dim=-1))  # (B, K, 2D) -> (B, K, D)
        return frames + added


class LinearRecurrence(nn.Module):
    """x_k = λ x_(k-1) + γ B u_k and y_k = Re(C x_k) + D u_k, with λ complex, diagonal and of modulus below 1.

    λ = exp(-exp(ν) + iθ): always stable. γ = sqrt(1 - |λ|²) gives every state the same scale
    at initialization, whatever its decay (Orvieto et al., 2023, section 3.4). B and C are pairs of
    real matrices.
    """

    def __init__(self, *, width: int, states: int) -> None:
        super().__init__()
        # Uniform over the ring between the two radii, whose area grows with the square of the radius.
        squares = torch.empty(states).uniform_(LEAST_DECAY**2, MOST_DECAY**2)
        self.log_rate = nn.Parameter(torch.log(-0.5 * torch.log(squares)))  # ν
        self.phase = nn.Parameter(torch.empty(states).uniform_(0, 2 * math.pi))  # θ
        self.log_scale = nn.Parameter(0.5 * torch.log1p(-squares))  # log γ
        self.read_in = nn.Linear(width, 2 * states, bias=False)  # B
        self.read_out = nn.Linear(2 * states, width, bias=False)  # C
        self.skip = nn.Parameter(torch.ones(width))  # D

    def forward(self, frames: Tensor) -> Tensor:
        """Return (B, K, D) from (B, K, D)."""
        states = self._scan(self.read_in(frames))  # (B, K, 2 * states)
        output: Tensor = self.read_out(states)  # -> (B, K, D)
        return output + self.skip * frames

    def _scan(self, driven: Tensor) -> Tensor:
        """Run the recurrence over (B, K, 2 * states), real and imaginary parts side by side, in single precision."""
        with torch.autocast(driven.device.type, enabled=False):
            real, imaginary = driven.float().chunk(2, dim=-1)
            inputs = self.log_scale.exp() * torch.complex(real, imaginary)  # (B, K, states)
            factor = torch.polar(torch.exp(-self.log_rate.exp()), self.phase)  # λ, (states,)
            state = torch.zeros_like(inputs[:, 0])  # (B, states)
            states = []
            for frame in inputs.unbind(dim=1):
                state = factor * state + frame
                states.append(state)
            stacked = torch.stack(states, dim=1)  # (B, K, states)
            return torch.cat([stacked.real, stacked.imag], dim=-1)
