"""JSON without NaN and Infinity."""

import ast
import json
import math
from pathlib import Path

import pytest

from vsr_cli.console import print_json
from vsr_cli.files.strict_json import from_json, to_json, undefined_as_null

PROGRAM = Path(__file__).parents[2] / "vsr_cli"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_non_finite_numbers_are_refused_or_null(number):
    value = {"a": [1.5, number, {"b": (number, "NaN")}]}
    with pytest.raises(ValueError, match="Out of range"):
        to_json(value)
    assert from_json(to_json(undefined_as_null(value))) == {"a": [1.5, None, {"b": [None, "NaN"]}]}


@pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', "[-Infinity]", "[" * 100_000, "{", b"\xff", "1" * 5000])
def test_invalid_json_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011
        from_json(text)


def test_name_with_surrogates_can_be_written():
    assert from_json(to_json({"name": "a\udcff"}).encode()) == {"name": "a\udcff"}
    assert to_json({"name": "héé"}) == '{"name": "héé"}'


def test_printed_json_is_strict(capsys):
    print_json({"score": math.nan, "scores": [math.inf, 2.0]})
    text = capsys.readouterr().out
    assert json.loads(text, parse_constant=pytest.fail) == {"score": None, "scores": [None, 2.0]}


def test_other_modules_do_not_use_json_directly():
    found = []
    for path in PROGRAM.rglob("*.py"):
        if path.name in ("strict_json.py", "foreign_models.py"):  # some models' settings do hold Infinity
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            found += [path.name] if "json" in names else []
    assert not found
