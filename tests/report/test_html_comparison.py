"""The report over several runs: scores, settings and predictions side by side, and no text that becomes HTML."""

import re
from html.parser import HTMLParser

import pytest

from vsr_cli.cli.report import run_report_of_several
from vsr_cli.errors import VsrError
from vsr_cli.files.atomic import write_json

from ..written_evaluation import HOSTILE, settle


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.images: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])


@pytest.fixture
def runs(tmp_path, write):
    """Two evaluated runs, of which the second is better."""
    return [
        settle(write(tmp_path / name, seed=seed, skill=skill)) for name, seed, skill in (("a", 1, 3), ("<b>", 2, 7))
    ]


@pytest.fixture
def report(runs, tmp_path):
    write_json(runs[1] / "config.json", {"temporal": {"name": "lstm"}, "training": {"seed": 2}})
    page, text = run_report_of_several(runs, None, "test", most=3, out=tmp_path / "shown/all.html")
    return page.read_text(), text.read_text()


def test_page_has_scores_settings_and_a_panel_for_each_run(report):
    page, _ = report
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>', page)
    assert rows[:2] == ["bleu ↑", "mse ↓"]
    assert "temporal.name" in rows
    assert page.count('class="significantly-better"') >= 1
    assert page.count("<article") == 3
    assert page.count('class="predicted"') == 6
    tags = Tags(page)
    assert len(tags.images) == 3 * (4 + 1 + 2)
    assert all(source.startswith("data:image/webp;base64,") for source in tags.images)


def test_texts_of_stories_and_names_are_never_html(report):
    page, text = report
    assert "script" not in Tags(page).names
    assert "<b>" not in re.sub(r"<b( [^>]*)?>(actual|a|&lt;b&gt;)</b>|<b>test</b>", "", page)
    assert HOSTILE not in page
    assert "<b>" not in text
    assert "script-src" not in page


def test_markdown_has_the_scores_and_the_different_settings(report):
    _, text = report
    assert "| a |" in text
    assert "significantly better than a" in text
    assert "| temporal.name | gru | lstm |" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (None, "name it with --out FILE.html"),
        ("x.md", "is not the name of an HTML page"),
        ("folder.html", "is a folder"),
        ("mine.html", "nothing is overwritten"),
        ("notes.html", "notes.md exists and is no report"),
    ],
)
def test_report_overwrites_no_other_file(runs, tmp_path, name, words):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "mine.html").write_text("mine")
    (tmp_path / "notes.md").write_text("mine")
    with pytest.raises(VsrError, match=re.escape(words)):
        run_report_of_several(runs, None, "test", most=3, out=tmp_path / name if name else None)
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_report_replaces_its_own_page(runs, tmp_path):
    out = tmp_path / "all.html"
    first = run_report_of_several(runs, None, "test", most=2, out=out)[0].read_bytes()
    assert run_report_of_several(runs, None, "test", most=2, out=out)[0].read_bytes() == first
