import lzma
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from hypothesis import given
from hypothesis import strategies as st

from vsr_cli.api import split_words_and_punctuation
from vsr_plugins.datasets.storyworld.narration import frame_text
from vsr_plugins.datasets.storyworld.world import draw_world
from vsr_plugins.metrics.wordnet import FOLDER, SUFFIXES, HasLemmas, WordNet

from . import wordnet_files

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "scripts"))
import build_wordnet  # noqa: E402

REAL_STORIES = ROOT.parent / "shared" / "stories"
LICENCE = "  1 This licence is three lines long.  \n  2 WordNet 9.9 Copyright 2006 by nobody.  \n  3   \n"
SYNSETS = {
    "noun": [["cat", "true_cat"], ["man", "adult_male"], ["knife"], ["Paris", "City_of_Light"], ["s_club"]],
    "verb": [["guide", "steer"], ["run"], ["steer", "manoeuvre", "direct"], ["pass", "go"]],
    "adj": [["big(p)", "large"], ["fine", "good(a)"]],
    "adv": [["quickly", "rapidly"]],
}
EXCEPTIONS = {
    "noun": "knives knife\nran nonesuch\n",
    "verb": "ran run\n",
    "adj": "better good well\n",
    "adv": "",
}

SYSTEM = Path("/usr/share/wordnet")
needs_wordnet = pytest.mark.skipif(not (SYSTEM / "index.noun").exists(), reason="wordnet-base is not installed")


def write_wordnet(folder: Path) -> None:
    """Write a database of the synsets above, in the format of wndb(5WN)."""
    folder.mkdir(parents=True)
    for pos, synsets in SYNSETS.items():
        data = LICENCE
        places: dict[str, list[int]] = {}
        for words in synsets:
            for word in words:
                places.setdefault(word.split("(")[0].lower(), []).append(len(data))
            listed = " ".join(f"{word} 0" for word in words)
            data += f"{len(data):08d} 03 {pos[0]} {len(words):02x} {listed} 001 @ 00000001 n 0000 | a gloss  \n"
        lines = [
            f"{word} {pos[0]} {len(at)} 2 @ ~ {len(at)} 1 {' '.join(f'{offset:08d}' for offset in at)}  \n"
            for word, at in sorted(places.items())
        ]
        (folder / f"data.{pos}").write_text(data)
        (folder / f"index.{pos}").write_text(LICENCE + "".join(lines))
        (folder / f"{pos}.exc").write_text(EXCEPTIONS[pos])


@pytest.fixture
def tiny(tmp_path: Path) -> WordNet:
    """The tables of the database above."""
    write_wordnet(tmp_path / "dict")
    build_wordnet.write_tables(tmp_path / "dict", tmp_path / "tables")
    return WordNet(tmp_path / "tables")


def names(synsets: Sequence[HasLemmas]) -> list[list[str]]:
    return [[lemma.name() for lemma in synset.lemmas()] for synset in synsets]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("cat", [["cat", "true_cat"]]),
        ("Cats", [["cat", "true_cat"]]),
        ("paris", [["Paris", "City_of_Light"]]),
        ("men", [["man", "adult_male"]]),
        ("knives", [["knife"]]),
        ("steer", [["guide", "steer"], ["steer", "manoeuvre", "direct"]]),
        ("guiding", [["guide", "steer"]]),
        ("passes", [["pass", "go"]]),
        ("ran", [["run"]]),
        ("bigger", []),
        ("larger", [["big", "large"]]),
        ("finest", [["fine", "good"]]),
        ("better", [["fine", "good"]]),
        ("quickly", [["quickly", "rapidly"]]),
        ("rapidlyest", []),
        ("s", []),
        ("", []),
        ("1", []),
        ("zzz", []),
        ("naïve", []),
    ],
)
def test_synsets(tiny: WordNet, word: str, expected: list[list[str]]) -> None:
    assert names(tiny.synsets(word)) == expected


@pytest.mark.parametrize("word", ["cat", "Paris", "ran", "finest", "zzz", ""])
def test_synsets_equal_the_reference_reader_s(tmp_path: Path, tiny: WordNet, word: str) -> None:
    assert names(wordnet_files.WordNet(tmp_path / "dict").synsets(word)) == names(tiny.synsets(word))


def test_every_word_is_found_and_its_own_synonym(tiny: WordNet) -> None:
    for synsets in SYNSETS.values():
        for words in synsets:
            for word in words:
                plain = word.split("(")[0]
                assert any(plain in found for found in names(tiny.synsets(plain)))


def test_words_of_the_shipped_wordnet() -> None:
    dogs = names(shipped().synsets("dogs"))
    assert dogs[0] == ["dog", "domestic_dog", "Canis_familiaris"]
    assert dogs[-1][0] == "chase"
    assert names(shipped().synsets("mice"))[0] == ["mouse"]
    assert names(shipped().synsets("wolves"))[0] == ["wolf"]
    assert shipped().synsets("storyworlds") == []


@given(st.text(max_size=12))
def test_any_text_can_be_looked_up(word: str) -> None:
    for synset in shipped().synsets(word):
        assert synset.lemmas()


@cache
def shipped() -> WordNet:
    return WordNet()


def test_the_wheel_holds_the_tables_and_their_licence() -> None:
    packed = {Path(file.distribution_path).name for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    tables = {f"{table}.{pos}.xz" for table in ("index", "synsets", "exceptions") for pos in SUFFIXES}
    assert {path.name for path in FOLDER.iterdir()} == tables | {"LICENSE"}
    assert tables | {"LICENSE"} <= packed
    assert max(path.stat().st_size for path in FOLDER.iterdir()) < 1_000_000
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in (FOLDER / "LICENSE").read_text()


@needs_wordnet
@pytest.mark.parametrize("pos", SUFFIXES)
def test_the_tables_are_what_the_script_makes_of_debians_files(pos: str) -> None:
    made = build_wordnet.tables(SYSTEM, pos)
    assert {name: lzma.decompress((FOLDER / f"{name}.{pos}.xz").read_bytes()).decode() for name in made} == made
    assert build_wordnet.licence(SYSTEM) == (FOLDER / "LICENSE").read_text()


def texts(pick: random.Random, lemmas: Sequence[str]) -> Iterator[str]:
    """Text of at least 50,000 words: real stories where there are any, invented ones, and words of the index as they
    are and inflected."""
    for path in sorted(REAL_STORIES.glob("*/*.txt")):
        yield path.read_text(encoding="utf-8")
    for number in range(40):
        world = draw_world(0, number)
        yield from (frame_text(world, frame).text for frame in range(len(world)))
    endings = ["s", "es", "ed", "ing", "er", "est", "men", "ves", "ies", "zes", ""]
    for lemma in pick.sample(lemmas, 4000):
        yield f"{lemma} {lemma}{pick.choice(endings)} {lemma[: -pick.randrange(1, 3)]}{pick.choice(endings)}"


@needs_wordnet
def test_every_word_form_of_a_long_text_has_the_synsets_of_debians_files() -> None:
    theirs = wordnet_files.WordNet(SYSTEM)
    assert theirs.version == "3.0"
    lines = [line for pos in SUFFIXES for line in (SYSTEM / f"index.{pos}").open() if not line.startswith("  ")]
    lemmas = [line.split(" ", 1)[0] for line in lines]
    exceptions = [line.split()[0] for pos in SUFFIXES for line in (SYSTEM / f"{pos}.exc").open()]
    pick = random.Random(0)
    written = [word for text in texts(pick, lemmas) for word in split_words_and_punctuation(text)]
    written += pick.choices(lemmas, k=max(0, 50_000 - len(written)))
    forms = sorted({*written, *exceptions, *pick.sample(lemmas, 2000)})
    assert len(written) >= 50_000
    found = 0
    for form in forms:
        synsets = names(theirs.synsets(form))
        assert names(shipped().synsets(form)) == synsets, form
        found += bool(synsets)
    assert found > 5000


@pytest.mark.slow
@needs_wordnet
def test_synsets_are_those_of_nltks_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nltk's reader on the system's files, with stand-ins for two that are missing and not needed."""
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    for file in SYSTEM.glob("*.*"):
        shutil.copy(file, tmp_path)
    (tmp_path / "lexnames").write_text("".join(f"{number:02d}\tname\t1\n" for number in range(45)))
    (tmp_path / "index.sense").touch()
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])  # nltk opens no file elsewhere
    monkeypatch.setattr(WordNetCorpusReader, "map_wn", lambda self: None)
    with pytest.warns(UserWarning, match="multilingual"):
        theirs = WordNetCorpusReader(str(tmp_path), None)
    ours = shipped()

    pick = random.Random(0)
    lemmas = pick.sample(sorted(theirs.all_lemma_names()), 2000)
    endings = ["s", "es", "ed", "ing", "er", "est", "men", "ves", "ies", "zes"]
    inflected = [lemma[: -pick.randrange(1, 3)] + pick.choice(endings) for lemma in lemmas]
    inflected += [lemma + pick.choice(endings) for lemma in lemmas]
    exceptions = [line.split()[0] for pos in SUFFIXES for line in (SYSTEM / f"{pos}.exc").open()]
    found = 0
    for word in [*lemmas, *inflected, *exceptions]:
        synonyms = names(theirs.synsets(word))
        assert names(ours.synsets(word)) == synonyms, word
        found += bool(synonyms)
    assert found > 5000
