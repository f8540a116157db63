"""A server for the Elasticsearch client: osmem-server, which keeps the API of OpenSearch in memory.

It is compatible and not Elasticsearch. The client names its media type with a version that the server does
not know, and asks for a header that says Elasticsearch; what stands between the two sees to both.
"""

from __future__ import annotations

import atexit
import urllib.error
import urllib.request
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from osmem_server import OsmemServer


class Between(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behind = ""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        kind = self.headers.get("Content-Type", "")
        headers = {"Content-Type": "application/x-ndjson" if "ndjson" in kind else "application/json"}
        request = urllib.request.Request(self.behind + self.path, body, headers, method=self.command)
        try:
            answer = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error  # type: ignore[assignment]
        said = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

    def log_message(self, *arguments: object) -> None: ...


@cache
def url() -> str:
    """The URL of a server that ends with this process."""
    behind = OsmemServer.start()
    atexit.register(behind.close)
    Between.behind = behind.url
    server = ThreadingHTTPServer(("127.0.0.1", 0), Between)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"
