"""`vsr plugins new`: a package with a component that works, to start from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import VsrError
from ..files.atomic import replacing_folder
from ..plugin.kinds import MODEL_COMPONENTS, Kind

HEAVY = {"dataset": "reader", "metrics": "metric"}
"""The module that does the work, by section; a part's is `model`."""


def write_package(kind: Kind, name: str, out: Path) -> Path:
    """Write the package into a folder of its own under `out` and give that folder.

    Raises VsrError if the name cannot be a component's, or something is in the folder's place.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", name):
        raise VsrError(
            f"name '{name}': cannot be a component's; take lower-case words and digits joined by '-', first a letter, "
            "such as slow-memory"
        )
    folder = out / f"vsr-{name.replace('_', '-')}"
    if folder.exists() or folder.is_symlink():
        raise VsrError(f"{folder}: is there already; choose another name, or another place by --out")
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
