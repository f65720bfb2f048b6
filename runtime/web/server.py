"""A server on this machine alone: some folders to read, some files to be given, nothing else.

A page that it serves cannot reach anything but this server: its content security policy says so, and
what it says is isolated enough for threads (`crossOriginIsolated`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pocketportrait.errors import InputError

ADDRESS = "127.0.0.1"
INBOX = "/inbox/"
TOKEN_HEADER = "X-Pocketportrait-Token"
MOST_BYTES = 1 << 30  # of a file that is given
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}")
IMPORT_MAP = re.compile(rb'<script type="importmap">(.*?)</script>', re.S)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".jpg": "image/jpeg",
    ".mp4": "video/mp4",
}
PAGE = "page"  # the mount of this package's own files


def page_folder() -> Path:
    """Return the folder of the pages and their scripts."""
    return Path(str(resources.files(__package__))) / PAGE


def content_security_policy(page: bytes = b"") -> str:
    """Return the policy under which a page is shown: this server and nothing else.

    WebAssembly may be compiled (`wasm-unsafe-eval`), workers may start from the engines' own scripts, and
    the one inline script is the import map, by its digest.

    Args:
        page: the HTML.

    """
    digests = [
        base64.b64encode(hashlib.sha256(found).digest()).decode()
        for found in IMPORT_MAP.findall(page)
    ]
    scripts = ["'self'", "'wasm-unsafe-eval'", *(f"'sha256-{digest}'" for digest in digests)]
    parts = {
        "default-src": "'none'",
        "script-src": " ".join(scripts),
        "worker-src": "'self' blob:",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "media-src": "'self' blob: mediastream:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


class LocalServer:
    """Serves while it is entered; listens on 127.0.0.1 only."""

    def __init__(
        self,
        mounts: Mapping[str, Path],
        *,
        documents: Mapping[str, Any] | None = None,
        home: str = "index.html",
        inbox: Callable[[str], Path | None] | None = None,
        port: int = 0,
    ) -> None:
        """Remember what is served; `page` is mounted in any case.

        Args:
            mounts: folders by the first part of a path.
            documents: JSON values by the name that they have at the root.
            home: what `/` shows, of the page's folder.
            inbox: says where a file that is PUT below `/inbox/` belongs; None refuses it.
            port: 0 takes a free one.

        Raises:
            InputError: the port is taken.

        """
        self.mounts = {PAGE: page_folder(), **mounts}
        self.documents = dict(documents or {})
        self.home, self.inbox = home, inbox
        self.token = secrets.token_hex(16)  # whoever gives a file must know it
        try:
            self._http = _Http(self, port)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"port: want a free one, got {port} ({error}); give another"
            ) from error
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    @property
    def origin(self) -> str:
        """Return the address, without a slash at its end."""
        return f"http://{ADDRESS}:{self._http.server_port}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the hosts that requests may name: another one is a page elsewhere that guesses."""
        return tuple(f"{name}:{self._http.server_port}" for name in (ADDRESS, "localhost"))

    def file(self, path: str) -> Path | None:
        """Return the file that a path of a request means, or None: nothing outside the mounts."""
        if path == "/":
            return self.mounts[PAGE] / self.home
        mount, *names = path.removeprefix("/").split("/")
        if mount not in self.mounts or not names:
            return None
        if not all(NAME.fullmatch(name) and ".." not in name for name in names):
            return None
        folder = self.mounts[mount].resolve()
        found = folder.joinpath(*names).resolve()
        return found if found.is_file() and found.is_relative_to(folder) else None

    def place_for(self, path: str) -> Path | None:
        """Return where a file that is given belongs, or None: nothing that nobody waits for."""
        if self.inbox is None or not path.startswith(INBOX):
            return None
        return self.inbox(path.removeprefix(INBOX))

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def wait(self) -> None:
        """Serve until somebody interrupts this process."""
        self._thread.join()


class _Http(ThreadingHTTPServer):
    """The listening socket, and whose it is."""

    daemon_threads = True

    def __init__(self, local: LocalServer, port: int) -> None:
        super().__init__((ADDRESS, port), _Handler)
        self.local = local


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "pocketportrait", ""

    @property
    def _local(self) -> LocalServer:
        assert isinstance(self.server, _Http)
        return self.server.local

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        document = self._local.documents.get(path.removeprefix("/"))
        if self.headers.get("Host") not in self._local.hosts:
            self._answer(HTTPStatus.FORBIDDEN)
        elif document is not None:
            self._answer(HTTPStatus.OK, json.dumps(document).encode(), TYPES[".json"])
        elif (file := self._local.file(path)) is None:
            self._answer(HTTPStatus.NOT_FOUND)
        elif file.suffix == ".html":
            content = file.read_bytes()
            policy = content_security_policy(content)
            self._answer(HTTPStatus.OK, content, TYPES[".html"], policy)
        else:
            self._send_file(file)

    def do_PUT(self) -> None:
        told = self.headers.get(TOKEN_HEADER) or ""
        length = self.headers.get("Content-Length") or ""
        place = self._local.place_for(self.path)
        self.close_connection = True  # what was not read must not be taken for a request
        known = secrets.compare_digest(told.encode(), self._local.token.encode())
        if self.headers.get("Host") not in self._local.hosts or not known:
            self._answer(HTTPStatus.FORBIDDEN)
        elif place is None:
            self._answer(HTTPStatus.NOT_FOUND)
        elif not length.isdecimal() or int(length) > MOST_BYTES:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._take(place, int(length))

    def _take(self, place: Path, length: int) -> None:
        content = self.rfile.read(length)
        if len(content) != length:
            self._answer(HTTPStatus.BAD_REQUEST)
            return
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
        self._answer(HTTPStatus.NO_CONTENT)

    def _send_file(self, file: Path) -> None:
        self.send_response(HTTPStatus.OK)
        self._say(file.stat().st_size, TYPES.get(file.suffix, "application/octet-stream"))
        with file.open("rb") as content:
            shutil.copyfileobj(content, self.wfile)

    def _answer(
        self,
        status: HTTPStatus,
        content: bytes = b"",
        type: str = "text/plain; charset=utf-8",
        policy: str | None = None,
    ) -> None:
        self.send_response(status)
        self._say(len(content), type, policy)
        self.wfile.write(content)

    def _say(self, length: int, type: str, policy: str | None = None) -> None:
        for name, value in (
            ("Content-Type", type),
            ("Content-Length", str(length)),
            ("Content-Security-Policy", policy or content_security_policy()),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Embedder-Policy", "require-corp"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Permissions-Policy", "camera=(self), microphone=(), geolocation=()"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a page asks for a file at a time."""
