"""A Hub on 127.0.0.1: serves datasets, takes what is pushed and gives it back; or misbehaves."""

import base64
import hashlib
import http.server
import json
import re
import threading
from functools import cached_property, partial

COMMIT = "c0ffee" + "0" * 34


class _Request(http.server.BaseHTTPRequestHandler):
    """Answered by the first that matches of the hub's own rules and of ROUTES."""

    @property
    def hub(self):
        return self.server.hub

    @property
    def asked(self):
        return f"{self.command} {self.path.partition('?')[0]}"

    @cached_property
    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self):
        self.hub.paths.append(self.asked)
        self.hub.tokens.add(self.headers.get("Authorization"))
        self.follow(self.hub.rules | ROUTES)

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def follow(self, rules):
        for pattern, action in rules.items():
            if found := re.search(pattern, self.asked):
                return action(self, **found.groupdict())
        return self.send({"error": f"nothing at {self.path}"}, 404)

    def send(self, content=b"", status=200, **headers):
        content = json.dumps(content).encode() if isinstance(content, dict | list) else content
        _ = self.body  # read to its end: a client that is cut off hears no answer
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args):
        pass


# --- what a Hub does: reading


def _info(request, kind, repo):
    listing = _listing(request.hub.files_of(kind, repo))
    if listing is None:
        return request.send({"error": "no such repo"}, 404, X_Error_Code="RepoNotFound")
    return request.send({"id": repo, "sha": COMMIT, "siblings": listing, "private": False})


def _tree(request, kind, repo):
    request.send(_listing(request.hub.files_of(kind, repo)) or [])


def _listing(files):
    return files and [
        {"type": "file", "path": name, "rfilename": name, "size": len(content), "oid": "0" * 40}
        for name, content in files.items()
    ]


def _resolve(request, kind, repo, name):
    content = (request.hub.files_of(kind or "models", repo) or {}).get(name)
    if content is None:
        return request.send(status=404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
    etag = f'"{hashlib.sha256(content).hexdigest()}"'
    return request.send(content, ETag=etag, X_Repo_Commit=COMMIT)


# --- writing


def _create(request):
    asked = json.loads(request.body)
    repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
    request.hub.repos.setdefault(repo, {})
    request.send({"url": f"{request.hub.url}/{repo}", "name": repo, "id": repo})


def _whoami(request):
    request.send({"name": "me", "orgs": [], "auth": {"accessToken": {"role": "write"}}})


def _validate(request):
    request.send({"errors": [], "warnings": []})


def _preupload(request, repo):
    files = json.loads(request.body)["files"]
    for file in files:
        large = file["path"].endswith((".safetensors", ".png"))
        file |= {"uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": None}
    request.send({"files": files})


def _lfs_batch(request, repo):
    objects = json.loads(request.body)["objects"]
    for item in objects:
        target = {"href": f"{request.hub.url}/lfs/{item['oid']}", "header": {}}
        item["actions"] = {"upload": target}
    request.send({"transfer": "basic", "objects": objects})


def _lfs_upload(request, oid):
    assert hashlib.sha256(request.body).hexdigest() == oid
    request.hub.large[oid] = request.body
    request.send()


def _commit(request, repo):
    files = request.hub.repos[repo]
    for line in request.body.decode().splitlines():
        entry = json.loads(line)
        value = entry["value"]
        if entry["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        if entry["key"] == "lfsFile":
            files[value["path"]] = request.hub.large[value["oid"]]
    request.send({"commitUrl": f"{request.hub.url}/{repo}/commit/{COMMIT}", "commitOid": COMMIT})


REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES = {
    rf"^GET /api/(?P<kind>datasets|models)/{REPO}(/revision/[^/]+)?$": _info,
    rf"^(GET|POST) /api/(?P<kind>datasets|models)/{REPO}/(tree|paths-info)/": _tree,
    rf"^(GET|HEAD) /((?P<kind>datasets)/)?{REPO}/resolve/[^/]+/(?P<name>.+)$": _resolve,
    r"^POST /api/repos/create$": _create,
    r"^GET /api/whoami-v2$": _whoami,
    r"^POST /api/validate-yaml$": _validate,
    rf"^POST /api/models/{REPO}/preupload/main$": _preupload,
    rf"^POST /{REPO}\.git/info/lfs/objects/batch$": _lfs_batch,
    r"^PUT /lfs/(?P<oid>\w+)$": _lfs_upload,
    rf"^POST /api/models/{REPO}/commit/main$": _commit,
}


# --- misbehaving


def _hang(request):
    request.hub.closing.wait(60)


def _hang_up(request):
    """In the middle of what it is sent."""
    request.rfile.read(int(request.headers.get("Content-Length", 0)) // 2)


def _blocks(request, content, size, pause):
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    for start in range(0, len(content), size):
        request.wfile.write(content[start : start + size])
        if request.hub.closing.wait(pause):
            return


def _trickle(request):
    _blocks(request, _asked_for(request), 1, 0.5)


def _slow(request):
    _blocks(request, _asked_for(request), 2**16, 0.4)


def _stall(request):
    """Announce the whole file, send the first half, then nothing."""
    content = _asked_for(request)
    _blocks(request, content, len(content) // 2, 60)


def _asked_for(request):
    return request.hub.files.get(request.path.rpartition("/")[2], b" " * 1000)


def _far(request):
    request.hub.closing.wait(0.8)
    request.follow(ROUTES)


def _html(request):
    request.send(b"<html><body>Please log in to the network</body></html>")


def _json(request):
    request.send(b'["neither", "a", "dataset"]')


def _error(request):
    request.send(b"out of order", 500)


def _redirect(request):
    request.send(status=302, Location=request.path)


BEHAVIOURS = {
    "hang": _hang,
    "trickle": _trickle,
    "slow": _slow,
    "stall": _stall,
    "far": _far,
    "html": _html,
    "json": _json,
    "error": _error,
    "redirect": _redirect,
}
WHEN = {  # what is answered in that way
    "": "",
    "healthy probe": r"^(?!\w+ /api/datasets/[^/]+/[^/]+$)",
    "healthy till download": r"^GET .*\.parquet$",
}


class Hub:
    """`with Hub() as hub:` — a Hub on a free port, at `hub.url`.

    Every dataset there holds `files` ("train.parquet" → its bytes); `repos` maps the name of a
    model to its files. `paths` lists what was asked for, `tokens` who asked. "hang" and its like
    are the `behaviour` throughout; "healthy probe, then hang" answers the first question well,
    "healthy till download, then hang" all of them but those for a parquet file.
    """

    def __init__(self, behaviour="serve", files=None):
        self.files, self.repos, self.large = files or {}, {}, {}
        self.paths, self.tokens, self.rules = [], set(), {}
        when, _, how = behaviour.rpartition(", then ")
        if how != "serve":
            self.rules[WHEN[when]] = BEHAVIOURS[how]
        self.closing = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Request)
        self.server.daemon_threads, self.server.hub = True, self
        self.server.handle_error = lambda *_: None  # clients that hang up are what this is about
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def refuse(self, pattern, status, **headers):
        """Answer what matches with an error; a status of None hangs up half-way through."""
        error = {"error": f"refused with {status}"}
        refusal = partial(_Request.send, content=error, status=status, **headers)
        self.rules[pattern] = _hang_up if status is None else refusal

    def files_of(self, kind, repo):
        return self.files if kind == "datasets" else self.repos.get(repo)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
