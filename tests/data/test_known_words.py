"""The words of a run's training texts."""

import pytest

from vsr_cli.data.known_words import KnownWords
from vsr_cli.errors import VsrError

WORLD = [["the fox finds a lamp", "the fox opens the gate", "a boat waits", "the lamp is lit", "the fox sleeps"]] * 3
FOREIGN = ["grandmother cooks soup in summer", "the children count seven goats", "nobody hears thunder"]


def known(stories: list[list[str]], frames: int = 4) -> KnownWords:
    texts = [text for story in stories for text in story]
    return KnownWords.of(texts, [at for at, story in enumerate(stories) for _ in story], context_frames=frames)


@pytest.fixture
def words():
    return known(WORLD)


def test_a_story_of_other_words_has_a_share_of_unknown_ones(words):
    assert words.unknown_share(FOREIGN) == pytest.approx(12 / 13)  # all but "the"


@pytest.mark.parametrize(
    "texts",
    [WORLD[0][:4], ["The FOX, sleeps!"], ["the fox finds seven goats", "the gate opens"], ["cook soup"], [""], []],
    ids=["training story", "capitals and punctuation", "some new words", "too short to say", "blank", "no text"],
)
def test_nothing_is_said_of(words, texts):
    assert words.unknown_share(texts) is None


@pytest.mark.parametrize(
    ("training", "other"),
    [
        ("狐狸 找到 一盏 灯", "祖母夏天煮汤给七只山羊"),
        ("लोमड़ी को दीपक मिलता है", "दादी गर्मियों में सात बकरियों के लिए सूप"),
    ],
    ids=["Chinese", "Hindi"],
)
def test_every_script_has_words(training, other):
    words = known([[training] * 5] * 3)
    assert words.unknown_share([training]) is None
    assert words.unknown_share([other]) > 0.8


def test_stories_that_share_few_words_expect_few_shared_words():
    new = "a heron counts eleven pebbles near the gate"
    unlike = [[f"{a}{n} {b}{n} saw the gate of {a}" for n in range(5)] for a, b in (("ab", "cd"), ("ef", "gh"))]
    assert known(WORLD).unknown_share([new]) == 5 / 8
    assert known(unlike).unknown_share([new]) is None  # of 6 / 8, and these two have 9 / 13


def test_one_odd_story_among_many_decides_nothing():
    assert known([*WORLD * 50, [*FOREIGN, "xs ys zs", "us vs ws"]]).limit == known(WORLD).limit


def test_words_are_read_back_and_a_damaged_file_is_refused(words, tmp_path):
    path = tmp_path / "words.safetensors"
    words.save(path)
    read = KnownWords.load(path)
    assert read.unknown_share(FOREIGN) == words.unknown_share(FOREIGN)
    assert read.limit == pytest.approx(words.limit)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(VsrError, match=str(path)):
        KnownWords.load(path)
