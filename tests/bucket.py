"""A bucket for tests: a small server that speaks as much of the JSON API of Google Cloud Storage as
its real clients need, gcsfs (by which `etils.epath` goes) and TensorStore (by which Orbax goes).

It has what a bucket has: objects that appear as a whole, are replaced as a whole, and are listed.
It has no renames: copying an object, which clients do in their place, is answered with an error, so
that a test notices who relies on them.
"""

from __future__ import annotations

import contextlib
import email
import json
import re
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "bucket"


class Store:
    """Objects by name, each with the number of its version."""

    def __init__(self):
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.uploads: dict[str, tuple[str, bytearray]] = {}
        self.lock = threading.Lock()
        self.version = 0
        self.down = False
        self.log: list[tuple[str, str]] = []

    def put(self, name: str, data: bytes, condition: str | None) -> dict | None:
        """Writes an object, unless its version is another than the condition says."""
        with self.lock:
            have = self.objects.get(name, (b"", 0))[1]
            if condition is not None and int(condition) != have:
                return None
            self.version += 1
            self.objects[name] = (bytes(data), self.version)
            return self.about(name)

    def about(self, name: str) -> dict:
        data, version = self.objects[name]
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": NAME,
            "size": str(len(data)),
            "generation": str(version),
            "metageneration": "1",
            "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
        }

    def listing(self, prefix: str, delimiter: str, start: str, end: str) -> dict:
        with self.lock:
            names = sorted(n for n in self.objects if n.startswith(prefix) and n >= start)
            names = [n for n in names if not end or n < end]
            items, folders = [], set()
            for name in names:
                rest = name[len(prefix) :]
                if delimiter and delimiter in rest:
                    folders.add(prefix + rest.split(delimiter)[0] + delimiter)
                else:
                    items.append(self.about(name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        """Clients that are killed leave answers unread: nothing to report."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave together and at once, or each answer waits 40 ms for the client's kernel.
    wbufsize = -1
    disable_nagle_algorithm = True
    store: Store

    def log_message(self, *args):
        pass

    def answer(self, code: int, body: bytes | dict = b"", **headers: str) -> None:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        self.send_response(code)
        if isinstance(body, dict):
            self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def missing(self) -> None:
        self.answer(404, {"error": {"code": 404, "message": "No such object"}})

    def handle_one(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self.chunked()
        self.store.log.append((self.command, self.path))
        if self.store.down:
            self.answer(403, {"error": {"code": 403, "message": "The bucket is closed"}})
            return
        path = url.path
        if match := re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", path):
            self.upload(query, body)
        elif match := re.fullmatch(r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)", path):
            self.object(urllib.parse.unquote(match[2]), query)
        elif match := re.fullmatch(r"/storage/v1/b/([^/]+)/o/?", path):
            pick = [query.get(k, "") for k in ("prefix", "delimiter", "startOffset", "endOffset")]
            self.answer(200, self.store.listing(*pick))
        elif re.fullmatch(r"/storage/v1/b/([^/]+)", path):
            self.answer(200, {"kind": "storage#bucket", "name": NAME, "id": NAME})
        else:
            self.answer(501, {"error": {"code": 501, "message": f"buckets cannot {path}"}})

    do_GET = do_POST = do_PUT = do_DELETE = handle_one

    def chunked(self) -> bytes:
        out = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return out

    def object(self, name: str, query: dict[str, str]) -> None:
        with self.store.lock:
            found = self.store.objects.get(name)
        if found is None:
            self.missing()
            return
        data, version = found
        if self.command == "DELETE":
            with self.store.lock:
                self.store.objects.pop(name, None)
            self.answer(204)
        elif query.get("alt") == "media":
            if query.get("ifGenerationNotMatch") == str(version):
                self.answer(304)
                return
            ranged = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if not ranged:
                self.answer(200, data, x_goog_generation=str(version))
                return
            first = int(ranged[1])
            last = min(int(ranged[2] or len(data) - 1), len(data) - 1)
            if first >= len(data):
                self.answer(416, Content_Range=f"bytes */{len(data)}")
                return
            where = f"bytes {first}-{last}/{len(data)}"
            part = data[first : last + 1]
            self.answer(206, part, Content_Range=where, x_goog_generation=str(version))
        else:
            self.answer(200, self.store.about(name))

    def upload(self, query: dict[str, str], body: bytes) -> None:
        kind, condition = query.get("uploadType"), query.get("ifGenerationMatch")
        if kind == "media":
            self.stored(self.store.put(query["name"], body, condition))
        elif kind == "multipart":
            head = f"Content-Type: {self.headers['Content-Type']}\n\n".encode()
            about, content = email.message_from_bytes(head + body).get_payload()
            name = json.loads(about.get_payload(decode=True))["name"]
            self.stored(self.store.put(name, content.get_payload(decode=True), condition))
        elif "upload_id" not in query:
            name = query.get("name") or json.loads(body)["name"]
            number = str(len(self.store.uploads) + 1)
            self.store.uploads[number] = (name, bytearray())
            host, port = self.server.server_address[:2]
            where = f"http://{host}:{port}/upload/storage/v1/b/{NAME}/o?uploadType=resumable"
            self.answer(200, Location=f"{where}&upload_id={number}")
        else:
            name, data = self.store.uploads[query["upload_id"]]
            data += body
            if (self.headers.get("Content-Range") or "/0").endswith("/*"):
                self.answer(308, Range=f"bytes=0-{len(data) - 1}")
            else:
                self.stored(self.store.put(name, data, condition))

    def stored(self, about: dict | None) -> None:
        if about is None:
            self.answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        else:
            self.answer(200, about)


@contextlib.contextmanager
def serving():
    """Runs the server in a thread; gives its address and its store."""
    store = Store()
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"store": store}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", store
    finally:
        server.shutdown()
        server.server_close()


def environment(address: str) -> dict[str, str]:
    """The variables that send the clients to the server."""
    return {
        "STORAGE_EMULATOR_HOST": address,
        "TENSORSTORE_GCS_HTTP_URL": address,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
        "EPATH_USE_TF": "false",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        "NO_GCE_CHECK": "true",
    }


if __name__ == "__main__":
    with serving() as (address, _):
        print(address, flush=True)
        sys.stdin.read()
