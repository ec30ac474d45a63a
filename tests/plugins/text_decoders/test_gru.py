"""The GRU decoder, beside what all text decoders are tested for."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr_cli.api import Decoding

from .decoders import BOS, EOS, PAD, WORDS, make_decoder, random_narrative, targets

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves


def test_targets_end_in_eos_without_bos():
    ids, mask = targets(make_decoder("gru", length=6), ["Mara waits .", "Mara opens the box and waits ."])
    assert ids.tolist() == [[4, 9, 10, EOS, PAD, PAD], [4, 5, 6, 7, 8, 9]]
    assert mask.sum(1).tolist() == [4, 6]


@settings(deadline=None, max_examples=20)
@given(position=st.integers(0, 8), token=st.integers(1, len(WORDS) - 1), layers=st.integers(1, 2))
def test_logits_do_not_depend_on_own_or_later_targets(position, token, layers):
    model = make_decoder("gru", length=9, layers=layers).eval()
    narrative = random_narrative()
    ids = torch.randint(4, len(WORDS), (3, 9), generator=torch.Generator().manual_seed(1))
    changed = ids.clone()
    changed[:, position:] = token
    before, after = model.logits(narrative, ids), model.logits(narrative, changed)
    torch.testing.assert_close(after[:, : position + 1], before[:, : position + 1])
    rows = ids[:, position] != token
    if position < 8 and rows.any():
        assert (after - before)[rows, position + 1].abs().amax(-1).min() > 1e-5


def test_first_step_reads_bos_and_the_summary():
    model = make_decoder("gru").eval()
    narrative = random_narrative()
    state = torch.tanh(model.start(narrative.summary))[None]
    first = model.embedding(torch.full((3, 1), BOS))
    expected = model.head(model.recurrent(first, state)[0])
    ids, _ = targets(model, ["Mara waits ."] * 3)
    torch.testing.assert_close(model.logits(narrative, ids)[:, :1], expected)
    assert not torch.allclose(model.logits(random_narrative(seed=5), ids)[:, :1], expected)


def test_loss_is_the_mean_over_real_tokens():
    model = make_decoder("gru").eval()
    narrative = random_narrative(2)
    ids, mask = targets(model, ["Mara waits .", "Mara opens the box ."])
    scores = model.logits(narrative, ids).log_softmax(-1)
    expected = -(scores.gather(-1, ids[..., None])[..., 0] * mask).sum() / mask.sum()
    torch.testing.assert_close(model.loss(narrative, ids, mask), expected)


def test_padding_and_bos_are_never_generated():
    model = make_decoder("gru", length=5).eval()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([9.0, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0]))
    assert np.array_equal(model.generate(random_narrative(), Decoding()), np.full((3, 5), WORDS.index("Mara")))
