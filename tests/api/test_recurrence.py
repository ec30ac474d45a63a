"""`run_recurrent` is the network of torch, outputs and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vsr_cli.api.recurrence import run_recurrent


def pair(network: nn.GRU, given: list[Tensor], run: object) -> tuple[list[Tensor], list[Tensor]]:
    """Return outputs and last state, and the gradients of all that was given and of the weights."""
    outputs, last = run(*given)  # type: ignore[operator]
    weighted = (outputs * torch.linspace(-1, 1, outputs.numel()).view_as(outputs)).sum() + 2 * last.sin().sum()
    return [outputs, last], list(torch.autograd.grad(weighted, [*given, *network.parameters()]))


@pytest.mark.parametrize("steps", [1, 2, 32])
@pytest.mark.parametrize("stories", [1, 3])
@pytest.mark.parametrize("with_state", [True, False])
def test_gru_equals_torchs(steps: int, stories: int, with_state: bool) -> None:
    torch.manual_seed(steps)
    network = nn.GRU(5, 7, batch_first=True).double()
    given = [torch.randn(stories, steps, 5, dtype=torch.float64, requires_grad=True)]
    if with_state:
        given.append(torch.randn(1, stories, 7, dtype=torch.float64, requires_grad=True))
    theirs = pair(network, given, network)
    ours = pair(network, given, lambda *values: run_recurrent(network, *values))
    for one, other in zip([*theirs[0], *theirs[1]], [*ours[0], *ours[1]], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_outputs_may_be_changed_before_the_backward_pass() -> None:
    network = nn.GRU(5, 7, batch_first=True).double()
    given = torch.randn(2, 4, 5, dtype=torch.float64)
    expected = torch.autograd.grad(network(given)[0].mul(3).sum(), list(network.parameters()))
    got = torch.autograd.grad(run_recurrent(network, given)[0].mul_(3).sum(), list(network.parameters()))
    for one, other in zip(expected, got, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("options", [{"num_layers": 2}, {"bidirectional": True}, {"bias": False}])
def test_other_grus_are_torchs_own(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = nn.GRU(5, 7, batch_first=True, **options)  # type: ignore[arg-type]
    given = torch.randn(2, 4, 5)
    assert torch.equal(run_recurrent(network, given)[0], network(given)[0])


def test_frozen_weights_give_the_same_numbers_and_the_gradient_of_the_inputs() -> None:
    network = nn.GRU(5, 7, batch_first=True)
    given = torch.randn(2, 4, 5, requires_grad=True)
    trained = run_recurrent(network, given)[0]
    network.requires_grad_(False)
    frozen = run_recurrent(network, given)[0]
    assert torch.equal(frozen, trained)
    assert torch.equal(*(torch.autograd.grad(outputs.sum(), given)[0] for outputs in (frozen, trained)))
    with torch.no_grad():
        assert torch.equal(run_recurrent(network, given)[0], trained)
