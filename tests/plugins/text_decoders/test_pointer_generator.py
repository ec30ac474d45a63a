"""The pointer-generator: copying and coverage."""

import math

import pytest
import torch

from vsr_cli.api import Decoding
from vsr_plugins.text_decoders.pointer_generator import _coverage

from .decoders import BOS, EOS, PAD, WORDS, make_decoder, random_narrative


def scored(model, narrative, text):
    """Return the probability of each token after a text."""
    state = (model._first_state(narrative),)
    fixed = (model.words(narrative), model._readable(narrative), narrative.context.text_ids.flatten(1))
    for token in [BOS, *text]:
        scores, state = model._step(torch.full((len(narrative.summary),), token), state, fixed)
    return scores.exp()


def test_probabilities_sum_to_1_and_copies_come_from_the_context():
    model, narrative = make_decoder("pointer-generator").eval(), random_narrative()
    torch.testing.assert_close(scored(model, narrative, [4, 5]).sum(-1), torch.ones(3))
    with torch.no_grad():
        model.gate.weight.zero_()
        model.gate.bias.fill_(-30.0)  # copies always
    probabilities = scored(model, narrative, [4, 5])
    for row, ids in zip(probabilities.tolist(), narrative.context.text_ids.flatten(1).tolist(), strict=True):
        held = set(ids) - {PAD, BOS, EOS}
        assert {token for token, chance in enumerate(row) if chance > 1e-9} <= held
        assert sum(row) == pytest.approx(1)


def test_padding_frames_are_not_copied():
    model, narrative = make_decoder("pointer-generator").eval(), random_narrative()
    with torch.no_grad():
        model.gate.weight.zero_()
        model.gate.bias.fill_(-30.0)
    narrative.context.text_ids[:, :, 1:3] = WORDS.index("box")
    narrative.context.text_ids[1, 3, 1:3] = WORDS.index("Mara")  # of a frame that is not real
    assert scored(model, narrative, [4])[1, WORDS.index("Mara")] < 1e-9


def test_loss_equals_that_of_the_mixture():
    model, narrative = make_decoder("pointer-generator").eval(), random_narrative()
    ids = torch.tensor([[4, 9, 10, EOS]] * 3)
    mask = torch.ones_like(ids, dtype=torch.bool)
    chances = [scored(model, narrative, ids[0, :position].tolist())[:, ids[0, position]] for position in range(4)]
    torch.testing.assert_close(model.loss(narrative, ids, mask), -torch.stack(chances).log().mean())


def test_teacher_forced_scores_equal_generation_scores():
    model, narrative = make_decoder("pointer-generator").eval(), random_narrative()
    ids = torch.tensor([[4, 9, 10, EOS]] * 3)
    scores = model.logits(narrative, ids)
    for position in range(4):
        torch.testing.assert_close(scores[:, position].exp(), scored(model, narrative, ids[0, :position].tolist()))


def test_context_without_words_is_accepted():
    model, narrative = make_decoder("pointer-generator"), random_narrative()
    narrative.context.text_ids.fill_(PAD)
    narrative.context.text_mask.fill_(False)
    ids = torch.tensor([[4, 9, EOS]] * 3)
    loss = model.loss(narrative, ids, torch.ones_like(ids, dtype=torch.bool))
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
    assert model.eval().generate(narrative, Decoding()).shape == (3, 9)


def last_loss(which):
    """Train a decoder to say a word of the last text, of which nothing but that text tells."""
    model, random = make_decoder(which, length=2), torch.Generator().manual_seed(3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        names = torch.randint(6, 11, (32,), generator=random)
        narrative = random_narrative(len(names))
        for state in (narrative.steps, narrative.summary, narrative.visual, narrative.text):
            state.zero_()
        narrative.context.text_ids[:, :, 1:3] = torch.randint(4, 6, (32, 4, 2), generator=random)
        narrative.context.text_ids[:, 2, 2] = names
        ids = torch.stack([names, torch.full_like(names, EOS)], dim=1)
        optimizer.zero_grad()
        loss = model.loss(narrative, ids, torch.ones_like(ids, dtype=torch.bool))
        loss.backward()
        optimizer.step()
    return loss.item()


def test_decoder_learns_to_copy_a_context_word():
    assert last_loss("pointer-generator") < 0.1
    assert last_loss("attention-gru") < 0.3
    assert last_loss("transformer") < 0.3
    assert last_loss("gru") > 0.6  # half of log 5, and some luck: it does not see the word


def test_coverage_is_attention_on_attended_tokens():
    looks = torch.tensor([[[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]]])
    torch.testing.assert_close(_coverage(looks), torch.tensor([[0.0, 0.25, 1.0]]))


def test_coverage_is_active_in_training_only():
    narrative, ids = random_narrative(), torch.tensor([[4, 9, 10, EOS]] * 3)
    mask = torch.ones_like(ids, dtype=torch.bool)
    plain, other = make_decoder("pointer-generator"), make_decoder("pointer-generator", coverage=1.0)
    assert other.train().loss(narrative, ids, mask) > plain.train().loss(narrative, ids, mask) + 0.01
    torch.testing.assert_close(other.eval().loss(narrative, ids, mask), plain.eval().loss(narrative, ids, mask))
