"""The HTTP API, and what it refuses: files of the machine, addresses, and what cannot be used."""

import json
import urllib.error
import urllib.request
import zipfile

import pytest
from PIL import Image

from .conftest import TEXTS


@pytest.fixture(scope="module")
def client(comparison, tmp_path_factory):
    from gradio_client import Client

    return Client(comparison, verbose=False, download_files=tmp_path_factory.mktemp("files"), analytics_enabled=False)


@pytest.fixture
def frames(story):
    from gradio_client import handle_file

    return {"images": [handle_file(path) for path in sorted(story.glob("*.png"))], "texts": TEXTS}


def test_a_program_gets_what_the_python_api_returns(client, models, frames, story):
    text, image = client.predict(**frames, method="sample", seed=3, api_name="/predict")
    expected = models[0].predict(story, method="sample", seed=3)
    assert (text, Image.open(image).tobytes()) == (expected.text, expected.image.tobytes())
    texts, archive = client.predict(**frames, steps=2, api_name="/continue")
    assert texts == [frame.text for frame in models[0].continue_story(story, steps=2)]
    with zipfile.ZipFile(archive) as opened:
        assert opened.read("story/06.txt").decode() == f"{texts[1]}\n"
    drawn = client.predict(**frames, text="Ana sleeps.", seed=1, api_name="/draw")
    assert Image.open(drawn).tobytes() == models[0].draw(story, "Ana sleeps.", seed=1).tobytes()


@pytest.mark.parametrize(
    ("name", "arguments", "part"),
    [
        ("predict", {"texts": TEXTS[:3]}, "4 images and 3 texts"),
        ("predict", {"texts": "Ana"}, "texts: not a list of strings"),
        ("predict", {"texts": ["x" * 2001, *TEXTS[1:]]}, "frame 1: its text is too long (got 2001 characters)"),
        ("predict", {"seed": -1}, "decoding.seed"),
        ("continue", {"steps": 9}, "steps: not a number from 1 to 8 (got 9)"),
        ("continue", {"steps": None}, "steps: not a number from 1 to 8 (got None)"),
        ("draw", {"text": " "}, "text: no words"),
        ("draw", {"text": "x" * 2001}, "text: its text is too long"),
        ("draw", {"text": "Ana", "run": "two"}, "the image decoder deconv does not read the text"),
    ],
)
def test_a_mistake_is_one_line(client, frames, name, arguments, part):
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError) as caught:
        client.predict(**{**frames, **arguments}, api_name=f"/{name}")
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def call(address, data, *, kind="predict"):
    """Post a call as a program without Gradio's client would; return the status of each answer until it is refused."""
    request = urllib.request.Request(
        f"{address}gradio_api/call/{kind}",
        json.dumps({"data": data}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{address}gradio_api/call/{kind}/{event}") as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"


UPLOADED = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ([["/etc/passwd"], ["Ana"], "greedy", 0, "one"], "The 'meta' field must be explicitly provided"),
        ([[UPLOADED], ["Ana"], "greedy", 0, "one"], "not uploaded by a user"),
        ([[{**UPLOADED, "path": "/a\0b"}], ["Ana"], "greedy", 0, "one"], "null byte"),
        ([[{**UPLOADED, "path": 5}], ["Ana"], "greedy", 0, "one"], "the arguments of the call cannot be used"),
        ([[], ["Ana"], "magic", 0, "one"], "magic is not in the list of choices"),
        ([[], ["Ana"], "greedy", "soon", "one"], "a `number` component"),
        ([[], ["Ana"], "greedy", 0, ["one"]], "run: ['one'] is not one of one, two"),
        ([[]], "receive enough input values (needed: 5, got: 1)"),
        ([[None] * 25, ["Ana"] * 25, "greedy", 0, "one"], "the arguments of the call cannot be used"),
    ],
)
def test_a_call_of_wrong_arguments_is_refused_in_one_line(comparison, data, part):
    answer = call(comparison, data)
    assert "event: error" in answer
    line = json.loads(answer.split("data: ", 1)[1])["error"]
    assert part in line
    assert len(line.splitlines()) == 1


def test_an_unknown_endpoint_is_refused(comparison):
    assert call(comparison, [], kind="nope").startswith("400 ")
    assert "there is no such endpoint" in call(comparison, [], kind="nope")


def test_no_file_of_the_machine_is_read_or_served(comparison, models):
    secret = models[0].run / "config.json"
    for place in (secret, "/etc/passwd"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{comparison}gradio_api/file={place}")
        file = {"path": str(place), "meta": {"_type": "gradio.FileData"}}
        assert "event: error" in call(comparison, [[file], ["Ana"], "greedy", 0, "one"])


def test_no_address_is_fetched(comparison):
    for path in ("https://example.org/a.png", " HTTP://127.0.0.1/a.png", "ftp://example.org/a.png"):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for data in ([[file], ["Ana"], "greedy", 0, "one"], [[], [{"x": [file]}], "greedy", 0, "one"]):
            assert call(comparison, data).startswith("400 ")
    assert call(comparison, [[], ["x" * 2_000_000], "greedy", 0, "one"]).startswith("400 ")


def test_the_page_names_no_other_host(comparison):
    import re

    with urllib.request.urlopen(comparison) as answer:
        html = answer.read().decode()
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert set(re.findall(r"https?://([\w.-]+)", html)) <= {"127.0.0.1"}
