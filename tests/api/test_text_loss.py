import math
import weakref

import pytest
import torch
from torch.nn import functional

from vsr_cli.api import TextObjective
from vsr_cli.api import text_loss as loss_module
from vsr_cli.api.text_loss import LANES, head_cross_entropy, sum_over_parts

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

V, H = 23, 6


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    """Let slices be of 16 tokens, so that a few dozen need several."""
    monkeypatch.setattr(loss_module, "SCORES_HELD", LANES * V)


def inputs(tokens, dtype=torch.float64, scale=1.0):
    random = torch.Generator().manual_seed(tokens)
    states, weight, bias = (
        (scale * torch.randn(*shape, generator=random, dtype=torch.float64)).to(dtype).requires_grad_()
        for shape in ((tokens, H), (V, H), (V,))
    )
    return states, weight, bias, torch.randint(0, V, (tokens,), generator=random)


def plain(states, weight, bias, answers):
    return functional.cross_entropy(functional.linear(states, weight, bias), answers)


def gradients(function, given, upstream=1.0):
    result = function(*given)
    return result, torch.autograd.grad(result * upstream, given[:3])


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 48, 61])
@pytest.mark.parametrize("upstream", [1.0, 0.3])
def test_loss_and_gradients_equal_torch_functions(tokens, upstream):
    given = inputs(tokens)
    expected, got = gradients(plain, given, upstream), gradients(head_cross_entropy, given, upstream)
    torch.testing.assert_close(got[0], expected[0])
    for ours, theirs in zip(got[1], expected[1], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradients_equal_finite_differences():
    *leaves, answers = inputs(18)
    assert torch.autograd.gradcheck(lambda *given: head_cross_entropy(*given, answers), leaves)


def test_single_precision_is_as_exact_as_torch_functions():
    given, exact = inputs(40, torch.float32), inputs(40)
    for ours, theirs in zip(gradients(head_cross_entropy, given)[1], gradients(plain, exact)[1], strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-5, atol=1e-6)


def test_large_logits_do_not_overflow():
    given = inputs(20, torch.float32, scale=40.0)
    expected, got = gradients(plain, given), gradients(head_cross_entropy, given)
    assert got[0] > 100
    torch.testing.assert_close(got[0], expected[0])
    for ours, theirs in zip(got[1], expected[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_autocast_products_and_gradients_have_the_right_dtypes():
    given, exact = inputs(40, torch.float32), inputs(40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = head_cross_entropy(*given)
    got = torch.autograd.grad(value, given[:3])
    expected = gradients(plain, exact)
    assert value.dtype == torch.float32
    assert not torch.equal(value, head_cross_entropy(*given))
    assert value.item() == pytest.approx(expected[0].item(), rel=1e-2)
    for ours, theirs in zip(got, expected[1], strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs.float(), rtol=0.1, atol=0.02 * theirs.abs().max().item())


def test_without_gradients_only_the_loss_is_computed():
    given = inputs(20)
    with torch.no_grad():
        value = head_cross_entropy(*given)
    assert not value.requires_grad
    torch.testing.assert_close(value, plain(*given).detach())


def test_gradients_add_up_over_several_backward_passes():
    given = inputs(20)
    for _ in range(2):
        head_cross_entropy(*given).backward()
    once = gradients(plain, given)[1]
    for leaf, theirs in zip(given[:3], once, strict=True):
        torch.testing.assert_close(leaf.grad, 2 * theirs)


def test_logits_are_never_all_in_memory(monkeypatch):
    held = []
    mm = torch.mm

    def watched(*arguments, **options):
        result = mm(*arguments, **options)
        held.append(result.numel())
        return result

    monkeypatch.setattr(torch, "mm", watched)
    head_cross_entropy(*inputs(100)).backward()
    assert len(held) == 7
    assert max(held) == LANES * V


def of_targets(objective, *, dtype=torch.float64):
    """Return head_loss on targets with padding, and all that it was given."""
    states, weight, bias, _ = inputs(40, dtype)
    head = torch.nn.Linear(H, V, dtype=dtype)
    head.weight.data, head.bias.data = weight.detach(), bias.detach()
    ids = torch.randint(1, 7, (5, 8), generator=torch.Generator().manual_seed(0))  # few words, often again
    mask = torch.arange(8) < torch.tensor([8, 3, 6, 1, 7])[:, None]
    states = states.detach().view(5, 8, H).requires_grad_()
    return loss_module.head_loss(states, head, ids, mask, objective=objective), states, head, ids, mask


def in_plain_words(states, head, ids, mask, *, smoothing, unlikelihood):
    total = 0.0
    for row, target, real in zip(states, ids.tolist(), mask, strict=True):
        for position in range(int(real.sum())):
            scores = head(row[position]).log_softmax(-1)
            total -= (1 - smoothing) * scores[target[position]] + smoothing * scores.mean()
            for token in set(target[:position]) - {target[position]}:
                total -= unlikelihood * (1 - scores[token].exp()).log()
    return total / mask.sum()


@pytest.mark.parametrize(("smoothing", "unlikelihood"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.7), (0.1, 1.5)])
def test_loss_and_gradients_equal_those_of_a_plain_implementation(smoothing, unlikelihood):
    objective = TextObjective(label_smoothing=smoothing, unlikelihood=unlikelihood)
    loss, *given = of_targets(objective)
    expected = in_plain_words(*given, smoothing=smoothing, unlikelihood=unlikelihood)
    torch.testing.assert_close(loss, expected)
    leaves = (given[0], given[1].weight, given[1].bias)
    for ours, theirs in zip(torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_label_smoothing_equals_torch():
    loss, states, head, ids, mask = of_targets(TextObjective(label_smoothing=0.3))
    torch.testing.assert_close(loss, functional.cross_entropy(head(states[mask]), ids[mask], label_smoothing=0.3))


def test_unlikelihood_of_a_certain_token_is_bounded():
    head = torch.nn.Linear(H, V)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(200.0 * functional.one_hot(torch.tensor(3), V))
    ids, mask = torch.tensor([[3, 5]]), torch.ones(1, 2, dtype=torch.bool)
    states = torch.zeros(1, 2, H)
    plain, unlike = (
        loss_module.head_loss(states, head, ids, mask, objective=TextObjective(unlikelihood=weight))
        for weight in (0.0, 1.0)
    )
    assert unlike.item() == pytest.approx(plain.item() - math.log(1e-5) / 2, rel=1e-4)


def test_answer_log_probabilities_equal_log_softmax():
    states, weight, bias, answers = inputs(61)
    head = torch.nn.Linear(H, V, dtype=torch.float64)
    head.weight.data, head.bias.data = weight.detach(), bias.detach()
    found = loss_module.answer_log_probabilities(states, head, answers)
    expected = head(states).log_softmax(-1).gather(1, answers[:, None])[:, 0]
    torch.testing.assert_close(found, expected)
    random = torch.randn(61, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = torch.autograd.grad((found * random).sum(), (states, head.weight))
    theirs = torch.autograd.grad((expected * random).sum(), (states, head.weight))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


ALIVE: "weakref.WeakSet[Activation]" = weakref.WeakSet()


class Activation:
    """What a graph holds for its backward pass."""


class Remembered(torch.autograd.Function):
    """The identity, whose place in a graph is in `ALIVE` as long as the graph is."""

    @staticmethod
    def forward(ctx, states):
        ctx.activation = Activation()
        ALIVE.add(ctx.activation)
        return states.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Network(torch.nn.Module):
    """A layer that trains, one that does not, and one that is not used."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trained, self.frozen, self.unused = (torch.nn.Linear(H, H, dtype=torch.float64) for _ in range(3))
        self.frozen.requires_grad_(False)
        self.held = 0

    def loss_of(self, part, states):
        self.held = max(self.held, len(ALIVE))
        return self.frozen(Remembered.apply(self.trained(states[part]).tanh())).pow(2).sum() * len(part)


PARTS = ([0, 3], [1], [2, 4, 5])


@pytest.mark.parametrize("from_inputs", [True, False])
def test_a_sum_over_parts_has_its_gradient_and_holds_the_activations_of_one_part(from_inputs):
    network, ours = Network(), torch.randn(6, H, dtype=torch.float64, requires_grad=from_inputs)
    theirs = ours.detach().clone().requires_grad_(from_inputs)
    expected = sum(network.loss_of(part, theirs) for part in PARTS)
    (3 * expected).backward()
    total = expected.item()
    assert network.held == 2  # as is usual
    wanted = {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
    network.zero_grad()
    del expected
    network.held = 0
    found = sum_over_parts(network.loss_of, PARTS, 1.0 * ours if from_inputs else ours, list(network.parameters()))
    (3 * found).backward()
    assert network.held == 0
    assert found.item() == pytest.approx(total)
    for name, weight in network.named_parameters():
        if name in wanted:
            torch.testing.assert_close(weight.grad, wanted[name])
        else:
            assert weight.grad is None
    assert theirs.grad is None if not from_inputs else torch.allclose(ours.grad, theirs.grad)


def test_a_sum_over_parts_without_gradients_is_plain():
    network, states = Network(), torch.randn(6, H, dtype=torch.float64)
    with torch.no_grad():
        assert not sum_over_parts(network.loss_of, PARTS, states, list(network.parameters())).requires_grad
    network.requires_grad_(False)
    assert not sum_over_parts(network.loss_of, PARTS, states, list(network.parameters())).requires_grad


def test_a_part_without_a_gradient_counts_in_the_sum():
    weight, states = torch.nn.Parameter(torch.ones(2)), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    found = sum_over_parts(lambda part, given: (given[part] * (weight if part else 1)).sum(), [0, 1], states, [weight])
    found.backward()
    assert found == 10
    assert weight.grad.tolist() == [3, 4]
