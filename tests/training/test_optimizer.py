import pytest
import torch
from torch import nn

from vsr_cli.config.schema import TrainingOptions
from vsr_cli.training.optimizer import make_optimizer, rate_factor, set_rate


def test_only_trainable_parameters_are_optimized_and_all_their_rows_decay():
    model = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 1))
    model[1].bias.requires_grad_(False)
    optimizer = make_optimizer(model, TrainingOptions(learning_rate=0.1, weight_decay=0.5))
    before = model[0].weight.detach().clone()
    model(torch.tensor([2])).sum().backward()
    optimizer.step()
    torch.testing.assert_close(model[0].weight[5], before[5] * (1 - 0.1 * 0.5))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2


@pytest.mark.parametrize(("schedule", "last"), [("constant", 1.0), ("cosine", 0.0)])
def test_the_rate_rises_over_the_warm_up_and_then_follows_its_schedule(schedule, last):
    options = TrainingOptions(warmup_ratio=0.1, schedule=schedule)
    factors = [rate_factor(options, step=step, steps=100) for step in range(101)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == pytest.approx(1.0)
    assert factors[100] == pytest.approx(last)
    assert factors[10:] == sorted(factors[10:], reverse=True)
    optimizer = make_optimizer(nn.Linear(1, 1), TrainingOptions(learning_rate=0.3))
    for factor in (0.5, 0.25):
        set_rate(optimizer, factor)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.3 * factor)
