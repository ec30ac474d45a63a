"""Statistics of a dataset: lengths, markup, sizes, vocabulary and repetition, per split and for all splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import split_words
from ..errors import VsrError
from .lint import target_in_context
from .prepared import Prepared
from .prepared_types import StoredStory, Windows
from .splits import HELD_OUT, SPLITS

ALL = "all"
LENGTHS = (32, 64, 128)
"""In tokens: common limits of text encoders and decoders."""
TEXTS_AT_A_TIME = 1024


@dataclass(frozen=True)
class Measures:
    """Measurements of one split, or of all."""

    frames: NDArray[np.int64]
    """By story."""
    words: NDArray[np.int64]
    """By frame that has a text."""
    tokens: NDArray[np.int64]
    """By frame that has a text."""
    vocabulary: Counter[str]
    """How often each word occurs, in lower case."""
    clean_characters: int
    """Number of characters of the texts of stories whose source has markup."""
    source_characters: int
    """Number of characters of the same stories in their source, with markup."""
    sizes: NDArray[np.int64]
    """(n, 2): width and height in the source of each distinct image."""
    same_text: NDArray[np.bool_]
    """By pair of neighbouring frames with texts: whether the texts are equal."""
    same_image: NDArray[np.bool_]
    target_text: NDArray[np.bool_]
    """By window: whether the text of its target is in its context."""
    target_image: NDArray[np.bool_]


@dataclass(frozen=True)
class _StoryFacts:
    """The rows and text lengths of one story."""

    text_rows: NDArray[np.int64]
    image_rows: NDArray[np.int64]
    """Both by frame, -1 if it has none."""
    clean_characters: int
    source_characters: int


@dataclass(frozen=True)
class _Lengths:
    """Lengths of each distinct text, by row."""

    words: NDArray[np.int64]
    tokens: NDArray[np.int64]


def measure(prepared: Prepared, count_tokens: CountTokens) -> dict[str, Measures]:
    """Measure the stories of each split and, as "all", of all splits. Stories in no split are ignored."""
    facts: dict[str, list[_StoryFacts]] = {split: [] for split in SPLITS}
    for story in prepared.stories():
        if story.split:
            facts[story.split].append(_story_facts(story))
    lengths = _lengths(prepared.frames.texts, count_tokens)
    windows = {split: prepared.windows(split) for split in SPLITS}
    measures = {split: _measure(prepared, facts[split], [windows[split]], lengths) for split in SPLITS}
    measures[ALL] = _measure(prepared, [*chain(*facts.values())], [*windows.values()], lengths)
    return measures


def summary(measures: Mapping[str, Measures]) -> dict[str, dict[str, Any]]:
    """Return measurements as in JSON. Shares are between 0 and 1, or None if there is nothing to count."""
    seen = measures["train"].vocabulary or None
    return {name: _numbers(of, seen=seen if name in HELD_OUT else None) for name, of in measures.items()}


def _story_facts(story: StoredStory) -> _StoryFacts:
    marked = story.source_characters is not None
    return _StoryFacts(
        text_rows=np.asarray([frame.text_row for frame in story.frames], dtype=np.int64),
        image_rows=np.asarray([frame.image_row for frame in story.frames], dtype=np.int64),
        clean_characters=sum(len(frame.text or "") for frame in story.frames) if marked else 0,
        source_characters=story.source_characters or 0,
    )


def _lengths(texts: Sequence[str], count_tokens: CountTokens) -> _Lengths:
    """Count the words and tokens of each distinct text."""
    tokens: list[int] = []
    for start in range(0, len(texts), TEXTS_AT_A_TIME):
        tokens += count_tokens(texts[start : start + TEXTS_AT_A_TIME])
    words = [len(words_of(text)) for text in texts]
    return _Lengths(np.asarray(words, dtype=np.int64), np.asarray(tokens, dtype=np.int64))


def _measure(
    prepared: Prepared, stories: Sequence[_StoryFacts], windows: Sequence[Windows], lengths: _Lengths
) -> Measures:
    text_rows = _present([story.text_rows for story in stories])
    images = np.unique(_present([story.image_rows for story in stories]))
    vocabulary: Counter[str] = Counter()
    for row, count in Counter(text_rows.tolist()).items():
        for word in words_of(prepared.frames.texts[row]):
            vocabulary[word] += count
    facts = prepared.image_facts
    return Measures(
        frames=np.asarray([len(story.text_rows) for story in stories], dtype=np.int64),
        words=lengths.words[text_rows],
        tokens=lengths.tokens[text_rows],
        vocabulary=vocabulary,
        clean_characters=sum(story.clean_characters for story in stories),
        source_characters=sum(story.source_characters for story in stories),
        sizes=np.stack([facts.width[images], facts.height[images]], axis=1).astype(np.int64),
        same_text=_same([story.text_rows for story in stories]),
        same_image=_same([story.image_rows for story in stories]),
        target_text=np.concatenate([target_in_context(cut.text_rows) for cut in windows]),
        target_image=np.concatenate([target_in_context(cut.image_rows) for cut in windows]),
    )


def _present(rows_of: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    rows = np.concatenate([np.empty(0, np.int64), *rows_of])
    return rows[rows >= 0]


def _same(rows_of: Sequence[NDArray[np.int64]]) -> NDArray[np.bool_]:
    """Return for each pair of neighbouring frames that both have a row whether their rows are equal."""
    pairs = [(rows[1:] == rows[:-1])[(rows[1:] >= 0) & (rows[:-1] >= 0)] for rows in rows_of]
    return np.concatenate([np.empty(0, np.bool_), *pairs])


def _numbers(measured: Measures, *, seen: Mapping[str, int] | None) -> dict[str, Any]:
    sizes, vocabulary = measured.sizes, measured.vocabulary
    running = vocabulary.total()
    unseen = None if seen is None else [count for word, count in vocabulary.items() if word not in seen]
    return {
        "stories": len(measured.frames),
        "frames": int(measured.frames.sum()),
        "windows": len(measured.target_text),
        "frames_per_story": _spread(measured.frames),
        "words_per_frame": _spread(measured.words),
        "tokens_per_frame": _spread(measured.tokens),
        "longer_than": {str(length): _share(measured.tokens > length) for length in LENGTHS},
        "markup_share": _rounded(1 - measured.clean_characters / measured.source_characters)
        if measured.source_characters
        else None,
        "words": running,
        "distinct_words": len(vocabulary),
        "distinct_words_seen_once": _share([count == 1 for count in vocabulary.values()]),
        "distinct_words_not_in_train": None if unseen is None else _ratio(len(unseen), len(vocabulary)),
        "words_not_in_train": None if unseen is None else _ratio(sum(unseen), running),
        "images": len(sizes),
        "image_size": _commonest(sizes),
        "image_width": _spread(sizes[:, 0]),
        "image_height": _spread(sizes[:, 1]),
        "image_proportion": _spread(sizes[:, 0] / sizes[:, 1]),
        "same_text_as_before": _share(measured.same_text),
        "same_image_as_before": _share(measured.same_image),
        "target_text_in_context": _share(measured.target_text),
        "target_image_in_context": _share(measured.target_image),
    }


def _spread(values: NDArray[Any]) -> dict[str, float] | None:
    if not len(values):
        return None
    numbers = {"least": values.min(), "median": np.median(values), "mean": values.mean(), "greatest": values.max()}
    return {name: _rounded(number) for name, number in numbers.items()}


def _commonest(sizes: NDArray[np.int64]) -> dict[str, float] | None:
    """Return the most common image size and its share."""
    if not len(sizes):
        return None
    kinds, counts = np.unique(sizes, axis=0, return_counts=True)
    width, height = kinds[counts.argmax()].tolist()
    return {"width": width, "height": height, "share": _rounded(counts.max() / len(sizes))}


def _share(found: Sequence[bool] | NDArray[np.bool_]) -> float | None:
    return _ratio(int(np.count_nonzero(found)), len(found))


def _ratio(part: int, whole: int) -> float | None:
    return _rounded(part / whole) if whole else None


def _rounded(number: float) -> float:
    return round(float(number), 4)


WORDS_AND_MARKS = (
    "words and punctuation marks, and single Chinese characters, as BERT splits text before it splits words"
)

CountTokens = Callable[[Sequence[str]], list[int]]


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, in order: "don't" and "well-known" are a word each."""
    return split_words(text, hyphenated=True)


def count_words_and_marks(texts: Sequence[str]) -> list[int]:
    """Count words and punctuation marks, a lower bound of the tokens of a WordPiece tokenizer like that of BERT."""
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    normalizer, splitter = (
        BertNormalizer(lowercase=False),
        BertPreTokenizer(),
    )  # the first sets Chinese characters apart
    return [len(splitter.pre_tokenize_str(normalizer.normalize_str(text))) for text in texts]


def token_counter(tokenizer_path: Path) -> CountTokens:
    """Return the function that counts tokens, with special tokens, by a `tokenizer.json` file or that of a folder.

    Raises VsrError if there is none.
    """
    from tokenizers import Tokenizer

    path = tokenizer_path / "tokenizer.json" if tokenizer_path.is_dir() else tokenizer_path
    if not path.is_file():
        raise VsrError(f"--tokenizer {tokenizer_path}: no such file; name a tokenizer.json or its folder")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        # The tokenizers library raises a bare Exception for an unreadable file.
        if type(error) is not Exception:
            raise
        raise VsrError(
            f"--tokenizer {tokenizer_path}: not a tokenizer.json ({error}); name the one of a model"
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # "[SEP]" in a text is text
    return lambda texts: [len(encoded.ids) for encoded in tokenizer.encode_batch_fast(list(texts))]
