import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from vsr_cli.evaluation.text import clean_text

SENTENCE = (
    "\"Don't wait,\" O'Brien said - he's (almost) at the well-known inn; it's 10:30, and he'd paid $1,000.50 "
    "for 3.5 acres: the brothers' and/or Anna's... who'll know?!"
)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        (" \n\t ", ""),
        ("The <gdo char1>tall man</gdo> <gda char1>runs</gda>.<gdi image1>", "The tall man runs."),
        ("<gdl landmark2>Hill</gdl>s, <gdf>x</gdf>", "Hills, x"),
        ("a <b> tag of no story <gdx>", "a < b > tag of no story < gdx >"),
        ("< gdo char1 > mara < / gdo > < gda char1 > runs < / gda > .", "mara runs."),
        ("<<gdi image1>gdo char1>tags in tags", "tags in tags"),
        ("an unclosed <gdo char1 stays", "an unclosed < gdo char1 stays"),
        ("she stopped .\nThen , slowly , she ran !", "she stopped. Then, slowly, she ran!"),
        ("don ' t , i ' m , they ' ve , ANNA ' S", "don't, i'm, they've, ANNA'S"),
        ("“Don’t”", '"Don\'t"'),
        ('he said , " go ! " and " stay "', 'he said, "go!" and "stay"'),
        ("( so )  [ it ] { is }", "(so) [it] {is}"),
        ("well - known", "well-known"),
        ("he paused—then ran", "he paused -- then ran"),
        ("he paused - - then ran", "he paused -- then ran"),
        ("wait … what . . .", "wait... what..."),
        ("3 . 5 and 1 , 000 at 10 : 30 , 20 men", "3.5 and 1,000 at 10:30, 20 men"),
        ("o ' clock", "o'clock"),
        ("the dogs' bones", "the dogs ' bones"),
        ("cafe\u0301", "café"),
        ("so\u00adft", "soft"),
    ],
)
def test_clean_text_gives_the_one_form(text: str, clean: str) -> None:
    assert clean_text(text) == clean


LETTERS = st.text(alphabet="abdmos'\" .,:-–—()<>/=gi13\u0338\u0301é’“…\u200b$#\n", max_size=40)


@given(st.one_of(st.text(), LETTERS))
def test_clean_text_is_idempotent(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once


@given(LETTERS)
def test_spacing_depends_on_words_and_punctuation_alone(text: str) -> None:
    once = clean_text(text)
    spread = "".join(f" {character} " if character in ".,:;!?\"'()-/<>=$#" else character for character in once)
    assert clean_text(spread) == once


def wordpiece(text: str) -> str:
    """What an uncased WordPiece tokenizer makes of a text and back; its pieces are single characters."""
    characters = sorted({c for c in text.lower() if not c.isspace()})
    pieces = ["[UNK]", *characters, *(f"##{c}" for c in characters)]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    return str(tokenizer.decode(tokenizer.encode(text).ids))


def test_a_text_meets_what_a_wordpiece_tokenizer_decodes() -> None:
    decoded = wordpiece(SENTENCE)
    assert decoded != SENTENCE.lower()
    assert clean_text(decoded) == clean_text(SENTENCE).lower()


@given(st.lists(st.sampled_from([*SENTENCE.split(), "-", "--", "'hi'", "said", "s", "d", "."])).map(" ".join))
def test_word_salad_meets_what_a_wordpiece_tokenizer_decodes(text: str) -> None:
    assert clean_text(wordpiece(text)) == clean_text(text).lower()


@pytest.mark.parametrize("unit", ["<gdi ", "<", "<b>>", "<gdi>", '" ', "' ", "- ", "<gd", "a", "( ", "1,"])
def test_time_is_linear(unit: str) -> None:
    text = unit * 100_000
    start = time.perf_counter()
    clean_text(text)
    assert time.perf_counter() - start < 5  # quadratic time would take minutes
