"""Decoding options: validation, and what a run stores of them."""

import pytest

from vsr_cli.api import Decoding, VsrError
from vsr_cli.api.decoding import sample_decodings
from vsr_cli.config.experiment import decoding_layer, resolve_decoding, resolve_evaluation
from vsr_cli.config.resolve import parse_set
from vsr_cli.plugin.discovery import registry


def resolved(*assignments):
    return resolve_decoding(registry(), parse_set(assignments))


def test_default_decoding_is_greedy_and_drops_unused_options():
    assert resolved().facts() == {"method": "greedy", "no_repeat_ngram": 0}
    beam = resolved("decoding.method=beam", "decoding.beams=8")
    assert beam.facts() == {"method": "beam", "beams": 8, "length_penalty": 1.0, "no_repeat_ngram": 0}
    assert resolved("decoding.method=mbr").facts() == {
        "method": "mbr", "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 0, "samples": 8, "utility": "meteor",
        "context_weight": 1.0, "context_candidates": False, "no_repeat_ngram": 0,
    }  # fmt: skip
    sampling = {"method": "sample", "temperature": 0.7, "top_k": 0, "top_p": 0.9, "seed": 2, "no_repeat_ngram": 3}
    assert resolved(*(f"decoding.{name}={value}" for name, value in sampling.items())).facts() == sampling


def test_the_seed_of_images_may_be_set_for_every_method():
    assert resolved("decoding.seed=3").facts() == {"method": "greedy", "seed": 3, "no_repeat_ngram": 0}
    assert resolved("decoding.method=beam", "decoding.seed=3").facts()["seed"] == 3


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["decoding.beams=4"], "--set decoding.beams=4: greedy decoding does not use it; leave it out, or set "
         "decoding.method=beam (given: '4')"),
        (["decoding.method=beam", "decoding.top_p=0.9"], "--set decoding.top_p=0.9: beam decoding does not use it"),
        (["decoding.method=sample", "decoding.beam=3"], "decoding has no option 'beam'; did you mean beams?"),
        (["decoding.method=sample", "decoding.top_p=0"], "greater than 0"),
        (["decoding.method=sample", "decoding.temperature=nan"], "finite"),
        (["decoding.method=beam", "decoding.length_penalty=inf"], "finite"),
        (["decoding.method=beam", "decoding.length_penalty=1000"], "less than or equal to 10"),
        (["decoding.method=nucleus"], "'greedy', 'beam', 'sample' or 'mbr'"),
        (["decoding.method=sample", "decoding.samples=4"], "--set decoding.samples=4: sample decoding does not use it; "
         "leave it out, or set decoding.method=mbr"),
        (["decoding.context_weight=0"], "greedy decoding does not use it; leave it out, or set decoding.method=mbr"),
        (["decoding.method=mbr", "decoding.beams=4"], "mbr decoding does not use it"),
        (["decoding.method=mbr", "decoding.samples=1"], "greater than or equal to 2"),
        (["decoding.method=mbr", "decoding.samples=1001"], "less than or equal to 1000"),
        (["decoding.method=mbr", "decoding.utility=bleu"], "'meteor', 'embedding' or 'both'"),
        (["temporal.layers=2"], "section 'temporal': this command does not use it; it uses: decoding"),
    ],
)  # fmt: skip
def test_invalid_decoding_is_one_line_with_remedy(assignments, said):
    with pytest.raises(VsrError) as error:
        resolved(*assignments)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_another_method_keeps_the_options_of_a_run_that_it_uses():
    run = Decoding(method="mbr", temperature=0.5, samples=24, no_repeat_ngram=4)
    base = decoding_layer(run, where="the run")
    other = [
        resolve_decoding(registry(), [base, *parse_set([f"decoding.method={name}"])]) for name in ("sample", "beam")
    ]
    assert other == [
        Decoding(method="sample", temperature=0.5, no_repeat_ngram=4), Decoding(method="beam", no_repeat_ngram=4)
    ]  # fmt: skip
    again = parse_set(["decoding.method=sample", "decoding.temperature=1"])
    assert resolve_decoding(registry(), [base, *again]).temperature == 1


def test_errors_of_metrics_and_decoding_are_reported_together():
    layers = parse_set(["metrics.bleu.case=no", "decoding.beems=2", "decoding.top_k=1"])
    with pytest.raises(VsrError) as error:
        resolve_evaluation(registry(), ["bleu"], layers)
    lines = str(error.value).splitlines()
    assert [part in line for part, line in zip(["'case'", "--decoding sample", "'beems'"], lines, strict=True)]


def test_decodings_have_distinct_labels():
    decodings = [
        Decoding(),
        Decoding(no_repeat_ngram=3),
        Decoding(seed=8),
        Decoding(method="beam", seed=8),
        Decoding(method="beam"),
        Decoding(method="beam", beams=8),
        Decoding(method="beam", length_penalty=0.6),
        Decoding(method="sample"),
        Decoding(method="sample", seed=8),
        Decoding(method="sample", top_k=8),
        Decoding(method="sample", top_p=0.8),
        Decoding(method="mbr"),
        Decoding(method="mbr", samples=16),
        Decoding(method="mbr", utility="embedding"),
        Decoding(method="mbr", context_weight=0),
        Decoding(method="mbr", context_candidates=True),
        Decoding(method="mbr", seed=8),
    ]
    labels = [decoding.label() for decoding in decodings]
    assert labels[:3] == ["greedy", "greedy-no_repeat_ngram3", "greedy-seed8"]
    assert labels[4:6] == ["beam", "beam-beams8"]
    assert len(set(labels)) == len(labels)
    assert Decoding(method="beam", beams=4).label() == "beam"


def test_mbr_samples_share_options_and_have_distinct_seeds():
    options = {"temperature": 0.7, "top_k": 9, "top_p": 0.9, "no_repeat_ngram": 3}
    decodings = sample_decodings(Decoding(method="mbr", samples=16, seed=5, **options))
    seeds = [decoding.seed for decoding in decodings]
    assert decodings == [Decoding(method="sample", seed=seed, **options) for seed in seeds]
    assert sample_decodings(Decoding(method="mbr", samples=3, seed=5, **options)) == decodings[:3]
    every = [each.seed for seed in range(100) for each in sample_decodings(Decoding(method="mbr", seed=seed))]
    assert len(set(every)) == len(every) == 800
