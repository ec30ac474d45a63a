"""What holds of every text decoder that `vsr` ships and that scores its next token, whatever is inside."""

import itertools
from functools import partial

import pytest
import torch

from vsr_cli.api import Decoding, VsrError

from .decoders import BOS, DECODERS, EOS, PAD, WORDS, make_decoder, narrative, rows_of, write_language_model

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for architecture in ("gpt2", "llama"):
        write_language_model(folder / architecture, architecture)
    return folder


@pytest.fixture
def make(language_model):
    """Build a decoder: make("pointer-generator", length=5)."""
    return partial(make_decoder, model=language_model)


def targets(model, texts):
    batch = model.tokenize(texts)
    return torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)


def badness(model, told, text):
    """The mean loss of a token of a text of one story."""
    ids = torch.tensor([text])
    with torch.no_grad():
        return model.loss(told, ids, torch.ones_like(ids, dtype=torch.bool)).item()


def cut(row):
    return row[: row.index(EOS) + 1] if EOS in row else row


every = pytest.mark.parametrize("which", DECODERS)


@every
def test_greedy_writing_takes_what_the_loss_likes_best_at_each_place(make, which):
    model, told = make(which).eval(), narrative()
    written = model.generate(told, Decoding())
    assert written.shape == (3, 9)
    for row, text in enumerate(map(cut, written.tolist())):
        story = rows_of(told, [row])
        for place, token in enumerate(text):
            options = {v: badness(model, story, [*text[:place], v]) for v in range(len(WORDS)) if v not in (PAD, BOS)}
            assert options[token] == pytest.approx(min(options.values()), abs=1e-6)


@every
def test_a_wide_beam_finds_the_text_that_the_loss_likes_best(make, which):
    model, told = make(which, length=2).eval(), narrative(2)
    words = [token for token in range(len(WORDS)) if token not in (PAD, BOS, EOS)]
    texts = [[EOS], *([word, EOS] for word in words), *map(list, itertools.product(words, repeat=2))]
    written = model.generate(told, Decoding(method="beam", beams=30)).tolist()
    for row, text in enumerate(map(cut, written)):
        story = rows_of(told, [row])
        best = min(badness(model, story, other) for other in texts)
        assert badness(model, story, text) == pytest.approx(best, abs=1e-6)


@every
@pytest.mark.parametrize("decoding", [{"method": "greedy"}, {"method": "beam"}, {"method": "sample"}], ids=str)
def test_a_text_does_not_depend_on_its_neighbours_and_holds_no_run_twice(make, which, decoding):
    model, told = make(which).eval(), narrative()
    how = Decoding(**decoding, no_repeat_ngram=2)
    together = model.generate(told, how)
    assert torch.equal(model.generate(rows_of(told, [2, 0]), how), together[[2, 0]])
    for text in map(cut, together.tolist()):
        assert not {PAD, BOS} & set(text)
        runs = list(itertools.pairwise(text))
        assert len(set(runs)) == len(runs)


@every
def test_padding_changes_nothing_and_later_targets_do_not_matter(make, which):
    model, told = make(which).eval(), narrative(2)
    ids, mask = targets(model, ["Mara waits .", "the box"])
    expected = model.loss(told, ids, mask)
    torch.testing.assert_close(model.loss(told, ids.masked_fill(~mask, 7), mask), expected)
    torch.testing.assert_close(model.loss(told, ids[:, :5], mask[:, :5]), expected)
    first = torch.zeros_like(mask)
    first[:, :2] = True
    changed = ids.clone()
    changed[:, 2:] = 5
    torch.testing.assert_close(model.loss(told, changed, first), model.loss(told, ids, first))


@every
@pytest.mark.parametrize("objective", [{}, {"label_smoothing": 0.1, "unlikelihood": 0.5}], ids=["plain", "objective"])
def test_gradients_reach_all_that_trains_and_nothing_else(make, which, objective):
    model = make(which, objective=objective)
    if which in ("lm lora", "lm divided"):  # the second factor of an update starts at zero, and hides the first
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
    ids, mask = targets(model, ["Mara opens the box .", "Mara waits . Mara waits .", "the box"])
    model.loss(narrative(), ids, mask).backward()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert [name for name, weight in trained.items() if weight.grad is None or not weight.grad.abs().sum()] == []
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert bool(frozen) == (which in ("lm frozen", "lm lora", "lm divided"))


@every
def test_the_objective_acts_in_training_alone(make, which):
    told = narrative(2)
    plain, other = make(which), make(which, objective={"label_smoothing": 0.2, "unlikelihood": 1.0})
    ids, mask = targets(plain, ["Mara waits . Mara waits .", "the box"])
    torch.testing.assert_close(other.eval().loss(told, ids, mask), plain.eval().loss(told, ids, mask))
    assert other.train().loss(told, ids, mask) > plain.train().loss(told, ids, mask) + 1e-3


@every
def test_it_is_built_again_from_its_assets_and_weights_alone(make, which, tmp_path, monkeypatch):
    model, told = make(which), narrative()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.01 * torch.randn_like(weight)
    if hasattr(model, "save_assets"):
        model.save_assets(tmp_path)
    again = make(which, assets=tmp_path)
    again.load_state_dict(model.state_dict())
    for how in (Decoding(), Decoding(method="sample")):
        assert torch.equal(again.eval().generate(told, how), model.eval().generate(told, how))
    text = "Mara opens the box ."
    assert again.detokenize(targets(again, [text])[0]) == [text]


@pytest.mark.parametrize("which", [name for name in DECODERS if name not in ("lm frozen", "lm lora", "lm divided")])
def test_it_learns_two_texts_and_stops_where_they_end(make, which):
    model, told = make(which), narrative(2)
    texts = ["Mara opens the box .", "Mara waits ."]
    ids, mask = targets(model, texts)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        loss = model.loss(told, ids, mask)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    written = model.eval().generate(told, Decoding())
    assert torch.equal(written, ids)
    assert model.detokenize(written) == texts


def test_a_model_that_cannot_be_had_is_one_line_with_the_remedy(tmp_path):
    with pytest.raises(VsrError) as error:
        make_decoder("lm", model=tmp_path / "absent")
    assert "text decoder lm: cannot load" in str(error.value)
    assert "--set text_decoder.model=FOLDER" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_heads_that_do_not_divide_the_width_are_told_of(make):
    with pytest.raises(VsrError, match=r"text_decoder\.heads=3 does not divide the width of the hidden states \(16\)"):
        make("transformer", heads=3)
