import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from vsr_cli.api import split_words, split_words_and_punctuation
from vsr_cli.evaluation.normalize import clean_text

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
def test_clean_text_normalizes(text: str, clean: str) -> None:
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


def wordpiece(text: str, *, lowercase: bool = True) -> str:
    """Encode and decode a text by a WordPiece tokenizer whose pieces are single characters."""
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    characters = sorted({c for c in normalizer.normalize_str(text) if not c.isspace()})
    pieces = ["[UNK]", *characters, *(f"##{c}" for c in characters)]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    return str(tokenizer.decode(tokenizer.encode(text).ids))


def test_a_text_equals_its_wordpiece_round_trip() -> None:
    decoded = wordpiece(SENTENCE)
    assert decoded != SENTENCE.lower()
    assert clean_text(decoded) == clean_text(SENTENCE).lower()


@given(st.lists(st.sampled_from([*SENTENCE.split(), "-", "--", "'hi'", "said", "s", "d", "."])).map(" ".join))
def test_random_words_equal_their_wordpiece_round_trip(text: str) -> None:
    assert clean_text(wordpiece(text)) == clean_text(text).lower()


EVERY_SCRIPT = {
    "Chinese": "我们在公园里看见一只小狗。他说：“你好，Bob！”——第3章《雨》",
    "Japanese": "私は「コーヒー」を飲んだ。人々が、食べ物を見た！ がぎ",
    "Korean": "여우가 언덕을 달렸다. 大韓民國 만세, 3시!",
    "Thai": "สุนัขจิ้งจอกวิ่งข้ามเนินเขา ๒๕๖๐ น้ำฯ",
    "Hindi": "लोमड़ी पहाड़ी पर दौड़ी, और उसने माता-पिता को देखा। क्षि\u200dक",
    "Arabic": "ركض الثعلبُ فوق التل، ورأى القمر؛ لماذا؟ مَرْحَبًا",
    "Persian": "می\u200cخواهم بروم.",
    "Hebrew": "שָׁלוֹם עולם, צה״ל בית־ספר ג׳ירפה.",
    "Amharic": "ቀበሮው በኮረብታው ላይ ሮጠ። ሰላም፡ለዓለም፤ እሺ፧",
    "Tibetan": "བོད་ཡིག་ནི། ཀ་ཁ།",
    "Armenian": "Ի՞նչ է սա։ Օ՜, ոչ",
    "Greek": "Τι είναι; Α·β «γ» Ό,τι",
    "French": "«\u202fÇa va\u202f?\u202f» l’été, naïve – e\u0301le\u0300ve…",
    "Spanish": "¿Qué? ¡Sí! §5 (¡no!)",
    "Catalan": "col·lecció • punt",
    "emoji": "😀 🦊🌧️ 👨\u200d👩\u200d👧 ❤️! 🇫🇷👍🏽 1️⃣ 我❤️你 ©️",
    "mixed": "I ate 寿司 and 김치, then said “नमस्ते।” 3D电影 iPhone手机",
}


def without_accents(text: str) -> str:
    """Remove what an uncased BERT drops of a text."""
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if unicodedata.category(c) != "Mn"))


@pytest.mark.parametrize("script", EVERY_SCRIPT)
def test_every_script_equals_its_wordpiece_round_trip(script: str) -> None:
    text = EVERY_SCRIPT[script]
    cased, uncased = wordpiece(text, lowercase=False), wordpiece(text)
    assert cased != text or script == "Thai"
    assert clean_text(cased) == clean_text(text)
    assert clean_text(uncased) == without_accents(clean_text(text)).lower()


ALL_LETTERS = st.lists(st.sampled_from([*"".join(EVERY_SCRIPT.values()), " ", "\u3099", "\u200b"]), max_size=30)


@settings(deadline=None)
@given(st.one_of(ALL_LETTERS.map("".join), st.text(max_size=20)))
def test_texts_of_all_scripts_round_trip_and_are_idempotent(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    breaks = str.maketrans(
        dict.fromkeys("\x0b\x0c\x1c\x1d\x1e\x1f\x85", " ")
    )  # BERT drops them: words would run together
    assert clean_text(wordpiece(text.translate(breaks), lowercase=False)) == once


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("我 们 ， 在 。", "我们，在。"),
        ("第 3 章", "第 3 章"),
        ("iPhone手机", "iPhone 手机"),
        ("「 はい 」 と 言 った", "「はい」と言った"),
        ("👨\u200d👩\u200d👧", "👨👩👧"),
        ("घर ।", "घर।"),
        ("लड़का \u200b", "लड़का"),
        ("\u3164", ""),
        ("माता - पिता", "माता-पिता"),
        ("« Oui »", '"Oui"'),
    ],
)
def test_spacing_of_other_scripts(text: str, clean: str) -> None:
    assert clean_text(text) == clean_text(clean) == unicodedata.normalize("NFC", clean)


@pytest.mark.parametrize(
    "unit",
    ["我 ", "。", "我a ", "“我”", "़ ", "क्", "🇫🇷", "👨\u200d", "\u3099", "น้ำ", "· ", "a·", "« "],
)
def test_time_is_linear_in_every_script(unit: str) -> None:
    text = unit * 50_000
    start = time.perf_counter()
    clean_text(text)
    split_words(text)
    split_words_and_punctuation(text)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("unit", ["<gdi ", "<", "<b>>", "<gdi>", '" ', "' ", "- ", "<gd", "a", "( ", "1,"])
def test_time_is_linear(unit: str) -> None:
    text = unit * 100_000
    start = time.perf_counter()
    clean_text(text)
    assert time.perf_counter() - start < 5  # quadratic time would take minutes
