"""Minimum Bayes risk decoding: the utilities by hand, and which text is selected."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vsr_cli.api import Context, Decoding
from vsr_cli.api.decoding import sample_decodings
from vsr_cli.config.experiment import resolve_train
from vsr_cli.config.resolve import parse_set, preset_layer
from vsr_cli.model.building import build_model
from vsr_cli.model.mbr import meteor_utilities, select_text, select_texts
from vsr_cli.plugin.discovery import registry

B, K, SIZE, LENGTH = 3, 4, 32, 6
SMALL = ["model.width=16", "visual.size=32", f"text_decoder.length={LENGTH}", "image_decoder.channels=16"]
TEXTS = [f"{name} {verb} the {thing}." for name, verb, thing in itertools.product(["ana", "bo"], ["saw", "hid"], "xyz")]


def mbr(**options):
    return Decoding(method="mbr", **options)


def select(samples, context=(), **options):
    sampled = [each if isinstance(each, tuple) else (each, True) for each in samples]
    return select_text(sampled, list(context), mbr(**options), utilities=meteor_utilities)


@pytest.mark.parametrize(
    ("hypothesis", "reference", "expected"),
    [
        ("a b c d", "a b c d", 1 - 0.5 / 4**3),  # one chunk of four matches
        ("a b", "c d", 0.0),
        ("", "a", 0.0),
        ("a", "", 0.0),
        ("A b", "a B x y", (1 * 0.5 / (0.9 + 0.1 * 0.5)) * (1 - 0.5 * (1 / 2) ** 3)),
        ("b a", "a b", 1 - 0.5),  # two chunks of two matches
        ("a a a", "a", (1 / 3 / (0.9 / 3 + 0.1)) * 0.5),  # each word of the reference is matched once
        ("a.", "a", (0.5 / (0.9 * 0.5 + 0.1)) * 0.5),  # punctuation is a word, as for the metric
    ],
)
def test_the_meteor_of_two_texts_by_hand(hypothesis, reference, expected):
    assert meteor_utilities([hypothesis], [reference]).tolist() == [[pytest.approx(expected)]]


WORDS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=12).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS)
def test_it_is_the_meteor_of_nltk_without_stems_and_synonyms(hypothesis, reference):
    from nltk.translate.meteor_score import single_meteor_score

    class Plain:
        def stem(self, word):
            return word

        def synsets(self, word):
            return []

    theirs = single_meteor_score(reference.split(), hypothesis.split(), stemmer=Plain(), wordnet=Plain())
    assert meteor_utilities([hypothesis], [reference])[0, 0] == pytest.approx(theirs)


def test_the_text_most_similar_to_the_other_samples_is_selected():
    assert select(["the dog ran", "a cat sat", "the dog sat"]) == "the dog sat"
    assert select(["a b c", "x", "y", "x"]) == "x"  # the others, of which one is the same text
    assert select(["x", "y"]) == "x"  # equal utilities: the first
    assert select(["y", "x"]) == "y"


@settings(max_examples=100, deadline=None)
@given(st.lists(WORDS, min_size=2, max_size=6), st.lists(WORDS, max_size=3), st.randoms())
def test_the_order_of_the_samples_decides_between_equal_ones_only(samples, context, random):
    utility = {}
    for shuffled in (samples, random.sample(samples, len(samples))):
        chosen = select(shuffled, context)
        weights = [(other, 1.0) for other in shuffled] + [(other, 1.0) for other in context]
        weights.remove((chosen, 1.0))
        values = [meteor_utilities([chosen], [other])[0, 0] for other, _ in weights]
        utility[chosen] = sum(values) / len(values)
    assert max(utility.values()) - min(utility.values()) < 2e-6


def test_the_texts_of_the_context_are_references_by_their_weight():
    samples, context = ["the dog ran home", "the dog ran away", "a bird sang here"], ["a bird sang", "a bird sat"]
    assert select(samples, context, context_weight=0) == "the dog ran home"
    assert select(samples, context, context_weight=1) == "a bird sang here"


def test_a_text_of_the_context_is_selected_only_if_it_is_allowed_or_nothing_else_was_sampled():
    samples, context = ["The dog ran .", "the dog sat", "the dog ran"], ["the dog ran."]
    assert select(samples, context) == "the dog ran"  # the first sample repeats the context but for case and spaces
    assert select(["the dog ran ."] * 3 + ["a bird sang"], context) == "a bird sang"
    assert select(["the dog ran ."] * 3, context) == "the dog ran ."
    assert select(["the dog ran .", "the dog ran .", "bo"], context, context_candidates=True) == "the dog ran ."
    others = ["the dog w.", "x dog ran.", "the y ran."]
    assert select(others, context, context_candidates=True) == "the dog ran."
    assert select(others, context) in others


def test_a_sample_of_which_half_stands_in_the_context_is_selected_only_if_all_are_such():
    context = ["One day the old man, who was very tired, ran home. He slept.", "The end"]
    refrain = "The old man, who was tired, swam to the sea"  # two of seven 4-grams: the old man who, old man who was
    repeating = "The old man, who was very tired, swam away today"  # four of seven
    assert select([refrain, refrain, "zzz"], context) == refrain
    assert select([repeating, repeating, "zzz"], context) == "zzz"
    assert select([repeating, repeating, "zzz"], context, context_candidates=True) == repeating
    assert select([repeating, repeating.upper(), context[0]], context) in (repeating, repeating.upper())
    assert select([context[0]] * 3, context) == context[0]


def test_a_text_that_has_not_ended_is_a_reference_but_selected_only_if_no_text_has_ended():
    cut = [("a b c d e", False), ("a b c d", False)]
    assert select([*cut, ("a b x", True), ("z", True)]) == "a b x"
    assert select([*cut, ("a b x", True), ("z", True)], ["a b c d e"], context_candidates=True) == "a b c d e"
    assert select(cut) in ("a b c d e", "a b c d")


def test_the_utility_embedding_is_the_cosine_and_every_text_is_embedded_once():
    vectors = {"a": [1, 0], "b": [0.8, 0.6], "c": [0, 2], "d": [0, 5]}
    asked = []

    def embed(texts):
        asked.extend(texts)
        return np.array([vectors[text] for text in texts], dtype=np.float32)

    # In the first story the means over the other samples are 0.6 for a, (0.8 + 0.6 + 0.8) / 3 for b and 0.2 for c.
    samples, contexts = [["a", "c", "b", "a"], ["a", "c"]], [[], ["d"]]
    ended = [[(text, True) for text in story] for story in samples]
    assert select_texts(ended, contexts, mbr(utility="embedding"), embed=embed) == ["b", "c"]
    assert sorted(asked) == ["a", "b", "c", "d"]


def test_the_utility_both_weighs_words_and_meanings_alike():
    # By words "a b" is nearest to the others, by vectors "c".
    vectors = {"a b": [1, 0], "a d": [0, 1], "c": [0.8, 0.6], "b e": [1, 0]}
    samples = [[(text, True) for text in vectors]]

    def select(utility):
        return select_texts(
            samples,
            [[]],
            mbr(utility=utility),
            embed=lambda texts: np.array([vectors[text] for text in texts], dtype=np.float32),
        )

    words = meteor_utilities(list(vectors), list(vectors))
    cosines = np.array(list(vectors.values())) @ np.array(list(vectors.values())).T
    both = (words + cosines) / 2
    np.fill_diagonal(both, 0)
    assert (select("meteor"), select("embedding")) == (["a b"], ["c"])
    assert select("both") == [list(vectors)[both.sum(axis=1).argmax()]]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = resolve_train(registry(), preset="tiny", layers=[preset_layer("tiny"), *parse_set(SMALL)])
    return build_model(config, image_size=SIZE, training_texts=lambda: TEXTS).eval()


@pytest.fixture(scope="module")
def context(model):
    texts = [TEXTS[K * story : K * story + K] for story in range(B)]
    images = torch.randint(0, 256, (B * K, 3, SIZE, SIZE), dtype=torch.uint8)
    tokens = model.text.tokenize([text for story in texts for text in story])
    ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
    return Context(
        visual=model.visual.frozen(model.visual.pixels(images)).unflatten(0, (B, K)),
        text=model.text.frozen(ids, mask).unflatten(0, (B, K)),
        text_ids=ids.unflatten(0, (B, K)),
        text_mask=mask.unflatten(0, (B, K)),
        mask=torch.tensor([[True] * K] * (B - 1) + [[True, True, False, False]]),
        last_image=torch.rand(B, 3, SIZE, SIZE),
        story=torch.arange(B),
        text_row=torch.arange(B * K).reshape(B, K),
        texts=texts,
        images=lambda: images.unflatten(0, (B, K)) / 255,
    )


@pytest.mark.parametrize("utility", ["meteor", "embedding", "both"])
def test_a_prediction_is_one_of_the_samples_and_the_same_alone_and_in_a_batch(model, context, utility):
    how = mbr(samples=5, utility=utility, seed=3)
    texts = model.predict(context, how).texts
    sampled = [model.predict(context, each).texts for each in sample_decodings(how)]
    for text, samples in zip(texts, zip(*sampled, strict=True), strict=True):
        assert text in samples
        assert len(set(samples)) > 1
    assert [model.predict(context.take([story]), how).texts[0] for story in range(B)] == texts


def test_context_texts_are_compared_as_the_decoder_would_generate_them(model, context, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "vsr_cli.model.story_model.select_texts",
        lambda samples, contexts, decoding, *, embed: asked.append(contexts) or ["x"] * B,
    )
    loud = replace(context, texts=[[text.upper() for text in story] for story in context.texts])
    model.predict(loud, mbr(samples=2))
    (contexts,) = asked
    ids = torch.from_numpy(model.text_decoder.tokenize(loud.texts[0]).ids)
    assert contexts[0] == model.text_decoder.detokenize(ids) != loud.texts[0]
    assert [len(story) for story in contexts] == [K, K, 2]  # without repeated frames


def test_a_decoder_generates_samples_together_if_it_can_but_no_more_than_fit_in_memory(model, context, monkeypatch):
    monkeypatch.setattr("vsr_cli.model.story_model.TEXTS_TOGETHER", 3 * B + 1)
    how, asked = mbr(samples=5), []
    expected = model.predict(context, how).texts

    def generate_samples(narrative, decodings):
        asked.append(decodings)
        return torch.stack([decoder.generate(narrative, each) for each in decodings], dim=1)

    decoder = model.text_decoder
    monkeypatch.setattr(decoder, "generate_samples", generate_samples)
    assert model.predict(context, how).texts == expected
    assert asked == [sample_decodings(how)[:3], sample_decodings(how)[3:]]
    monkeypatch.setattr("vsr_cli.model.story_model.TEXTS_TOGETHER", 1)
    assert model.predict(context, mbr(samples=2)).texts == model.predict(context, mbr(samples=2)).texts
    assert [len(each) for each in asked[2:]] == [1] * 4


def test_texts_end_in_eos_even_if_a_decoder_begins_them_with_a_token_of_its_own(model, context, monkeypatch):
    decoder, seen = model.text_decoder, []
    eos, word, other = decoder.vocabulary.eos, *decoder.vocabulary.encode_text("ana saw")[:2]
    tokenize = decoder.tokenize
    monkeypatch.setattr(decoder, "tokenize", lambda texts: tokenize([f"saw {text}" for text in texts]))
    ids = torch.tensor([[[word, eos], [other, word]]] * B)  # (B, 2 samples, 2 tokens)
    monkeypatch.setattr(decoder, "generate_samples", lambda narrative, decodings: ids)
    monkeypatch.setattr(
        "vsr_cli.model.story_model.select_texts",
        lambda samples, contexts, decoding, *, embed: seen.extend(samples) or ["x"] * B,
    )
    model.predict(context, mbr(samples=2))
    assert [[has_ended for _, has_ended in story] for story in seen] == [[True, False]] * B
