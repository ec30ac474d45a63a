"""Output in encodings other than UTF-8, and file names that are not UTF-8."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vsr_cli import console
from vsr_cli.api import nfc, shown
from vsr_cli.console import encodable, print_json
from vsr_cli.escaping import tolerate_encodings
from vsr_cli.files.atomic import read_json, write_json, write_text
from vsr_cli.report.tables import Column, fitting_table

ENCODINGS = ["ascii", "latin-1", "cp1252", "koi8-r"]


@pytest.fixture
def stdout(monkeypatch):
    """Make stdout a stream of some encoding that fails for other characters: stdout("ascii") returns its bytes."""

    def make(encoding: str) -> io.BytesIO:
        raw = io.BytesIO()
        monkeypatch.setattr(
            sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors="strict", write_through=True)
        )
        monkeypatch.setattr(console, "out", console._VisibleConsole())
        return raw

    return make


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_table_is_aligned_in_every_encoding(stdout, encoding):
    raw = stdout(encoding)
    columns = [Column("name…", ["我们", "é—x", "👍🏽"], justify="left"), Column("number", ["1", "2", "3"])]
    console.out.print(fitting_table(columns, width=40))
    lines = raw.getvalue().decode(encoding).splitlines()
    assert [line.rstrip()[-1] for line in lines] == ["r", "1", "2", "3"]
    assert len({len(line.rstrip()) for line in lines}) == 1
    assert lines[1].startswith("????")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_is_equal_in_every_encoding(stdout, encoding):
    raw = stdout(encoding)
    value = {"text": "é 我 👍🏽 \ud83d", "n": 1}
    print_json(value)
    assert json.loads(raw.getvalue().decode("ascii")) == value


def test_utf8_output_is_unchanged(stdout):
    raw = stdout("utf-8")
    print_json({"text": "é 我 👍🏽"})
    console.out.print("…我—")
    assert raw.getvalue().decode() == '{"text": "é 我 👍🏽"}\n…我—\n'
    assert encodable("x…我", "utf-8") == "x…我"


def test_streams_escape_unencodable_characters(stdout):
    raw = stdout("ascii")
    tolerate_encodings()
    sys.stdout.write("NAME… \udce9\n")
    assert raw.getvalue() == b"NAME\\u2026 \\udce9\n"


def test_help_is_printed_in_ascii():
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "LC_ALL": "C",
    }
    line = [sys.executable, "-m", "vsr_cli", "evaluate", "--help"]
    ran = subprocess.run(line, env=environment, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert b"--metrics" in ran.stdout
    assert ran.stdout.isascii()


def test_invalid_utf8_names_are_written(tmp_path: Path):
    name = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "a.json", {"name": name})
    assert read_json(tmp_path / "a.json", what="x") == {"name": name}
    write_text(tmp_path / "a.html", f"<p>{name}</p>")
    assert (tmp_path / "a.html").read_bytes() == b"<p>caf\\udce9</p>"


def test_utf8_names_are_read_in_the_c_locale():
    """As Python has the name of a file called "é" under LC_ALL=C."""
    name = "\udcc3\udca9"
    assert nfc(name) == shown(name) == "é"


def test_json_may_have_a_byte_order_mark(tmp_path: Path):
    write_json(tmp_path / "a.json", {"a": 1})
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.json").read_bytes())
    assert read_json(tmp_path / "a.json", what="x") == {"a": 1}
