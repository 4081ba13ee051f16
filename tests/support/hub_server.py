"""A stand-in for the Hugging Face hub: what huggingface_hub asks of it to push and to fetch."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """`files` are those committed, by repository/path; `stored` those uploaded, by hash."""

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.files: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.repositories: dict[str, bool] = {}  # name -> private
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._answer(401, {"error": "Invalid user token."})
            return
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.server.repositories[name] = asked.get("private", False)
            self._answer(200, {"url": f"{self.server.url}/{name}"})
        elif self.path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            self._answer(200, {"files": [self._mode(f["path"]) for f in json.loads(body)["files"]]})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = [self._upload(each) for each in json.loads(body)["objects"]]
            self._answer(200, {"transfer": "basic", "objects": objects})
        elif "/commit/" in self.path:
            self._commit(self.path.split("/")[3:5], body.splitlines())
        else:
            self._answer(404, {"error": self.path})

    @staticmethod
    def _mode(path: str) -> dict[str, Any]:
        regular = path.endswith(".md")
        mode = "regular" if regular else "lfs"
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def _upload(self, each: dict[str, Any]) -> dict[str, Any]:
        return {**each, "actions": {"upload": {"href": f"{self.server.url}/store/{each['oid']}"}}}

    def _commit(self, repository: list[str], lines: list[bytes]) -> None:
        for line in map(json.loads, lines):
            value = line["value"]
            name = "/".join([*repository, value.get("path", "")])
            if line["key"] == "lfsFile":
                self.server.files[name] = self.server.stored[value["oid"]]
            elif line["key"] == "file":
                self.server.files[name] = base64.b64decode(value["content"])
        url = f"{self.server.url}/{'/'.join(repository)}/commit/{COMMIT}"
        self._answer(200, {"commitUrl": url, "commitOid": COMMIT, "hookOutput": ""})

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(data).hexdigest() == oid
        self.server.stored[oid] = data
        self._answer(200, {})

    def do_HEAD(self) -> None:
        self._give()

    def do_GET(self) -> None:
        self._give()

    def _give(self) -> None:
        repository, _, path = self.path.strip("/").partition("/resolve/main/")
        data = self.server.files.get(f"{repository}/{path}")
        if data is not None:
            etag = hashlib.sha256(data).hexdigest()
            self._answer(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        elif repository in self.server.repositories:
            self._answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        else:
            self._answer(404, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})

    def _answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *_: object) -> None:
        pass
