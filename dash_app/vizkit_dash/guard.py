"""What stands between `vizkit serve` and the network: who may ask, from where, and how much."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
LARGEST = 32 * 2**20
"""Bytes that a request may bring."""

_READS = ("GET", "HEAD", "OPTIONS")

Answer = Callable[..., Any]


class Guard:
    """A WSGI application round another one.

    It answers only to names of this machine: a page elsewhere whose name is made to point here (DNS rebinding) is turned
    away. Writes come from our own pages only. Every answer says what a browser may do with it.
    """

    def __init__(self, app: Any, *, hosts: Iterable[str] = LOCAL, scripts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(h.lower() for h in hosts)
        self._headers = [
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Content-Security-Policy", policy(scripts)),
        ]

    def __call__(self, environ: dict[str, Any], start_response: Answer) -> Iterable[bytes]:
        refusal = self._refusal(environ)
        if refusal:
            status, text = refusal
            plain = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
            start_response(status, plain + self._headers)
            return [text.encode()]

        def answer(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            theirs = {name.lower() for name, _ in headers}
            return start_response(status, headers + [(n, v) for n, v in self._headers if n.lower() not in theirs], *more)

        inner: Iterable[bytes] = self._app(environ, answer)
        return inner

    def _refusal(self, environ: dict[str, Any]) -> tuple[str, str] | None:
        host = str(environ.get("HTTP_HOST", ""))
        if "*" not in self._hosts and name_of(host) not in self._hosts:
            return "403 Forbidden", "This server answers to the names of its own machine only."
        if environ["REQUEST_METHOD"] in _READS:
            return None
        site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
        foreign = origin is not None and str(origin).partition("://")[2] != host
        if site not in (None, "same-origin", "none") or foreign:
            return "403 Forbidden", "Only this server's own pages may send anything here."
        length = str(environ.get("CONTENT_LENGTH") or "")
        if not length.isdecimal() and environ.get("HTTP_TRANSFER_ENCODING"):
            return "411 Length Required", "Say how long it is."
        if length.isdecimal() and int(length) > LARGEST:
            return "413 Content Too Large", f"At most {LARGEST >> 20} MB may be sent at once."
        return None


def name_of(host: str) -> str:
    """The name in a Host header, without its port; `::1` of `[::1]:8050`."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def policy(scripts: Iterable[str] = ()) -> str:
    """As strict as Dash allows: no script but our own files and Dash's one line, known by its hash; styles may be set by
    scripts, which Dash's own controls do."""
    own = " ".join(["'self'", *scripts])
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {own}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'self'",
        ]
    )
