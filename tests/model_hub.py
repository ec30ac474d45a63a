"""A local server that speaks the Hub's protocol for models: listing, download, and upload by commits and LFS."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from .plugins.datasets.hub_server import listed_file, serving

LARGE = (".safetensors", ".png")
OWNER, READER = "hf_owner", "hf_reader"
"""Tokens: of the user who may do everything, and of one who may see private repositories but write nothing."""


@dataclass
class Repo:
    """A repository: its branches lead to commits, which are files by path."""

    private: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.branches.get(revision, revision)]

    def commit(self, files: dict[str, bytes], *, branch: str = "main", message: str = "commit") -> str:
        name = hashlib.sha1(f"{len(self.commits)} {branch}".encode()).hexdigest()
        self.branches[branch], self.commits[name] = name, files
        self.messages.append(message)
        return name


class ModelHub(ThreadingHTTPServer):
    """Repositories of models; how it behaves can be changed while it runs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repos: dict[str, Repo] = {}
        self.stored: dict[str, bytes] = {}
        """Large files by digest."""
        self.requests: list[tuple[str, str]] = []
        self.down = False
        """Answers 503 to everything."""
        self.fails_at = ""
        """A part of a path whose requests are answered with 500."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def downloads(self) -> list[str]:
        """The files whose bytes were requested."""
        found = [
            re.fullmatch(r"/[^/]+/[^/]+/resolve/\w+/(.*)", path) for method, path in self.requests if method == "GET"
        ]
        return sorted({unquote(match[1]) for match in found if match})


class Answer(BaseHTTPRequestHandler):
    """What the hub says to one request."""

    server: ModelHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def answer(self) -> None:
        hub, path = self.server, unquote(self.path.split("?")[0])
        hub.requests.append((self.command, path))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if hub.down or (hub.fails_at and hub.fails_at in path):
            return self.say(503 if hub.down else 500, {})
        for pattern, reply in self.ROUTES:
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                return reply(self, *match.groups())
        return self.say(404, {}, {"X-Error-Code": "RepoNotFound"})

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def repo(self, name: str, *, write: bool = False) -> Repo | None:
        """Return a repository that this request may use, or None once it is refused."""
        found = self.server.repos.get(name)
        if found is None or (found.private and self.token not in (OWNER, READER)):
            self.say(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif write and self.token != OWNER:
            self.say(403, {"error": "you have no permission to write"})
        else:
            return found
        return None

    def info(self, name: str, revision: str | None) -> None:
        if (repo := self.repo(name)) is None:
            return
        commit = repo.branches.get(revision or "main", revision or "")
        if commit not in repo.commits:
            return self.say(404, {}, {"X-Error-Code": "RevisionNotFound"})
        listed = [listed_file(*file, large=LARGE) for file in repo.commits[commit].items()]
        self.say(200, {"id": name, "sha": commit, "private": repo.private, "siblings": listed})

    def tree(self, name: str, revision: str) -> None:
        if (repo := self.repo(name)) is not None:
            self.say(200, [listed_file(*file, large=LARGE) for file in repo.files(revision).items()])

    def content(self, name: str, revision: str, path: str) -> None:
        if (repo := self.repo(name)) is None:
            return
        commit = repo.branches.get(revision, revision)
        if path not in repo.commits[commit]:
            return self.say(404, {}, {"X-Error-Code": "EntryNotFound"})
        content = repo.commits[commit][path]
        self.say(200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit})

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if self.token != OWNER:
            return self.say(401 if not self.token else 403, {"error": "no permission to create a repository"})
        if name in self.server.repos:
            return self.say(409, {"error": "exists", "url": f"{self.server.url}/{name}"})
        repo = self.server.repos[name] = Repo(private=asked.get("visibility") == "private")
        repo.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        self.say(200, {"url": f"{self.server.url}/{name}", "name": name})

    def validate(self) -> None:
        head = json.loads(self.body)["content"].split("---")[1]
        try:
            yaml.safe_load(head)
        except yaml.YAMLError as error:
            return self.say(400, {"errors": [{"message": str(error)}], "warnings": []})
        self.say(200, {"errors": [], "warnings": []})

    def preupload(self, name: str, _: str) -> None:
        if self.repo(name, write=True) is not None:
            files = [file["path"] for file in json.loads(self.body)["files"]]
            modes = {path: "lfs" if path.endswith(LARGE) else "regular" for path in files}
            self.say(
                200,
                {"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]},
            )

    def batch(self, name: str) -> None:
        if self.repo(name, write=True) is None:
            return
        objects = []
        for file in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"{self.server.url}/upload/{file['oid']}"}}
            objects.append({**file} if file["oid"] in self.server.stored else {**file, "actions": upload})
        self.say(200, {"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.server.stored[oid] = self.body
        self.say(200, {})

    def branch(self, name: str, branch: str) -> None:
        if (repo := self.repo(name, write=True)) is None:
            return
        if branch in repo.branches:
            return self.say(409, {"error": "exists"})
        repo.branches[branch] = repo.branches["main"]
        self.say(200, {})

    def commit(self, name: str, branch: str) -> None:
        if (repo := self.repo(name, write=True)) is None:
            return
        files, message = dict(repo.files(branch)), ""
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        oid = repo.commit(files, branch=branch, message=message)
        self.say(200, {"commitUrl": f"{self.server.url}/{name}/commit/{oid}", "commitOid": oid})

    ROUTES = (
        (r"GET /api/models/([^/]+/[^/]+)(?:/revision/(.+))?", info),
        (r"GET /api/models/([^/]+/[^/]+)/tree/(\w+)/?", tree),
        (r"(?:GET|HEAD) /([^/]+/[^/]+)/resolve/([\w.-]+)/(.+)", content),
        (r"POST /api/repos/create", create),
        (r"POST /api/validate-yaml", validate),
        (r"POST /api/models/([^/]+/[^/]+)/preupload/(.+)", preupload),
        (r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch", batch),
        (r"PUT /upload/(\w+)", upload),
        (r"POST /api/models/([^/]+/[^/]+)/branch/(.+)", branch),
        (r"POST /api/models/([^/]+/[^/]+)/commit/(.+)", commit),
    )

    def say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), "Connection": "close", **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.close_connection = True


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    """A hub without a model, an empty cache, and the token of the owner."""
    monkeypatch.setenv("HF_TOKEN", OWNER)
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "vsr-cache"))
    monkeypatch.setattr("huggingface_hub._commit_api.is_xet_available", lambda: False)
    with ModelHub() as server, serving(server, tmp_path / "hub-cache", monkeypatch):
        yield server
