"""Names and texts are escaped on the terminal, and stdout is reserved for results."""

import ast
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vsr_cli import console
from vsr_cli.cli.main import command_line
from vsr_cli.cli.parsing.commands import Command, leaves
from vsr_cli.errors import VsrError
from vsr_cli.escaping import visible, visible_json, visible_lines
from vsr_cli.progress import progress
from vsr_cli.report.tables import Column, fitting_table

PROGRAM = Path(console.__file__).parent
ACTING = [*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), *"\u2028\u2029\u202a\u202b\u202c\u202d\u202e"]
ACTING += [*"\u2066\u2067\u2068\u2069", "\udc80", "\ud83d"]
NAME = "a\x1b]0;pwned\x07\x1b[31mred\r\nerror: b\x9b2J\u202etxt\x7f"
SHOWN = r"a\x1b]0;pwned\x07\x1b[31mred\r\nerror: b\x9b2J\u202etxt\x7f"
MARKED = "[red]x[/red] [/] [/blue] :bomb: [link=file:///etc]y[/link] \\[bold]"


def test_control_characters_are_escaped():
    for character in ACTING:
        shown = visible(f"a{character}b")
        assert re.fullmatch(r"a\\(n|r|t|x[0-9a-f]{2}|u[0-9a-f]{4})b", shown), ascii(character)
    assert len({visible(character) for character in ACTING}) == len(ACTING)
    assert visible(NAME) == SHOWN
    assert visible("Füchse 狐 नमस्ते שלום 👩‍👩‍👧") == "Füchse 狐 नमस्ते שלום 👩‍👩‍👧"
    assert visible_lines("a\n\tb\x1b") == "a\n\tb\\x1b"


def test_json_has_no_control_characters():
    value = {"".join(ACTING): ["狐", *ACTING]}
    text = visible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert not set(text) & set(ACTING)
    assert "狐" in text


@pytest.fixture
def shown(monkeypatch):
    """Return what a part of the program writes to a terminal of 200 columns: shown(act)."""

    def write(act):
        stream = io.StringIO()
        monkeypatch.setenv("TERM", "xterm")
        for one in (console.out, console.err):
            monkeypatch.setattr(one, "_file", stream)
            monkeypatch.setattr(one, "_width", 200)
        act()
        return stream.getvalue()

    return write


def table_of(name):
    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    return table


def live(name):
    console.err._force_terminal = console.err.is_interactive = True
    try:
        with Live(Group(name), console=console.err, auto_refresh=False) as opened:
            opened.refresh()
    finally:
        console.err._force_terminal, console.err.is_interactive = None, False


WAYS = {
    "say": console.say,
    "warn": console.warn,
    "fail": console.fail,
    "print": console.out.print,
    "print soft": lambda name: console.out.print(name, soft_wrap=True, style="bold"),
    "styled": lambda name: console.out.print(console.styled("[bold]{}[/bold]", name)),
    "table": lambda name: console.out.print(table_of(name)),
    "fitting table": lambda name: console.out.print(fitting_table([Column("a", [name])], width=200)),
}


@pytest.mark.parametrize("way", WAYS)
def test_names_are_printed_on_one_line(shown, way):
    plain = shown(lambda: WAYS[way]("plain"))
    assert "plain" in plain
    for name, expected in ((NAME, SHOWN), (MARKED, MARKED)):
        written = shown(lambda name=name: WAYS[way](name))
        assert expected in written
        assert len(written.splitlines()) == len(plain.splitlines())
        assert not set(written) & (set(ACTING) - {"\n"})


def test_rich_texts_are_escaped(shown):
    written = shown(lambda: console.out.print(Text(NAME)))
    assert not set(written) & (set(ACTING) - {"\n"})
    assert r"\x1b]0;pwned" in written


def test_progress_bar_descriptions_are_escaped(shown):
    def run():
        console.err._force_terminal = console.err.is_interactive = True
        try:
            with progress() as bar:
                for name in (NAME, MARKED):
                    bar.add_task(name, total=1)
                bar.refresh()
        finally:
            console.err._force_terminal, console.err.is_interactive = None, False

    written = shown(run)
    assert MARKED in written
    assert SHOWN in written
    assert "\x1b]0" not in written
    assert "\x9b" not in written


def test_live_lines_are_escaped(shown):
    written = shown(lambda: live(NAME))
    assert SHOWN in written
    assert not {"\x9b", "\x07", "\u202e"} & set(written)


def test_several_errors_are_one_line_each(shown):
    error = VsrError("one: no\nerror: forged", "two: no")
    assert shown(lambda: console.fail(*error.lines)) == "error: one: no\\nerror: forged\nerror: two: no\n"
    assert str(VsrError("one", "two")) == "one\ntwo"


def test_rich_markup_is_used_in_one_module():
    """Whatever else holds a tag of rich's would show it as it is, and whatever interprets tags would those of names."""
    tags = re.compile(r"\[/?(?:bold|dim|red|green|yellow|blue|cyan|magenta|italic)[ \w]*\]|\[/\]")
    for path in sorted(PROGRAM.rglob("*.py")):
        patterns = set()
        for node in ast.walk(tree := ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "styled":
                assert isinstance(node.args[0], ast.Constant | ast.Name), f"{where}: markup outside of a literal"
                patterns.add(id(node.args[0]))
            if path.name == "console.py":
                continue
            if isinstance(node, ast.ImportFrom):
                assert node.module != "rich.markup", where
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("from_markup", "render_markup"), where
            if isinstance(node, ast.keyword) and node.arg == "markup":
                assert ast.unparse(node.value) == "False", where
            if isinstance(node, ast.Name) and node.id == "Console":
                raise AssertionError(f"{where}: a console that shows control characters")
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                assert not tags.search(ast.unparse(node)), f"{path.name}:{node.lineno}"


# What others print, while a command runs.


def test_stdout_is_reserved_for_results():
    commands = leaves(command_line())
    assert len(commands) > 15
    assert [command.name for command in commands if not isinstance(command, Command)] == []


PRINTS = """
import ctypes, logging, os, sys, warnings
from vsr_cli.console import out, print_json, results_alone_on_stdout
with results_alone_on_stdout():
    print("printed")
    os.write(1, b"written\\n")
    sys.__stdout__.write("to the old stdout\\n"); sys.__stdout__.flush()
    ctypes.CDLL(None).puts(b"by C"); ctypes.CDLL(None).fflush(None)
    os.system("echo by a child")
    warnings.warn("warned \\x1b[31m \\x9b")
    logging.getLogger("library").warning("logged \\x1b]0;pwned\\x07")
    print_json({"a": "\\x1b"})
    out.print("a table")
print("after")
"""


def test_prints_of_libraries_reach_stderr():
    done = subprocess.run([sys.executable, "-c", PRINTS], capture_output=True, text=True, check=True)
    assert done.stdout == '{"a": "\\u001b"}\na table\nafter\n'
    for said in ("printed", "written", "to the old stdout", "by C", "by a child", "warned \\x1b[31m", "logged \\x1b]0"):
        assert said in done.stderr
    assert not set(done.stderr) & (set(ACTING) - {"\n"})


def test_closed_stdout_is_an_error_for_results():
    line = f"{sys.executable} -m vsr_cli plugins list --json >&-"
    done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: stdout is closed")


def test_progress_bars_of_libraries_keep_carriage_returns():
    stream = io.StringIO()
    wrapped = console._VisibleStream(stream)
    wrapped.write("\rfetching 5 %")
    wrapped.write("\rfetching \r\x1b[2K")
    assert stream.getvalue() == "\rfetching 5 %\rfetching \\r\\x1b[2K"
