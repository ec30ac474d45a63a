"""All text decoders that score a next token."""

import itertools
from functools import partial

import pytest
import torch

from vsr_cli.api import Decoding, VsrError

from .decoders import (
    BOS,
    DECODERS,
    EOS,
    PAD,
    WORDS,
    make_decoder,
    random_narrative,
    rows_of,
    targets,
)

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves


@pytest.fixture
def make(language_models):
    """Build a decoder: make("pointer-generator", length=5)."""
    return partial(make_decoder, model=language_models)


def badness(model, narrative, text):
    """The mean loss of a token of a text of one story."""
    ids = torch.tensor([text])
    with torch.no_grad():
        return model.loss(narrative, ids, torch.ones_like(ids, dtype=torch.bool)).item()


def cut(row):
    return row[: row.index(EOS) + 1] if EOS in row else row


every = pytest.mark.parametrize("which", DECODERS)


@every
def test_greedy_takes_the_token_of_lowest_loss_at_each_step(make, which):
    model, narrative = make(which).eval(), random_narrative()
    written = model.generate(narrative, Decoding())
    assert written.shape == (3, 9)
    for row, text in enumerate(map(cut, written.tolist())):
        story = rows_of(narrative, [row])
        for position, token in enumerate(text):
            options = {
                v: badness(model, story, [*text[:position], v]) for v in range(len(WORDS)) if v not in (PAD, BOS)
            }
            assert options[token] == pytest.approx(min(options.values()), abs=1e-6)


@every
def test_wide_beam_finds_the_text_of_lowest_loss(make, which):
    model, narrative = make(which, length=2).eval(), random_narrative(2)
    words = [token for token in range(len(WORDS)) if token not in (PAD, BOS, EOS)]
    texts = [[EOS], *([word, EOS] for word in words), *map(list, itertools.product(words, repeat=2))]
    written = model.generate(narrative, Decoding(method="beam", beams=30)).tolist()
    for row, text in enumerate(map(cut, written)):
        story = rows_of(narrative, [row])
        best = min(badness(model, story, other) for other in texts)
        assert badness(model, story, text) == pytest.approx(best, abs=1e-6)


@every
@pytest.mark.parametrize("decoding", [{"method": "greedy"}, {"method": "beam"}, {"method": "sample"}], ids=str)
def test_text_does_not_depend_on_the_batch_and_has_no_repeats(make, which, decoding):
    model, narrative = make(which).eval(), random_narrative()
    how = Decoding(**decoding, no_repeat_ngram=2)
    together = model.generate(narrative, how)
    assert torch.equal(model.generate(rows_of(narrative, [2, 0]), how), together[[2, 0]])
    for text in map(cut, together.tolist()):
        assert not {PAD, BOS} & set(text)
        runs = list(itertools.pairwise(text))
        assert len(set(runs)) == len(runs)


@every
def test_padding_changes_nothing_and_later_targets_do_not_matter(make, which):
    model, narrative = make(which).eval(), random_narrative(2)
    ids, mask = targets(model, ["Mara waits .", "the box"])
    expected = model.loss(narrative, ids, mask)
    torch.testing.assert_close(model.loss(narrative, ids.masked_fill(~mask, 7), mask), expected)
    torch.testing.assert_close(model.loss(narrative, ids[:, :5], mask[:, :5]), expected)
    first = torch.zeros_like(mask)
    first[:, :2] = True
    changed = ids.clone()
    changed[:, 2:] = 5
    torch.testing.assert_close(model.loss(narrative, changed, first), model.loss(narrative, ids, first))


@every
@pytest.mark.parametrize("objective", [{}, {"label_smoothing": 0.1, "unlikelihood": 0.5}], ids=["plain", "objective"])
def test_gradients_reach_exactly_the_trained_parameters(make, which, objective):
    model = make(which, objective=objective)
    if which in ("lm lora", "lm divided"):  # the second factor of an update starts at zero, and hides the first
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
    ids, mask = targets(model, ["Mara opens the box .", "Mara waits . Mara waits .", "the box"])
    model.loss(random_narrative(), ids, mask).backward()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert [name for name, weight in trained.items() if weight.grad is None or not weight.grad.abs().sum()] == []
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert bool(frozen) == (which in ("lm frozen", "lm lora", "lm divided"))


@every
def test_objective_is_active_in_training_only(make, which):
    narrative = random_narrative(2)
    plain, other = make(which), make(which, objective={"label_smoothing": 0.2, "unlikelihood": 1.0})
    ids, mask = targets(plain, ["Mara waits . Mara waits .", "the box"])
    torch.testing.assert_close(other.eval().loss(narrative, ids, mask), plain.eval().loss(narrative, ids, mask))
    assert other.train().loss(narrative, ids, mask) > plain.train().loss(narrative, ids, mask) + 1e-3


@every
def test_decoder_is_rebuilt_from_assets_and_weights(make, which, tmp_path, monkeypatch):
    model, narrative = make(which), random_narrative()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.01 * torch.randn_like(weight)
    if hasattr(model, "save_assets"):
        model.save_assets(tmp_path)
    again = make(which, assets=tmp_path)
    again.load_state_dict(model.state_dict())
    for how in (Decoding(), Decoding(method="sample")):
        assert torch.equal(again.eval().generate(narrative, how), model.eval().generate(narrative, how))
    text = "Mara opens the box ."
    assert again.detokenize(targets(again, [text])[0]) == [text]


@pytest.mark.parametrize("which", [name for name in DECODERS if name not in ("lm frozen", "lm lora", "lm divided")])
def test_decoder_learns_two_texts_and_stops_at_eos(make, which):
    model, narrative = make(which), random_narrative(2)
    texts = ["Mara opens the box .", "Mara waits ."]
    ids, mask = targets(model, texts)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        loss = model.loss(narrative, ids, mask)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    written = model.eval().generate(narrative, Decoding())
    assert torch.equal(written, ids)
    assert model.detokenize(written) == texts


def test_unavailable_model_is_one_line_with_remedy(tmp_path):
    with pytest.raises(VsrError) as error:
        make_decoder("lm", model=tmp_path / "absent")
    assert "text decoder lm: cannot load" in str(error.value)
    assert "--set text_decoder.model=FOLDER" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_heads_that_do_not_divide_the_width_are_one_line(make):
    with pytest.raises(VsrError, match=r"text_decoder\.heads=3 does not divide the width of the hidden states \(16\)"):
        make("transformer", heads=3)
