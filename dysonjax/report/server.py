"""One page for the browser of this machine, made anew when it is old. Nothing else is served."""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOOPBACK = "127.0.0.1"
NAMES = (
    "127.0.0.1",
    "localhost",
    "[::1]",
)  # under which the browser may ask: no other site's name leads here
PATIENCE = 4.0  # a page is made anew after this many times what making it takes


class Kept:
    """A page, made at most every so many seconds; the old one stays where a new one cannot be made."""

    def __init__(self, make: Callable[[], str], every: float):
        self.make, self.every = make, every
        self.lock = threading.Lock()
        self.content, self.due = make().encode(), 0.0

    def page(self) -> bytes:
        with self.lock:
            begin = time.monotonic()
            if begin >= self.due:
                try:
                    self.content = self.make().encode()
                except (ValueError, OSError):  # a store that is being written at this moment
                    pass
                end = time.monotonic()
                self.due = end + max(self.every, PATIENCE * (end - begin))
            return self.content


def server(make: Callable[[], str], every: float, port: int = 0) -> ThreadingHTTPServer:
    """A server of the page at a port of the loopback interface (0: any that is free), not yet started.

    make: gives the page. every: seconds for which a page is good. Raises OSError if the port cannot be had,
    and what `make` raises.
    """
    kept = Kept(make, every)

    class Handler(BaseHTTPRequestHandler):
        server_version = "dysonjax"
        sys_version = ""

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, body: bool) -> None:
            if self.headers.get("Host", "").rsplit(":", 1)[0] not in NAMES:
                self.send_error(403, "only this machine may ask")
                return
            if self.path.split("?")[0] != "/":
                self.send_error(404)
                return
            content = kept.page()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *words) -> None:
            """Say nothing: the terminal belongs to the command."""

    class Server(ThreadingHTTPServer):
        daemon_threads, block_on_close = True, False

        def handle_error(self, request, client_address) -> None:
            """A browser that goes away in the middle of an answer is no error."""

    return Server((LOOPBACK, port), Handler)
