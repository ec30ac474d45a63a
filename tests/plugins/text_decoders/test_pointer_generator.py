"""What makes the pointer-generator one."""

import math

import pytest
import torch

from vsr_cli.api import Decoding
from vsr_plugins.text_decoders.pointer_generator import _coverage

from .decoders import BOS, EOS, PAD, WORDS, make_decoder, narrative


def scored(model, told, text):
    """Return the probability of each token after a text."""
    state = (model._first_state(told),)
    fixed = (model.words(told), model._readable(told), told.context.text_ids.flatten(1))
    for token in [BOS, *text]:
        scores, state = model._step(torch.full((len(told.summary),), token), state, fixed)
    return scores.exp()


def test_probabilities_sum_to_one_and_what_is_copied_stands_in_the_context():
    model, told = make_decoder("pointer-generator").eval(), narrative()
    torch.testing.assert_close(scored(model, told, [4, 5]).sum(-1), torch.ones(3))
    with torch.no_grad():
        model.gate.weight.zero_()
        model.gate.bias.fill_(-30.0)  # copies always
    probabilities = scored(model, told, [4, 5])
    for row, ids in zip(probabilities.tolist(), told.context.text_ids.flatten(1).tolist(), strict=True):
        held = set(ids) - {PAD, BOS, EOS}
        assert {token for token, chance in enumerate(row) if chance > 1e-9} <= held
        assert sum(row) == pytest.approx(1)


def test_a_frame_that_only_fills_the_context_is_not_copied_from():
    model, told = make_decoder("pointer-generator").eval(), narrative()
    with torch.no_grad():
        model.gate.weight.zero_()
        model.gate.bias.fill_(-30.0)
    told.context.text_ids[:, :, 1:3] = WORDS.index("box")
    told.context.text_ids[1, 3, 1:3] = WORDS.index("Mara")  # of a frame that is not real
    assert scored(model, told, [4])[1, WORDS.index("Mara")] < 1e-9


def test_the_plain_loss_is_that_of_the_whole_mixture():
    model, told = make_decoder("pointer-generator").eval(), narrative()
    ids = torch.tensor([[4, 9, 10, EOS]] * 3)
    mask = torch.ones_like(ids, dtype=torch.bool)
    chances = [scored(model, told, ids[0, :place].tolist())[:, ids[0, place]] for place in range(4)]
    torch.testing.assert_close(model.loss(told, ids, mask), -torch.stack(chances).log().mean())


def test_every_place_is_scored_as_when_it_is_written():
    model, told = make_decoder("pointer-generator").eval(), narrative()
    ids = torch.tensor([[4, 9, 10, EOS]] * 3)
    scores = model.logits(told, ids)
    for place in range(4):
        torch.testing.assert_close(scores[:, place].exp(), scored(model, told, ids[0, :place].tolist()))


def test_a_context_without_a_word_is_no_trouble():
    model, told = make_decoder("pointer-generator"), narrative()
    told.context.text_ids.fill_(PAD)
    told.context.text_mask.fill_(False)
    ids = torch.tensor([[4, 9, EOS]] * 3)
    loss = model.loss(told, ids, torch.ones_like(ids, dtype=torch.bool))
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
    assert model.eval().generate(told, Decoding()).shape == (3, 9)


def last_loss(which):
    """Train a decoder to say a word of the last text, of which nothing but that text tells."""
    model, random = make_decoder(which, length=2), torch.Generator().manual_seed(3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        names = torch.randint(6, 11, (32,), generator=random)
        told = narrative(len(names))
        for state in (told.steps, told.summary, told.visual, told.text):
            state.zero_()
        told.context.text_ids[:, :, 1:3] = torch.randint(4, 6, (32, 4, 2), generator=random)
        told.context.text_ids[:, 2, 2] = names
        ids = torch.stack([names, torch.full_like(names, EOS)], dim=1)
        optimizer.zero_grad()
        loss = model.loss(told, ids, torch.ones_like(ids, dtype=torch.bool))
        loss.backward()
        optimizer.step()
    return loss.item()


def test_it_learns_to_say_a_word_that_only_the_texts_tell():
    assert last_loss("pointer-generator") < 0.1
    assert last_loss("attention-gru") < 0.3
    assert last_loss("transformer") < 0.3
    assert last_loss("gru") > 0.6  # half of log 5, and some luck: it does not see the word


def test_looking_again_is_what_falls_where_earlier_looks_fell():
    looks = torch.tensor([[[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]]])
    torch.testing.assert_close(_coverage(looks), torch.tensor([[0.0, 0.25, 1.0]]))


def test_coverage_acts_in_training_alone():
    told, ids = narrative(), torch.tensor([[4, 9, 10, EOS]] * 3)
    mask = torch.ones_like(ids, dtype=torch.bool)
    plain, other = make_decoder("pointer-generator"), make_decoder("pointer-generator", coverage=1.0)
    assert other.train().loss(told, ids, mask) > plain.train().loss(told, ids, mask) + 0.01
    torch.testing.assert_close(other.eval().loss(told, ids, mask), plain.eval().loss(told, ids, mask))
