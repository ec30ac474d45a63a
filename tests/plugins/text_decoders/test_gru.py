import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional

from vsr_cli.api import BuildContext, Context, Decoding, Narrative, Vocabulary
from vsr_plugins.text_decoders import GruOptions
from vsr_plugins.text_decoders.gru import GruDecoder

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "Mara", "opens", "the", "box", "and", "waits", "."]
PAD, BOS, EOS = 0, 2, 3


def vocabulary() -> Vocabulary:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(WORDS[:4])
    return Vocabulary(tokenizer=tokenizer, pad=PAD, bos=BOS, eos=EOS)


def decoder(width=16, **options):
    torch.manual_seed(0)
    context = BuildContext(width=width, steps=4, image_size=64, training_texts=list, vocabulary=vocabulary())
    return GruDecoder(GruOptions(**options), context)


def narrative(batch=3, width=16, seed=0) -> Narrative:
    random = torch.Generator().manual_seed(seed)
    frames = torch.randn(batch, 4, width, generator=random)
    ids = torch.zeros(batch, 4, 5, dtype=torch.long)
    mask = torch.ones(batch, 4, dtype=torch.bool)
    context = Context(
        visual=frames,
        text=frames,
        text_ids=ids,
        text_mask=ids == 0,
        mask=mask,
        last_image=torch.zeros(batch, 3, 8, 8),
        story=torch.arange(batch),
        text_row=ids[..., 0],
        texts=[["A dog runs."] * 4] * batch,
        images=lambda: torch.zeros(batch, 4, 3, 8, 8),
    )
    return Narrative(steps=frames, summary=frames[:, -1], visual=frames, text=frames, context=context)


def targets(model, texts):
    batch = model.tokenize(texts)
    return torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)


@pytest.mark.parametrize(
    ("batch", "width", "options"),
    [
        (1, 8, {}),
        (3, 16, {"hidden": 12, "embedding": 6, "layers": 2, "dropout": 0.2}),
        (2, 5, {"length": 7}),
    ],
)
def test_shapes(batch, width, options):
    model = decoder(width, **options)
    told = narrative(batch, width)
    ids, mask = targets(model, ["Mara opens the box ."] * batch)
    assert model.logits(told, ids).shape == (batch, model.length, len(WORDS))
    assert model.loss(told, ids, mask).shape == ()
    assert model.generate(told, Decoding()).shape == (batch, model.length)


def test_targets_end_in_eos_without_bos():
    ids, mask = targets(decoder(length=6), ["Mara waits .", "Mara opens the box and waits ."])
    assert ids.tolist() == [[4, 9, 10, EOS, PAD, PAD], [4, 5, 6, 7, 8, 9]]
    assert mask.sum(1).tolist() == [4, 6]


@settings(deadline=None, max_examples=20)
@given(place=st.integers(0, 8), token=st.integers(1, len(WORDS) - 1), layers=st.integers(1, 2))
def test_a_place_is_scored_without_its_own_or_any_later_target(place, token, layers):
    model = decoder(length=9, layers=layers).eval()
    told = narrative()
    ids = torch.randint(4, len(WORDS), (3, 9), generator=torch.Generator().manual_seed(1))
    changed = ids.clone()
    changed[:, place:] = token
    before, after = model.logits(told, ids), model.logits(told, changed)
    torch.testing.assert_close(after[:, : place + 1], before[:, : place + 1])
    rows = ids[:, place] != token
    if place < 8 and rows.any():
        assert (after - before)[rows, place + 1].abs().amax(-1).min() > 1e-5


def test_the_first_place_reads_bos_and_the_summary():
    model = decoder().eval()
    told = narrative()
    state = torch.tanh(model.start(told.summary))[None]
    first = model.embedding(torch.full((3, 1), BOS))
    expected = model.head(model.recurrent(first, state)[0])
    ids, _ = targets(model, ["Mara waits ."] * 3)
    torch.testing.assert_close(model.logits(told, ids)[:, :1], expected)
    assert not torch.allclose(model.logits(narrative(seed=5), ids)[:, :1], expected)


def test_loss_is_the_mean_over_real_tokens():
    model = decoder().eval()
    told = narrative(2)
    ids, mask = targets(model, ["Mara waits .", "Mara opens the box ."])
    scores = model.logits(told, ids).log_softmax(-1)
    expected = -(scores.gather(-1, ids[..., None])[..., 0] * mask).sum() / mask.sum()
    torch.testing.assert_close(model.loss(told, ids, mask), expected)


def test_padding_changes_nothing():
    model = decoder().eval()
    told = narrative(2)
    ids, mask = targets(model, ["Mara waits .", "the box"])
    short = int(mask.sum(1).max())
    noise = ids.masked_fill(~mask, 7)
    expected = model.loss(told, ids, mask)
    torch.testing.assert_close(model.loss(told, noise, mask), expected)
    torch.testing.assert_close(model.loss(told, ids[:, :short], mask[:, :short]), expected)


def test_gradients_reach_every_parameter():
    model = decoder(layers=2, dropout=0.1)
    ids, mask = targets(model, ["Mara opens the box .", "Mara waits .", "the box"])
    model.loss(narrative(), ids, mask).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_generation_follows_the_scores_of_its_own_words():
    model = decoder(length=12).eval()
    told = narrative(5)
    written = model.generate(told, Decoding())
    scores = model.logits(told, written)
    scores[..., [PAD, BOS]] = -math.inf
    likeliest = scores.argmax(-1)
    for row, best in zip(written.tolist(), likeliest.tolist(), strict=True):
        end = row.index(EOS) + 1 if EOS in row else len(row)
        assert row[:end] == best[:end]
        assert all(token == PAD for token in row[end:])


def test_it_learns_two_texts_and_stops_where_they_end():
    model = decoder(width=32, length=10)
    told = narrative(2, 32)
    texts = ["Mara opens the box .", "Mara waits ."]
    ids, mask = targets(model, texts)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.loss(told, ids, mask)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    written = model.eval().generate(told, Decoding())
    assert torch.equal(written, ids)
    assert model.detokenize(written) == texts


def test_a_row_does_not_depend_on_its_neighbours():
    model = decoder().eval()
    both = model.generate(narrative(2), Decoding())
    told = narrative(2)
    one = Narrative(
        steps=told.steps[:1],
        summary=told.summary[:1],
        visual=told.visual[:1],
        text=told.text[:1],
        context=told.context.take([0]),
    )
    assert torch.equal(model.generate(one, Decoding()), both[:1])


def test_generation_stops_once_every_row_has_ended():
    model = decoder(length=20).eval()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(functional.one_hot(torch.tensor(EOS), len(WORDS)))
    steps = 0

    def count(*_):
        nonlocal steps
        steps += 1

    model.head.register_forward_hook(count)
    written = model.generate(narrative(), Decoding())
    assert steps == 1
    assert written[:, 0].eq(EOS).all()
    assert written[:, 1:].eq(PAD).all()
    assert model.detokenize(written) == ["", "", ""]


def test_padding_and_bos_are_never_written():
    model = decoder(length=5).eval()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([9.0, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0]))
    assert np.array_equal(model.generate(narrative(), Decoding()), np.full((3, 5), WORDS.index("Mara")))
