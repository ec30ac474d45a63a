import random
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr_plugins.text_metrics import wordnet as module
from vsr_plugins.text_metrics.wordnet import SUFFIXES, Synset, WordNet, system_folder

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
    write_wordnet(tmp_path / "dict")
    return WordNet(tmp_path / "dict")


def names(synsets: Sequence[Synset]) -> list[list[str]]:
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


def test_version_is_the_licences(tiny: WordNet) -> None:
    assert tiny.version == "9.9"


def test_every_word_is_found_and_its_own_synonym(tiny: WordNet) -> None:
    for synsets in SYNSETS.values():
        for words in synsets:
            for word in words:
                plain = word.split("(")[0]
                assert any(plain in found for found in names(tiny.synsets(plain)))


def test_folder_is_searched_in_the_documented_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = tmp_path / "one", tmp_path / "two" / "dict", tmp_path / "three"
    for folder in (one, two, three):
        write_wordnet(folder)
    monkeypatch.setattr(module, "SYSTEM_FOLDERS", (tmp_path / "nowhere", three))
    monkeypatch.setenv("WNSEARCHDIR", str(one))
    monkeypatch.setenv("WNHOME", str(two.parent))
    assert system_folder() == one
    monkeypatch.delenv("WNSEARCHDIR")
    assert system_folder() == two
    (two / "verb.exc").unlink()
    assert system_folder() == three
    (three / "data.adv").unlink()
    assert system_folder() is None


@needs_wordnet
def test_words_of_the_system_wordnet() -> None:
    database = WordNet(SYSTEM)
    assert database.version == "3.0"
    dogs = names(database.synsets("dogs"))
    assert dogs[0] == ["dog", "domestic_dog", "Canis_familiaris"]
    assert dogs[-1][0] == "chase"
    assert names(database.synsets("mice"))[0] == ["mouse"]
    assert names(database.synsets("wolves"))[0] == ["wolf"]
    assert database.synsets("storyworlds") == []


@needs_wordnet
@given(st.text(max_size=12))
def test_any_text_may_be_asked_for(word: str) -> None:
    for synset in system_database().synsets(word):
        assert synset.lemmas()


@cache
def system_database() -> WordNet:
    return WordNet(SYSTEM)


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
    ours = system_database()

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
