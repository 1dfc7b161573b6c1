"""A Hub on 127.0.0.1 that takes what is pushed, keeps it, and gives it back; or refuses."""

import base64
import hashlib
import http.server
import json
import re
import threading

COMMIT = "c0ffee" + "0" * 34


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def _send(self, body=b"", status=200, **headers):
        body = json.dumps(body).encode() if isinstance(body, dict | list) else body
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answer(self):
        hub = self.server.hub
        path = self.path.split("?")[0]
        hub.asked.append(f"{self.command} {path}")
        hub.tokens.add(self.headers.get("Authorization"))
        for pattern, refusal in hub.refusals.items():
            if re.search(pattern, f"{self.command} {path}"):
                status, headers, times = refusal
                hub.refusals[pattern] = (status, headers, times - 1)
                if times <= 0:
                    break
                if status is None:  # hang up half-way
                    self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
                    self.connection.close()
                    return None
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                return self._send({"error": f"refused with {status}"}, status, **headers)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        for pattern, method in ROUTES.items():
            if found := re.fullmatch(pattern, f"{self.command} {path}"):
                return method(self, hub, body, **found.groupdict())
        return self._send({"error": f"nothing at {path}"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def _create(self, hub, body):
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else None
        repo = repo or f"me/{asked['name']}"
        hub.private[repo] = bool(asked.get("private")) or asked.get("visibility") == "private"
        hub.repos.setdefault(repo, {})
        self._send({"url": f"{hub.url}/{repo}", "name": repo, "id": repo})

    def _whoami(self, hub, body):
        self._send({"name": "me", "orgs": [], "auth": {"accessToken": {"role": "write"}}})

    def _validate(self, hub, body):
        self._send({"errors": [], "warnings": []})

    def _preupload(self, hub, body, repo):
        files = json.loads(body)["files"]
        modes = [
            "lfs" if file["path"].endswith((".safetensors", ".png")) else "regular"
            for file in files
        ]
        answer = [
            {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}
            for file, mode in zip(files, modes, strict=True)
        ]
        self._send({"files": answer})

    def _lfs_batch(self, hub, body, repo):
        objects = []
        for thing in json.loads(body)["objects"]:
            target = {"href": f"{hub.url}/lfs/{thing['oid']}", "header": {}}
            objects.append({**thing, "actions": {"upload": target}})
        self._send({"transfer": "basic", "objects": objects})

    def _lfs_upload(self, hub, body, oid):
        assert hashlib.sha256(body).hexdigest() == oid
        hub.large[oid] = body
        self._send()

    def _commit(self, hub, body, repo):
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                hub.repos[repo][value["path"]] = base64.b64decode(value["content"])
            if entry["key"] == "lfsFile":
                hub.repos[repo][value["path"]] = hub.large[value["oid"]]
        self._send({"commitUrl": f"{hub.url}/{repo}/commit/{COMMIT}", "commitOid": COMMIT})

    def _info(self, hub, body, repo):
        if repo not in hub.repos:
            return self._send({"error": "no such repo"}, 404, X_Error_Code="RepoNotFound")
        siblings = [{"rfilename": name} for name in hub.repos[repo]]
        return self._send({"id": repo, "sha": COMMIT, "siblings": siblings, "private": False})

    def _tree(self, hub, body, repo):
        files = hub.repos.get(repo, {}).items()
        listing = [
            {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
            for name, content in files
        ]
        self._send(listing)

    def _resolve(self, hub, body, repo, name):
        content = hub.repos.get(repo, {}).get(name)
        if content is None:
            return self._send(b"", 404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self._send(content, ETag=etag, X_Repo_Commit=COMMIT)


REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES = {
    r"POST /api/repos/create": _Handler._create,
    r"GET /api/whoami-v2": _Handler._whoami,
    r"POST /api/validate-yaml": _Handler._validate,
    rf"POST /api/models/{REPO}/preupload/main": _Handler._preupload,
    rf"POST /{REPO}\.git/info/lfs/objects/batch": _Handler._lfs_batch,
    r"PUT /lfs/(?P<oid>\w+)": _Handler._lfs_upload,
    rf"POST /api/models/{REPO}/commit/main": _Handler._commit,
    rf"GET /api/models/{REPO}(/revision/\w+)?": _Handler._info,
    rf"GET /api/models/{REPO}/tree/.*": _Handler._tree,
    rf"(GET|HEAD) /{REPO}/resolve/\w+/(?P<name>.+)": _Handler._resolve,
}


class WritableHub:
    """`with WritableHub() as hub:` — `hub.url`; `hub.repos` maps a name to its files.

    `hub.refuse("commit", 429, Retry_After=1)` refuses what matches, `times` times; a status of
    None hangs up half-way through the request.
    """

    def __init__(self):
        self.repos, self.large, self.private = {}, {}, {}
        self.asked, self.tokens, self.refusals = [], set(), {}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads, self.server.hub = True, self
        self.server.handle_error = lambda *args: None
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def refuse(self, pattern, status, times=1000, **headers):
        self.refusals[pattern] = (status, headers, times)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()
