"""The Dockerfile: what it copies is sent to the builder and is enough to build the package."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SENT = {
    line.removeprefix("!")
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    if line.startswith("!")
}


def test_what_is_copied_is_sent_and_nothing_else():
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M):
        *sources, _ = line.split()
        copied |= set(sources)
    assert copied == SENT
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_package_is_built_from_what_is_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    files = [*project["project"]["license-files"], project["project"]["readme"]]
    files += project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert [name for name in files if Path(name).parts[0] not in SENT] == []


def test_extras_named_in_comments_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = set(re.findall(r"EXTRAS=([a-z,]+)", DOCKERFILE)[0].split(","))
    assert named <= set(project["project"]["optional-dependencies"])
