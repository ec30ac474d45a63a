"""The HTML page of `vsr report`: its content, and its behavior in a real browser."""

import base64
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vsr_cli.api import VsrError
from vsr_cli.cli.report import run_report
from vsr_cli.files.atomic import write_json
from vsr_cli.report.html import metric_figure
from vsr_cli.report.html_gallery import shared_and_own

from ..written_evaluation import seal


@pytest.fixture
def page(run):
    return run_report(run, None, "test", most=600)[0]


def storyboards(page):
    return storyboards_of(page.read_text())


def storyboards_of(text):
    (found,) = re.findall(r'<script type="application/json" id="storyboards">(.*?)</script>', text, re.S)
    return json.loads(found)


def test_a_text_is_split_into_shared_and_own_stretches():
    assert shared_and_own("The fox, at dusk, leaves.", "At noon the fox leaves") == ["The fox,", "at dusk,", "leaves."]
    assert shared_and_own("one two", "three") == ["", "one two"]
    assert shared_and_own("same words", "Same words!") == ["same words"]
    assert shared_and_own("", "anything") == [""]


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.sampled_from("abcd"), max_size=12))
def test_shared_words_are_a_longest_common_subsequence(words, others):
    stretches = shared_and_own(" ".join(words), " ".join(others))
    shared = " ".join(stretches[::2]).split()
    rest = iter(others)
    assert all(word in rest for word in shared)
    lengths = [[0] * (len(others) + 1)]
    for word in words:
        row = [0]
        for at, other in enumerate(others):
            row.append(max(row[-1], lengths[-1][at + 1], lengths[-1][at] + (word == other)))
        lengths.append(row)
    assert len(shared) == lengths[-1][-1]


def test_a_repetitive_text_is_compared_quickly():
    text, other = "x " * 20_000, ("x " * 9 + "y ") * 2000
    assert len(shared_and_own(text, other)[0].split()) > 3000


def test_joined_stretches_are_the_text():
    text = "At night, Nell strolls up to Mara's tent behind the windmill."
    parts = shared_and_own(text, "Late at night Otto strolls to the tent of Nell behind a windmill.")
    assert " ".join(filter(None, parts)) == text


def test_the_page_shows_the_alternatives_of_the_run(run):
    folder = run / "predictions/one/alternatives-sample"
    folder.mkdir(parents=True)
    Image.new("RGB", (60, 20), "red").save(folder / "storyboard.png")
    texts = ["Rain <b>falls</b>.", ""]
    write_json(folder / "prediction.json", {"story": "one & only", "alternatives": [{"text": text} for text in texts]})
    text = run_report(run, None, "test", most=600)[0].read_text()
    (section,) = re.findall(r'<section id="alternatives".*?</section>', text, re.S)
    assert "<b>one &amp; only</b> (sample decoding)" in section
    assert re.findall(r'<li dir="auto">(.*?)</li>', section) == ["Rain &lt;b&gt;falls&lt;/b&gt;.", "(no words)"]
    (board,) = re.findall(r'src="data:image/webp;base64,([^"]+)"', section)
    assert Image.open(io.BytesIO(base64.b64decode(board))).size == (60, 20)
    (folder / "storyboard.png").write_bytes(b"no image")
    with pytest.raises(VsrError, match=r"storyboard\.png: cannot be read .*; predict again") as caught:
        run_report(run, None, "test", most=600)
    assert "\n" not in str(caught.value)


def test_a_run_without_alternatives_has_no_section_of_them(page):
    assert 'id="alternatives"' not in page.read_text()


def test_the_page_loads_nothing_and_holds_no_url(page):
    text = page.read_text()
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"<(?:link|iframe|object|embed|base)\b|@import|url\(", text)


def test_story_texts_are_never_html(page):
    text = page.read_text()
    assert "<script>document" not in text
    assert "<i>run" not in text
    assert "a &lt;i&gt;run" in text
    assert "<script>document" in "".join(storyboards(page)["windows"][0]["predicted"][1])


def test_control_characters_are_escaped_in_both_reports(run, data):
    folder = run / "evaluations" / "test"
    hostile = "a\x1b[31m\u202eb\x9b\nerror: c"
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    (folder / "predictions.jsonl").write_text(
        "".join(json.dumps(line | {"prediction": hostile, "story": line["story"]}) + "\n" for line in lines)
    )
    result = json.loads((folder / "result.json").read_text())
    result["metrics"]["meteor"] = {"unavailable": hostile}
    result["metrics"]["bleu"]["scale"] = f"{hostile} | forged |"
    result["signature"] += f"|by:`{hostile}"
    write_json(folder / "result.json", result)
    seal(folder)
    page, text = (path.read_text() for path in run_report(run, None, "test", most=600))
    for report in (page, text):
        assert not set(report) & {*map(chr, range(0x7F, 0xA0)), "\x1b", "\u202e"}
        assert "\\x1b" in report
        assert "\\u202e" in report
    assert [line for line in text.splitlines() if line.startswith("error:")] == []
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert text.splitlines()[-1].count("`") == 2
    assert "\\x1b[31m" in json.dumps(storyboards_of(page)["windows"][0]["predicted"]).replace("\\\\", "\\")


def test_the_page_shows_verdicts_and_cautions(page):
    text = page.read_text()
    assert '<td class="verdict significantly-better">significantly better</td>' in text
    assert '<td class="verdict not-tested">not tested</td>' in text
    assert "Caution: only 12 stories were scored; take more." in text


def test_each_image_is_stored_once_and_each_window_refers_to_its_own(page, data):
    from vsr_cli.data.prepared import open_prepared

    windows, boards = open_prepared(data).windows("test"), storyboards(page)
    assert [(board["story"], board["start"]) for board in boards["windows"]] == list(
        zip(windows.stories, windows.starts.tolist(), strict=True)
    )
    distinct = len(set(windows.image_rows.ravel().tolist()))
    assert len(boards["images"]) == distinct + len(windows)
    first = boards["windows"][0]
    assert first["copied"][0] == first["context"][3][0]
    assert boards["metrics"] == {"bleu": "higher", "mse": "lower"}


def test_fewer_storyboards_are_evenly_sampled(run):
    page, _ = run_report(run, None, "test", most=3)
    boards = storyboards(page)["windows"]
    assert len(boards) == 3
    assert "3 of the " in page.read_text()


def test_data_that_was_not_scored_is_refused(run):
    result = json.loads((run / "evaluations/test/result.json").read_text())
    result["signature"] = result["signature"].replace("data:", "data:0")
    write_json(run / "evaluations/test/result.json", result)
    seal(run / "evaluations/test")
    with pytest.raises(VsrError, match=r"is not the data that was scored; name the right one with --data DIR"):
        run_report(run, None, "test", most=600)


def test_a_split_without_evaluation_is_one_line_with_the_remedy(run):
    with pytest.raises(VsrError, match=r"has no evaluation of the validation split \(it has: test\).*vsr evaluate"):
        run_report(run, None, "validation", most=600)


CELL = {"ci95": [4, 6], "scale": "", "signature": "", "components": {}, "upper_bound": None, "value": 5}


def positions(better, baseline, upper_bound=None):
    baselines = {
        "copy-last": {"value": baseline, "difference": 5 - baseline, "ci95": [-1, 1], "verdict": "not significant"}
    }
    figure = metric_figure("bleu", {**CELL, "better": better, "baselines": baselines, "upper_bound": upper_bound})
    return {mark.name: mark.at for mark in figure.marks}, figure


def test_further_right_is_better_whatever_the_direction():
    assert positions("higher", 3)[0]["copy-last"] < positions("higher", 3)[0]["model"]
    assert positions("lower", 3)[0]["copy-last"] > positions("lower", 3)[0]["model"]
    assert positions("one", 3)[1].aim < positions("one", 3)[0]["copy-last"]


def test_a_far_upper_bound_is_listed_and_not_drawn():
    assert positions("higher", 3, upper_bound=100)[0]["upper bound"] is None
    assert positions("higher", 3, upper_bound=7)[0]["upper bound"] is not None


def test_the_page_shows_the_loss_curves_of_a_run_with_a_history(run):
    assert 'alt="Losses and learning rate by epoch"' in run_report(run, None, "test", most=1)[0].read_text()
    (run / "history.jsonl").unlink()
    assert "<figure>" not in run_report(run, None, "test", most=1)[0].read_text()


def shown(browser):
    return browser.evaluate("[...document.querySelectorAll('.board h3')].map(title => title.firstChild.data)")


def current(browser):
    return browser.evaluate("[...document.querySelectorAll('.board')].findIndex(b => b.classList.contains('current'))")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_the_page_works_without_network_and_fits_the_window(browser, page, width, height):
    browser.open(page, width=width, height=height)
    assert browser.complaints == []
    assert [address for address in browser.requests if not address.startswith("data:")] == [page.resolve().as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.evaluate(
        "Promise.all([...document.images].map(i => i.decode()))"
        ".then(() => [...document.images].every(i => i.naturalWidth > 20))"
    )


def test_markup_in_a_story_is_shown_and_not_executed(browser, page):
    browser.open(page)
    browser.evaluate("document.querySelector('#search').focus()")
    browser.type("onerror")
    assert len(shown(browser)) == 1
    assert "<script>" in browser.evaluate("document.querySelector('.predicted').textContent")
    assert browser.evaluate("document.title") == "a <i>run: test split"


def test_keys_move_through_the_storyboards(browser, page):
    browser.open(page)
    assert current(browser) == -1
    for key, position in (("j", 0), ("j", 1), ("ArrowRight", 2), ("k", 1), ("ArrowLeft", 0), ("k", 0)):
        browser.press(key)
        assert current(browser) == position, key
    for _ in range(20):
        browser.press("j")
    assert current(browser) == 20
    box = browser.evaluate(
        "(({top, bottom}) => [top, bottom])(document.querySelector('.current').getBoundingClientRect())"
    )
    assert 0 <= box[0] < box[1] <= 900


def test_the_search_filters_and_takes_no_navigation_keys(browser, page, data):
    browser.open(page)
    browser.press("/")
    browser.type("sings z7z")
    assert browser.evaluate("document.querySelector('#search').value") == "sings z7z"
    assert len(shown(browser)) == 1
    assert "zebra z7z" in browser.evaluate("document.querySelector('.predicted').textContent")
    browser.type("jk")
    assert shown(browser) == []
    assert "No window matches" in browser.evaluate("document.querySelector('#gallery').textContent")
    assert browser.evaluate("document.querySelector('#count').textContent") == "0"


def test_a_story_can_be_chosen_and_the_order_changed(browser, page):
    boards = storyboards(page)["windows"]

    def choose(control, value):
        browser.evaluate(
            f"(c => {{ c.value = {json.dumps(value)}; c.dispatchEvent(new Event('change')); }})"
            f"(document.querySelector('#{control}'))"
        )
        return browser.evaluate("[...document.querySelectorAll('.board h3')].map(title => title.textContent)")

    def errors(titles):
        return [float(re.search(r"mse ([\d.]+)", title)[1]) for title in titles]

    browser.open(page)
    choose("order", "best")
    best = errors(choose("metric", "mse"))
    assert best == sorted(best)  # of an error, the least is the best
    assert best[0] == pytest.approx(min(board["scores"]["mse"] for board in boards), rel=1e-2)
    worst = errors(choose("order", "worst"))
    assert worst == sorted(worst, reverse=True)
    choose("order", "random")
    mixed = shown(browser)
    assert mixed != [board["story"] for board in boards][: len(mixed)]
    story = boards[-1]["story"]
    choose("story", story)
    assert shown(browser) == [board["story"] for board in boards if board["story"] == story]


def test_dark_and_light(browser, page):
    paper = "getComputedStyle(document.body).backgroundColor"
    browser.open(page, dark=False)
    light = browser.evaluate(paper)
    browser.evaluate("document.querySelector('#theme').click()")
    dark = browser.evaluate(paper)
    assert dark != light
    browser.open(page, dark=True)
    assert browser.evaluate(paper) == dark
    browser.evaluate("document.querySelector('#theme').click()")
    assert browser.evaluate(paper) == light


TEXTS = {
    "ركض الثعلب فوق التل, one": ("rtl", "ar"),
    "… שלום": ("rtl", "he"),
    "小狐狸跑过山坡": ("ltr", "zh"),
    "狐が走りました": ("ltr", "ja"),
    "लोमड़ी": ("ltr", "hi"),
    "A fox, 狐, ran": ("ltr", ""),
}


def test_each_text_has_its_direction_and_language(browser, page, tmp_path):
    text = page.read_text(encoding="utf-8")
    boards = storyboards_of(text)
    boards["windows"] = boards["windows"][:2]
    texts = iter(TEXTS)
    for board in boards["windows"]:
        board["story"] = "قصة"
        board["context"] = [[image, next(texts, "x")] for image, _ in board["context"]]
    start = text.index(">", text.index('id="storyboards"')) + 1
    changed = tmp_path / "report.html"
    written = json.dumps(boards).replace("<", "\\u003c")
    changed.write_text(text[:start] + written + text[text.index("</script>", start) :], encoding="utf-8")
    browser.open(changed)
    assert browser.complaints == []
    seen = browser.evaluate(
        "[...document.querySelectorAll('.context .text')]"
        ".map(text => [text.textContent, getComputedStyle(text).direction, text.lang])"
    )
    assert {text: (direction, language) for text, direction, language in seen if text in TEXTS} == TEXTS
    assert browser.evaluate("getComputedStyle(document.querySelector('.board h3')).direction") == "rtl"
