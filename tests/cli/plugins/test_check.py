"""`vsr plugins check`, and `check_component` for tests of plugins."""

import json

import pytest

from vsr_cli.errors import VsrError
from vsr_cli.testing import check_component


def test_valid_component_passes_every_check(vsr):
    answer = vsr("plugins check concat --json")
    assert (answer.code, answer.err) == (0, "")
    (record,) = json.loads(answer.out)
    assert (record["kind"], record["name"], record["passed"]) == ("fusion", "concat", True)
    assert [check["check"] for check in record["checks"] if not check["passed"]] == []
    assert len(record["checks"]) > 5


def test_component_that_cannot_be_built_is_one_line(vsr):
    answer = vsr("plugins check hf-text --set text.model=nowhere-at-all")
    assert answer.code == 1
    title, line = answer.out.splitlines()
    assert title.startswith("text encoder hf-text, from vsr-cli ")
    assert line.startswith("FAILED  is built: text encoder: cannot load nowhere-at-all")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("plugins check concat --source stories/", "--source stories/: concat is not a dataset; leave it out"),
        (
            "plugins check lstm --set temporal.layer=2",
            "temporal model lstm has no option 'layer'; did you mean layers?",
        ),
        ("plugins check mse --set temporal.layers=2", "section 'temporal': this command does not use it"),
        ("plugins check concat --kind dataset", "dataset 'concat': there is none of this name"),
    ],
)
def test_a_mistake_is_one_line(vsr, line, words):
    answer = vsr(line)
    assert answer.code == 2
    (error,) = answer.errors
    assert words in error


def test_check_component_needs_kind_for_an_ambiguous_name():
    with pytest.raises(
        VsrError, match=r"several have this name \(temporal model and text decoder\); say which by kind="
    ):
        check_component("gru")
    check_component("mse")


def test_check_component_lists_failures():
    with pytest.raises(
        AssertionError, match=r"csv: 5 checks failed\nFAILED +describes its source: csv: no source is given"
    ):
        check_component("csv")
