"""`vsr plugins new`: write a package with a working component, to start from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from ...console import say
from ...errors import VsrError
from ...files.atomic import replacing_folder
from ...plugin.kinds import KINDS, MODEL_COMPONENTS, Kind, kind_of_word
from ..arguments import as_path, complete_kind
from ..parsing.commands import examples

HEAVY = {"dataset": "reader", "metrics": "metric"}
"""The module that does the work, by section; `model` for the components of a model."""


@examples("vsr plugins new temporal-model slow-memory", "vsr plugins new metric length-ratio --out work/")
def plugins_new(
    kind: Annotated[
        str, typer.Argument(help="One of " + ", ".join(kind.word for kind in KINDS) + ".", autocompletion=complete_kind)
    ],
    name: Annotated[str, typer.Argument(help="The name of the component, e.g. slow-memory.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", parser=as_path, help="The folder in which the package's folder is written."
        ),
    ] = Path(),
) -> None:
    """Write a Python package with a working component, a test and a README, to change into your own."""
    made = kind_of_word(kind)
    folder = write_package(made, name, out)
    say(f"{folder}: the {made.title} {name}, which works as it is; its README.md describes the next steps")


def write_package(kind: Kind, name: str, out: Path) -> Path:
    """Write the package into a folder of its own under `out` and return that folder.

    Raises VsrError if the name is not valid, or if the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", name):
        raise VsrError(
            f"name '{name}': is not valid; use lower-case words and digits joined by '-', beginning with a letter, "
            "such as slow-memory"
        )
    folder = out / f"vsr-{name.replace('_', '-')}"
    if folder.exists() or folder.is_symlink():
        raise VsrError(f"{folder}: exists already; choose another name, or another folder with --out")
    pages = render_package(kind, name)
    out.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder) as temporary:
        for path, text in pages.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_text(text, encoding="utf-8")
    return folder


def render_package(kind: Kind, name: str) -> dict[str, str]:
    """Return the package's files: path to text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("vsr_cli.plugin"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    facts = _facts(kind, name)
    module, heavy = facts["module"], facts["heavy"]
    templates = {
        "pyproject.toml": "pyproject.toml.j2",
        "README.md": "README.md.j2",
        f"{module}/__init__.py": f"{kind.word}/__init__.py.j2",
        f"{module}/{heavy}.py": f"{kind.word}/{heavy}.py.j2",
        f"tests/test_{facts['plugin']}.py": "test.py.j2",
    }
    return {path: environment.get_template(template).render(facts) for path, template in templates.items()}


def _facts(kind: Kind, name: str) -> dict[str, Any]:
    plugin = name.replace("-", "_")
    if kind.section in MODEL_COMPONENTS:
        use = f"train {kind.flag} {name}"
    else:
        use = f"prepare --dataset {name}" if kind.section == "dataset" else f"evaluate --metrics {name}"
    return {
        "name": name,
        "plugin": plugin,
        "package": f"vsr-{name.replace('_', '-')}",
        "module": f"vsr_{plugin}",
        "camel": "".join(word.capitalize() for word in plugin.split("_")),
        "word": kind.word,
        "title": kind.title,
        "heavy": HEAVY.get(kind.section, "model"),
        "use": use,
    }
