"""What can be said of decoding, and what is kept of it."""

import pytest

from vsr_cli.api import Decoding, VsrError
from vsr_cli.config.experiment import resolve_decoding, resolve_evaluation
from vsr_cli.config.resolve import parse_set
from vsr_cli.plugin.discovery import registry


def resolved(*assignments):
    return resolve_decoding(registry(), parse_set(assignments))


def test_the_default_is_greedy_and_only_what_its_method_reads_is_kept():
    assert resolved().facts() == {"method": "greedy", "no_repeat_ngram": 0}
    beam = resolved("decoding.method=beam", "decoding.beams=8")
    assert beam.facts() == {"method": "beam", "beams": 8, "length_penalty": 1.0, "no_repeat_ngram": 0}
    drawn = {"method": "sample", "temperature": 0.7, "top_k": 0, "top_p": 0.9, "seed": 2, "no_repeat_ngram": 3}
    assert resolved(*(f"decoding.{name}={value}" for name, value in drawn.items())).facts() == drawn


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["decoding.beams=4"], "--set decoding.beams=4: greedy decoding does not use it; leave it out, or choose "
         "--decoding beam (given: '4')"),
        (["decoding.method=beam", "decoding.top_p=0.9"], "--set decoding.top_p=0.9: beam decoding does not use it"),
        (["decoding.method=sample", "decoding.beam=3"], "decoding has no option 'beam'; did you mean beams?"),
        (["decoding.method=sample", "decoding.top_p=0"], "greater than 0"),
        (["decoding.method=sample", "decoding.temperature=nan"], "finite"),
        (["decoding.method=beam", "decoding.length_penalty=inf"], "finite"),
        (["decoding.method=nucleus"], "'greedy', 'beam' or 'sample'"),
        (["temporal.layers=2"], "section 'temporal': this command does not use it; it uses: decoding"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_told_with_what_helps(assignments, said):
    with pytest.raises(VsrError) as error:
        resolved(*assignments)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_mistakes_of_metrics_and_decoding_are_told_together():
    layers = parse_set(["metrics.bleu.case=no", "decoding.beems=2", "decoding.seed=1"])
    with pytest.raises(VsrError) as error:
        resolve_evaluation(registry(), ["bleu"], layers)
    lines = str(error.value).splitlines()
    assert [part in line for part, line in zip(["'case'", "--decoding sample", "'beems'"], lines, strict=True)]


def test_no_two_decodings_have_one_label():
    decodings = [
        Decoding(),
        Decoding(no_repeat_ngram=3),
        Decoding(method="beam"),
        Decoding(method="beam", beams=8),
        Decoding(method="beam", length_penalty=0.6),
        Decoding(method="sample"),
        Decoding(method="sample", seed=8),
        Decoding(method="sample", top_k=8),
        Decoding(method="sample", top_p=0.8),
    ]
    labels = [decoding.label() for decoding in decodings]
    assert labels[:4] == ["greedy", "greedy-no_repeat_ngram3", "beam", "beam-beams8"]
    assert len(set(labels)) == len(labels)
    assert Decoding(method="beam", beams=4).label() == "beam"
