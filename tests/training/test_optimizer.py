import copy

import pytest
import torch
from torch import nn

from vsr_cli.config.schema import TrainingOptions
from vsr_cli.training import optimizer as optimizer_module
from vsr_cli.training.optimizer import clip_gradient, gradient_norm, make_optimizer

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

WORDS, WIDTH = 60, 4


class Reader(nn.Module):
    """A table and a layer above it."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(WORDS, WIDTH)
        self.layer = nn.Linear(WIDTH, 1)

    def forward(self, ids):
        return self.layer(self.table(ids).tanh()).square().mean()


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(optimizer_module, "LARGE_TABLE", WORDS * WIDTH)
    torch.manual_seed(0)
    return Reader()


def options(**values):
    return TrainingOptions(learning_rate=0.01, **values)


def batches(count, words, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [torch.randint(0, words, (5,), generator=random) for _ in range(count)]


def train(model, optimizer, ids, *, largest=0.0):
    for batch in ids:
        optimizer.zero_grad()
        model(batch).backward()
        if largest:
            clip_gradient(model.parameters(), gradient_norm(model.parameters()), largest=largest)
        optimizer.step()


def plain(model, **values):
    return torch.optim.AdamW(model.parameters(), lr=0.01, **values)


@pytest.mark.parametrize("words", [1, 12, WORDS], ids=["one row", "few rows", "from few to all rows"])
@pytest.mark.parametrize("largest", [0.0, 0.05])
def test_weights_are_those_of_adamw(model, words, largest):
    other = copy.deepcopy(model)
    ids = batches(30, words)
    train(model, make_optimizer(model, options(weight_decay=0.0), alone=True), ids, largest=largest)
    assert model.table.sparse
    theirs = plain(other, weight_decay=0.0)
    for batch in ids:
        theirs.zero_grad()
        other(batch).backward()
        if largest:
            nn.utils.clip_grad_norm_(other.parameters(), largest)
        theirs.step()
    for ours, expected in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_weight_decay_spares_only_the_rows_that_no_batch_has_held(model):
    other, before = copy.deepcopy(model), model.table.weight.detach().clone()
    ids = batches(20, 10)
    train(model, make_optimizer(model, options(weight_decay=0.1), alone=True), ids)
    train(other, plain(other, weight_decay=0.1), ids)
    seen = torch.cat(ids).unique()
    unseen = torch.ones(WORDS, dtype=torch.bool).index_fill(0, seen, False)
    assert torch.equal(model.table.weight[unseen], before[unseen])
    assert not torch.equal(other.table.weight[unseen], before[unseen])
    # A row seen late has been spared the decay until then.
    torch.testing.assert_close(model.table.weight[ids[0]], other.table.weight[ids[0]], rtol=1e-4, atol=1e-5)


def test_a_row_seen_once_goes_on_as_its_averages_say(model):
    optimizer = make_optimizer(model, options(), alone=True)
    train(model, optimizer, [torch.tensor([7])])
    after_one = model.table.weight[7].clone()
    train(model, optimizer, [torch.tensor([8])])
    assert not torch.equal(model.table.weight[7], after_one)


@pytest.mark.parametrize("way", ["from plain to rowwise", "from rowwise to plain", "from rowwise to rowwise"])
def test_a_state_is_adamws_own(model, way):
    def make(kind, of):
        return (
            make_optimizer(of, options(weight_decay=0.0), alone=True)
            if kind == "rowwise"
            else plain(of, weight_decay=0)
        )

    _, first, _, second = way.split()
    ids, more = batches(8, 12), batches(8, 14, seed=1)
    expected = copy.deepcopy(model)
    train(expected, plain(expected, weight_decay=0.0), [*ids, *more])
    model.table.sparse = False
    before = make(first, model)
    train(model, before, ids)
    state = copy.deepcopy(before.state_dict())
    model.table.sparse = False
    after = make(second, model)
    after.load_state_dict(state)
    train(model, after, more)
    assert model.table.sparse == (second == "rowwise")
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_a_row_that_a_batch_holds_twice_counts_once_in_the_norm(model):
    make_optimizer(model, options(), alone=True)
    other = copy.deepcopy(model)
    other.table.sparse = False
    ids = torch.tensor([3, 3, 3, 9])
    for one in (model, other):
        one(ids).backward()
    expected = nn.utils.clip_grad_norm_(other.parameters(), 0.01)
    assert expected > 0.01
    norm = gradient_norm(model.parameters())
    torch.testing.assert_close(norm, expected)
    clip_gradient(model.parameters(), norm, largest=0.01)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.to_dense(), theirs.grad)


def test_a_gradient_below_the_limit_is_left_as_it_is(model):
    model(torch.tensor([1, 2])).backward()
    before = [weight.grad.clone() for weight in model.parameters()]
    norm = gradient_norm(model.parameters())
    clip_gradient(model.parameters(), norm, largest=1e3)
    assert 0 < norm < 1e3
    assert all(torch.equal(weight.grad, old) for weight, old in zip(model.parameters(), before, strict=True))


def test_only_large_tables_of_a_process_that_trains_alone_give_sparse_gradients(model, monkeypatch):
    make_optimizer(model, options(), alone=False)
    assert not model.table.sparse
    monkeypatch.setattr(optimizer_module, "LARGE_TABLE", WORDS * WIDTH + 1)
    make_optimizer(model, options(), alone=True)
    assert not model.table.sparse


def test_frozen_weights_are_not_its_business(model):
    model.table.weight.requires_grad_(False)
    optimizer = make_optimizer(model, options(), alone=True)
    assert [weight for group in optimizer.param_groups for weight in group["params"]] == list(model.layer.parameters())
    assert not model.table.sparse


def test_a_table_that_is_also_a_layers_weight_is_updated_as_a_whole(model):
    head = nn.Linear(WIDTH, WORDS, bias=False)
    head.weight = model.table.weight
    other = copy.deepcopy(model)
    optimizer, theirs = make_optimizer(model, options(weight_decay=0.0), alone=True), plain(other, weight_decay=0.0)
    for one, way in ((model, optimizer), (other, theirs)):
        (one(torch.tensor([1, 2])) + (one.table.weight @ torch.ones(WIDTH)).square().mean()).backward()
        way.step()
    torch.testing.assert_close(model.table.weight, other.table.weight)
