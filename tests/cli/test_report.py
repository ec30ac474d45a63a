"""`vsr report` on a run that was evaluated."""

import json

import pytest


def test_report_writes_html_and_markdown(vsr, evaluated):
    answer = vsr("report")
    assert answer.code == 0, answer.err
    folder = evaluated / "evaluations/test"
    assert answer.out.strip() == str(folder / "report.html")
    assert "<title>mine: test split</title>" in (folder / "report.html").read_text()
    text = (folder / "report.md").read_text()
    assert text.startswith("# mine: test split\n")
    assert f"data:{json.loads((folder / 'result.json').read_text())['signature'].split('data:')[1]}" in text
    assert json.loads(vsr("report runs/mine --json --windows 2").out) == {
        "page": str(folder / "report.html"),
        "markdown": str(folder / "report.md"),
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("report absent", "absent: there is no such folder; name a run, or what 'vsr score' wrote"),
        ("report runs/mine --split validation", "'vsr evaluate --run runs/mine --split validation' creates one"),
        ("report runs/mine --data absent", "absent"),
        ("report runs/mine --windows 0", "--windows"),
    ],
)
def test_mistakes_are_one_line(vsr, evaluated, line, said):
    answer = vsr(line)
    assert answer.code == 2
    (error,) = answer.errors
    assert said in error
