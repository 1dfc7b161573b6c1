"""A Hub on 127.0.0.1: serves one tiny dataset, or misbehaves in one chosen way."""

import http.server
import json
import threading
from typing import ClassVar

COMMIT = "c0ffee" + "0" * 34


class _Handler(http.server.BaseHTTPRequestHandler):
    """The few addresses of the Hub that `datasets` asks for, or one way not to answer them."""

    files: ClassVar[dict[str, bytes]] = {}  # "train.parquet" → its bytes, the same in each dataset
    behaviour = "serve"
    closing: threading.Event

    def do_GET(self):
        self.server.paths.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        probe = self.path.startswith("/api/datasets/") and self.path.count("/") == 4
        download = self.command == "GET" and self.path.endswith(".parquet")
        when, _, behaviour = self.behaviour.rpartition(", then ")
        if probe if when == "healthy probe" else when and not download:
            behaviour = "serve"
        getattr(self, "_" + behaviour)()

    do_HEAD = do_POST = do_GET

    def log_message(self, *args):
        pass

    def _send(self, body=b"", status=200, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _serve(self):
        path = self.path.split("?")[0]
        if "/resolve/" in path:
            return self._resolve(path.rpartition("/")[2])
        listing = [
            {"type": "file", "path": name, "rfilename": name, "size": len(body), "oid": "0" * 40}
            for name, body in self.files.items()
        ]
        repo = "/".join(path.split("/")[3:5])
        info = {"id": repo, "sha": COMMIT, "siblings": listing}
        is_list = "/tree/" in path or "/paths-info/" in path
        return self._send(json.dumps(listing if is_list else info).encode())

    def _resolve(self, name):
        commit = {"X-Repo-Commit": COMMIT}
        if name not in self.files:
            return self._send(status=404, X_Error_Code="EntryNotFound", **commit)
        return self._send(self.files[name], ETag=f'"{name}"', **commit)

    def _hang(self):
        self.closing.wait(60)

    def _blocks(self, body, size, pause):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            if self.closing.wait(pause):
                return

    def _trickle(self):
        body = self.files.get(self.path.rpartition("/")[2], b" " * 1000)
        self._blocks(body, 1, 0.5)

    def _far(self):
        self.closing.wait(0.8)
        self._serve()

    def _slow(self):
        self._blocks(self.files[self.path.rpartition("/")[2]], 2**16, 0.4)

    def _stall(self):
        """Announce the whole file, send the first half, then nothing."""
        body = self.files[self.path.rpartition("/")[2]]
        self._blocks(body, len(body) // 2, 60)

    def _html(self):
        self._send(b"<html><body>Please log in to the network</body></html>")

    def _json(self):
        self._send(b'["neither", "a", "dataset"]')

    def _error(self):
        self._send(b"out of order", status=500)

    def _redirect(self):
        self._send(status=302, Location=self.path)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that hang up are what this is about


class Hub:
    """`with Hub("hang") as url:` — a Hub with that behaviour on a free port.

    "healthy probe, then hang" answers the first question well; "healthy till download, then hang"
    all of them but those for a parquet file. `paths` lists what was asked for.
    """

    def __init__(self, behaviour="serve", files=None):
        self.closing = threading.Event()
        members = {"behaviour": behaviour, "files": files or {}, "closing": self.closing}
        self.server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), members))
        self.server.paths = self.paths = []

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *error):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
