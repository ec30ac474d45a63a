from collections.abc import Sequence
from functools import cache

import nltk.data
import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer
from nltk.tokenize import wordpunct_tokenize
from nltk.translate.meteor_score import single_meteor_score
from rouge_score.rouge_scorer import RougeScorer

from vsr_cli.api import Metric, Options, Sample, VsrError
from vsr_cli.evaluation.normalize import clean_text
from vsr_cli.evaluation.scoring import read_references
from vsr_plugins.metrics import BleuOptions, ChrfOptions, RougeOptions
from vsr_plugins.metrics import bleu as bleu_module
from vsr_plugins.metrics import chrf as chrf_module
from vsr_plugins.metrics import cider as cider_module
from vsr_plugins.metrics import diversity as variety_module
from vsr_plugins.metrics import meteor as meteor_module
from vsr_plugins.metrics import rouge as rouge_module
from vsr_plugins.metrics.tokens import PorterStems, bleu_tokenizer
from vsr_plugins.metrics.wordnet import Synset, WordNet

from .samples import text_sample

PREDICTED = ["The man walks home.", "She smiled at the dog, and it ran!", "", "a a a a", "Rain 1,000 times"]
REFERENCE = [
    "A man walked home slowly.",
    "She smiles at the cat; it ran.",
    "Nothing.",
    "a",
    "rain fell 1,000 times",
]

words = st.sampled_from(["the", "man", "walks", "walked", "home", "The", "dog", ",", ".", "and", ""])
pairs = st.tuples(st.lists(words, max_size=8).map(" ".join), st.lists(words, min_size=1, max_size=8).map(" ".join))


class Nothing:
    """A WordNet that knows no word."""

    def synsets(self, lemma: str) -> Sequence[Synset]:
        return []


def samples(predicted: Sequence[str] = PREDICTED, reference: Sequence[str] = REFERENCE) -> list[Sample]:
    return [text_sample(one, other) for one, other in zip(predicted, reference, strict=True)]


def metrics() -> dict[str, Metric]:
    return {
        "bleu": bleu_module.build(BleuOptions()),
        "rouge": rouge_module.build(RougeOptions()),
        "meteor": meteor_module.Meteor(Nothing(), source="none"),
    }


@pytest.mark.parametrize("name", ["bleu", "rouge", "meteor"])
def test_empty_predictions_score_zero_and_no_window_is_refused(name: str) -> None:
    metric = metrics()[name]
    scores = metric.combine(metric.measure([text_sample("", "A man."), text_sample("", "A dog.")]))
    assert next(iter(scores)) == name
    assert set(scores.values()) == {0.0}
    assert metric.combine(metric.measure([text_sample("", "")]))[name] == 0
    assert metric.combine(metric.measure([text_sample("A man.", "")]))[name] == 0
    nothing = metric.measure([])
    assert nothing.shape == (0, metric.measure(samples()).shape[1])
    with pytest.raises(AssertionError):
        metric.combine(nothing)


@pytest.mark.parametrize("smooth", ["exp", "floor", "add-k", "none"])
@pytest.mark.parametrize("tokenize", ["13a", "intl", "char", "none"])
@pytest.mark.parametrize("lowercase", [True, False])
def test_bleu_equals_sacrebleu(smooth: str, tokenize: str, lowercase: bool) -> None:
    build, name = (bleu_module.build_lower, "bleu-lower") if lowercase else (bleu_module.build, "bleu")
    metric = build(BleuOptions.model_validate({"smooth": smooth, "tokenize": tokenize}))
    for rows in (samples(), samples()[:1], samples()[2:4], samples(REFERENCE)):
        ours = metric.combine(metric.measure(rows))
        theirs = sacrebleu.corpus_bleu(
            [row.predicted_text for row in rows],
            [[row.reference_text for row in rows]],
            smooth_method=smooth,
            tokenize=tokenize,
            lowercase=lowercase,
        )
        assert ours[name] == theirs.score
        assert [ours[f"{name}-precision-{n}"] for n in (1, 2, 3, 4)] == theirs.precisions
        assert ours[f"{name}-brevity-penalty"] == theirs.bp
        assert ours[f"{name}-length-ratio"] == theirs.ratio


@given(st.lists(pairs, min_size=1, max_size=6), st.data())
def test_bleu_of_any_selection_equals_sacrebleu(texts: list[tuple[str, str]], data: st.DataObject) -> None:
    metric = bleu_module.build(BleuOptions())
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=8))
    statistics = metric.measure([text_sample(*pair) for pair in texts])
    predicted, reference = zip(*(texts[index] for index in chosen), strict=True)
    expected = sacrebleu.corpus_bleu(predicted, [reference]).score
    assert metric.combine(statistics[chosen])["bleu"] == expected


def test_bleu_signature_equals_sacrebleu() -> None:
    version = sacrebleu.__version__
    lower = bleu_module.build_lower(BleuOptions())
    assert lower.signature == f"nrefs:1|case:lc|eff:no|tok:13a|smooth:exp|version:{version}"
    mixed = bleu_module.build(BleuOptions(smooth="floor"))
    assert mixed.signature == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:floor[0.10]|version:{version}"


def test_bleu_causes_no_sacrebleu_warning(caplog: pytest.LogCaptureFixture) -> None:
    bleu_module.build(BleuOptions()).measure(samples())
    assert not caplog.records


@pytest.mark.parametrize("stemmer", [True, False])
def test_rouge_is_the_mean_of_rouge_scores(stemmer: bool) -> None:
    metric = rouge_module.build(RougeOptions(stemmer=stemmer))
    scorer = RougeScorer(["rougeL", "rouge1", "rouge2"], use_stemmer=stemmer)
    each = [scorer.score(row.reference_text, row.predicted_text) for row in samples()]
    assert metric.combine(metric.measure(samples())) == {
        "rouge": pytest.approx(np.mean([score["rougeL"].fmeasure for score in each])),
        "rouge-1": pytest.approx(np.mean([score["rouge1"].fmeasure for score in each])),
        "rouge-2": pytest.approx(np.mean([score["rouge2"].fmeasure for score in each])),
    }
    assert f"stemmer:{'porter' if stemmer else 'no'}|" in metric.signature


def test_rouge_of_a_known_pair() -> None:
    """Lin (2004), "ROUGE-L": of these two, with the same bigrams right, one scores 3/4 and the other 2/4."""
    metric = rouge_module.build(RougeOptions(stemmer=False))
    reference = "police killed the gunman"
    near = metric.combine(metric.measure([text_sample("police kill the gunman", reference)]))
    far = metric.combine(metric.measure([text_sample("the gunman kill police", reference)]))
    assert near == {"rouge": 0.75, "rouge-1": 0.75, "rouge-2": pytest.approx(1 / 3)}
    assert far["rouge"] == 0.5


GUIDE = "It is a guide to action that ensures that the military will forever heed Party commands"


@pytest.mark.parametrize(
    ("reference", "predicted", "score"),
    [
        # nltk.translate.meteor_score's docstring
        (
            GUIDE,
            "It is a guide to action which ensures that the military always obeys the commands of the party",
            0.6944,
        ),
        ("this is a cat", "non matching hypothesis", 0.0),
        # nltk/test/meteor.doctest, after Wikipedia's article on METEOR
        ("The cat sat on the mat", "The cat sat on the mat", 0.9977),
        ("The cat sat on the mat", "on the mat sat the cat", 0.5),
        ("The cat sat on the mat", "The cat was sat on the mat", 0.9654),
        ("create or update a vm set", "creates or updates a virtual machine scale set", 0.7806),
    ],
)
def test_meteor_of_published_examples(reference: str, predicted: str, score: float) -> None:
    metric = meteor_module.build(Options())
    assert metric.combine(metric.measure([text_sample(predicted, reference)]))["meteor"] == pytest.approx(
        score, abs=5e-5
    )


def test_meteor_counts_synonyms() -> None:
    metric = meteor_module.build(Options())
    blind = meteor_module.Meteor(Nothing(), source="none")
    pair = [text_sample("she is in the auto", "she is in the car")]
    assert metric.measure(pair)[0, 0] > 0.9 > blind.measure(pair)[0, 0]


def test_meteor_separates_punctuation_and_ignores_case() -> None:
    metric = meteor_module.Meteor(Nothing(), source="none")
    tokens = ["she", "ran", ".", "he", "sat", "."]
    expected = single_meteor_score(tokens, tokens[:-1], wordnet=Nothing())
    assert metric.measure([text_sample("She ran. HE sat", "she ran. He sat.")])[0, 0] == expected


def test_meteor_signature_says_which_wordnet() -> None:
    assert "|tok:wordpunct|stemmer:porter|" in meteor_module.Meteor(Nothing(), source="9.9-test").signature
    assert "|wordnet:9.9-test|" in meteor_module.Meteor(Nothing(), source="9.9-test").signature


@cache  # each reads the files of WordNet anew
def meteor_and_wordnet() -> tuple[Metric, WordNet]:
    return meteor_module.build(Options()), WordNet()


@settings(deadline=None, max_examples=50)
@given(st.lists(pairs, min_size=1, max_size=5))
def test_meteor_equals_nltk(texts: list[tuple[str, str]]) -> None:
    metric, wordnet = meteor_and_wordnet()
    expected = [
        single_meteor_score(wordpunct_tokenize(two.lower()), wordpunct_tokenize(one.lower()), wordnet=wordnet)
        for one, two in texts
    ]
    assert metric.measure([text_sample(*pair) for pair in texts])[:, 0].tolist() == expected


def test_meteor_needs_no_system_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nltk.data, "path", [])
    metric = meteor_module.build(Options())
    assert metric.measure([text_sample("she is in the auto", "she is in the car")])[0, 0] > 0.9
    assert "|wordnet:3.0|" in metric.signature


@given(st.lists(pairs, min_size=1, max_size=6), st.sampled_from([0, 2]))
def test_chrf_equals_sacrebleu(texts: list[tuple[str, str]], word_order: int) -> None:
    metric = chrf_module.build(ChrfOptions(word_order=word_order))
    predicted, reference = [one for one, _ in texts], [other for _, other in texts]
    ours = metric.combine(metric.measure(samples(predicted, reference)))["chrf"]
    theirs = sacrebleu.corpus_chrf(predicted, [reference], word_order=word_order).score
    lowered = sacrebleu.corpus_chrf(
        [text.lower() for text in predicted], [[text.lower() for text in reference]], word_order=word_order
    ).score
    assert ours == pytest.approx(lowered)
    assert metric.signature.startswith("nrefs:1|case:lc")
    if all(text == text.lower() for text in predicted + reference):
        assert ours == pytest.approx(theirs)


def test_stems_equal_nltk_porter_stems() -> None:
    words_ = ["walking", "Walked", "ponies", "sky", "relational", "the"]
    assert [PorterStems().stem(word) for word in words_] == [PorterStemmer().stem(word) for word in words_]


def test_rouge_of_the_example_in_its_own_manual() -> None:
    """rouge-score's README: ROUGE-1 has precision 0.75 and recall 0.667, ROUGE-L 0.625 and 0.556."""
    metric = rouge_module.build(RougeOptions())
    pair = text_sample("The quick brown dog jumps on the log.", "The quick brown fox jumps over the lazy dog")
    found = metric.combine(metric.measure([pair]))
    assert found["rouge-1"] == pytest.approx(2 * 0.75 * (6 / 9) / (0.75 + 6 / 9))
    assert found["rouge"] == pytest.approx(2 * 0.625 * (5 / 9) / (0.625 + 5 / 9))


def test_bleu_precision_of_the_example_in_its_paper() -> None:
    """Papineni et al. (2002), section 2.1: seven times "the" has a modified unigram precision of 2/7."""
    metric = bleu_module.build_lower(BleuOptions())
    found = metric.combine(metric.measure([text_sample("the the the the the the the", "The cat is on the mat")]))
    assert found["bleu-lower-precision-1"] == pytest.approx(100 * 2 / 7)


@given(st.lists(st.sampled_from("abcd"), max_size=80), st.lists(st.sampled_from("abcde"), max_size=80))
def test_rouge_l_equals_rouge_score(predicted: list[str], reference: list[str]) -> None:
    one, other = " ".join(predicted), " ".join(reference)
    expected = RougeScorer(["rougeL"], use_stemmer=False).score(other, one)["rougeL"].fmeasure
    measured = rouge_module.build(RougeOptions(stemmer=False)).measure([text_sample(one, other)])
    assert measured[0, 0] == pytest.approx(expected)


EVERY_SCRIPT = {
    "English": ["The fox ran over the hill.", "She don't like the café near 3.5 old stones!"],
    "Chinese": ["我们在公园里看见一只小狗。", "狐狸跑过山坡，看见月亮。"],
    "Japanese": ["私は公園で小さな犬を見た。", "きつねがおかをこえてはしった。"],
    "Thai": ["สุนัขจิ้งจอกวิ่งข้ามเนินเขา", "เธอเห็นดวงจันทร์เหนือทะเล"],
    "Khmer": ["ខ្ញុំឃើញឆ្កែតូចមួយ។", "នាងរត់លើភ្នំ។"],
    "Hindi": ["लोमड़ी पहाड़ी पर दौड़ी।", "उसने चाँद देखा और वह हँसा।"],
    "Arabic": ["ركض الثعلب فوق التل.", "ورأى القمرَ بينما سقط المطر؟"],
    "Amharic": ["ቀበሮው በኮረብታው ላይ በፍጥነት ሮጠ።", "ልጅቷ ጨረቃን አየች እና ሳቀች።"],
    "Korean": ["여우가 언덕을 넘어 빨리 달렸다.", "그녀는 달을 보고 크게 웃었다."],
    "Russian": ["Лиса бежала через холм.", "Она увидела луну и засмеялась."],
    "emoji": ["😀 🦊 🌧️ 👨\u200d👩\u200d👧 🏠", "🇫🇷🌊❤️👍🏽🎉"],
    "mixed": ["I ate 寿司 with my friend अमर today.", "我们 love the 🦊 in ประเทศไทย."],
}
TOKENIZERS = {"Chinese": "zh", "Japanese": "char", "Thai": "char", "Khmer": "char", "Hindi": "intl", "Arabic": "intl"}
TOKENIZERS |= {"English": "13a", "Amharic": "intl", "Korean": "13a", "Russian": "13a", "emoji": "intl", "mixed": "char"}
OTHER = ["nothing of that kind", "完全不同的句子", "ไม่มีอะไร", "कुछ नहीं मिला यहाँ", "🚗 🚀 🎈 🎁"]


def text_metrics() -> dict[str, Metric]:
    return {
        "bleu": bleu_module.build(BleuOptions()),
        "rouge": rouge_module.build(RougeOptions()),
        "meteor": meteor_module.build(Options()),
        "chrf": chrf_module.build(ChrfOptions()),
        "cider": cider_module.build(Options()),
    }


@pytest.mark.parametrize("script", EVERY_SCRIPT)
@pytest.mark.parametrize("cleaned", [True, False])
def test_every_script_scores_highest_against_itself(script: str, cleaned: bool) -> None:
    references = [clean_text(text) if cleaned else text for text in EVERY_SCRIPT[script]]
    metrics, unavailable = read_references(text_metrics(), references)
    assert unavailable == {}
    for name, metric in metrics.items():
        itself = metric.combine(metric.measure(samples(references, references)))[name]
        perfect = metric.perfect  # type: ignore[attr-defined]
        assert itself == pytest.approx(perfect, rel=0.01), name  # METEOR's fragmentation penalty is never 0
        swapped = metric.combine(metric.measure(samples(references[::-1], references)))[name]
        assert swapped < 0.7 * perfect, name
        for other in OTHER:
            assert metric.combine(metric.measure(samples([other] * 2, references)))[name] < 0.5 * perfect, name


@pytest.mark.parametrize("script", EVERY_SCRIPT)
def test_missing_word_lowers_the_score_in_every_script(script: str) -> None:
    references = [clean_text(text) for text in EVERY_SCRIPT[script]]
    metrics, _ = read_references(text_metrics(), references)
    shorter = [text[:-3] for text in references]
    for name, metric in metrics.items():
        score = metric.combine(metric.measure(samples(shorter, references)))[name]
        assert 0.2 * metric.perfect < score < 0.99 * metric.perfect, name  # type: ignore[attr-defined]


@pytest.mark.parametrize("script", TOKENIZERS)
def test_bleu_tokenizer_follows_the_references(script: str) -> None:
    metric = bleu_module.build(BleuOptions())
    read_references({"bleu": metric}, EVERY_SCRIPT[script])
    assert f"|tok:{TOKENIZERS[script]}|" in metric.signature
    named = bleu_module.build(BleuOptions(tokenize="none"))
    read_references({"bleu": named}, EVERY_SCRIPT[script])
    assert "|tok:none|" in named.signature


def test_bleu_tokenizer_follows_the_first_measured_references() -> None:
    metric = bleu_module.build(BleuOptions())
    chinese = samples(EVERY_SCRIPT["Chinese"], EVERY_SCRIPT["Chinese"])
    assert metric.combine(metric.measure(chinese))["bleu"] == pytest.approx(100)
    assert "|tok:zh|" in metric.signature
    metric.measure(samples(EVERY_SCRIPT["Thai"], EVERY_SCRIPT["Thai"]))
    assert "|tok:zh|" in metric.signature


@pytest.mark.parametrize(
    ("references", "tokenizer"),
    [
        (["A name like 福 in a long English sentence is no reason to change."], "13a"),
        (["Only English.", "只有中文。"], "zh"),
        (["Only English.", "只有中文。", "ภาษาไทย"], "char"),
        (["Only English.", "केवल हिन्दी।"], "intl"),
        (["Café — “naïve” 5 €, 20 °C →"], "13a"),
        (["", "?!"], "13a"),
    ],
)
def test_mixed_corpora_get_a_tokenizer_for_all_scripts(references: list[str], tokenizer: str) -> None:
    assert bleu_tokenizer(references) == tokenizer


@pytest.mark.parametrize(
    ("script", "stemmer", "wordnet"),
    [("English", "porter", "3.0"), ("Hindi", "no", "no"), ("mixed", "porter-latin", "3.0-latin")],
)
def test_signatures_name_stemmer_and_wordnet(script: str, stemmer: str, wordnet: str) -> None:
    metrics, _ = read_references(text_metrics(), EVERY_SCRIPT[script])
    assert f"|stemmer:{stemmer}|" in metrics["rouge"].signature
    assert f"|stemmer:{stemmer}|" in metrics["meteor"].signature
    assert f"|wordnet:{wordnet}|" in metrics["meteor"].signature
    plain, _ = read_references({"rouge": rouge_module.build(RougeOptions(stemmer=False))}, EVERY_SCRIPT[script])
    assert "|stemmer:no|" in plain["rouge"].signature


def test_stems_of_other_scripts_are_unchanged() -> None:
    other = [word for script, texts in EVERY_SCRIPT.items() for text in texts for word in text.lower().split()]
    assert [word for word in other if not word.isascii() and PorterStems().stem(word) != word] == []


def test_word_metrics_are_unavailable_without_words() -> None:
    metrics = text_metrics() | {
        "distinct-1": variety_module.build_distinct_1(Options()),
        "rep-4": variety_module.build_rep_4(Options()),
        "context-overlap-4": variety_module.build_context_overlap(Options()),
    }
    usable, unavailable = read_references(metrics, ["?!", "...", "→ →"])
    assert set(usable) == {"bleu", "chrf"}
    for name, reason in unavailable.items():
        assert reason.startswith(f"{name}: the references hold no word")
        assert "\n" not in reason
    with pytest.raises(VsrError, match=r"^bleu: the references are empty"):
        bleu_module.build(BleuOptions()).read_references(["", " "])  # type: ignore[attr-defined]


@settings(deadline=None, max_examples=30)
@given(st.lists(pairs, min_size=1, max_size=6))
def test_reading_english_references_changes_no_score(texts: list[tuple[str, str]]) -> None:
    before = [(metric, metric.signature) for metric in metrics().values()]
    windows = [text_sample(*pair) for pair in texts]
    measured = [metric.measure(windows) for metric, _ in before]
    for (metric, signature), statistics in zip(before, measured, strict=True):
        read_references({"it": metric}, [*(other for _, other in texts), "a word"])
        assert metric.signature == signature
        assert np.array_equal(metric.measure(windows), statistics)
