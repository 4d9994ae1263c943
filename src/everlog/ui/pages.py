"""The files of the management UI as answers: by path, compressed, with what protects who looks.

Guarantees that nothing is served but what lies in `browser`, and the appearance that was asked for;
that nothing of it depends on who asks, so that it needs no token and no disk while the server runs;
and that a browser runs and loads nothing that did not come from here.
What is left to others: what a request must be, and every path besides (`api.application`).
"""

import gzip
import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from everlog.http import Head, Response

BROWSER: Final = Path(__file__).with_name("browser")

INDEX_PATH: Final = "/"
APPEARANCE_PATH: Final = "/appearance.json"

# What else lies there is for those who change it.
_TYPES: Final[Mapping[str, bytes]] = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
# Beside what is large and never changes: Python makes none.
_BROTLI: Final = ".br"
# Whoever is given a library is given its licence.
_LICENCES: Final = "LICENSES"
_TEXT: Final = b"text/plain; charset=utf-8"
_JSON: Final = b"application/json"

_INDEX: Final = "index.html"
_IMPORT_MAP: Final = re.compile(rb'<script type="importmap">(.*?)</script>', re.DOTALL)

# Everything comes from this server, is no part of another page, and no text becomes a script or an
# element (Content Security Policy Level 3, Trusted Types).
_POLICY: Final = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_PROTECTING: Final = (
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Referrer-Policy", b"no-referrer"),
)

# They may be kept, and are asked about each time: with another release they are other pages.
_CACHING: Final = (b"Cache-Control", b"no-cache")

_WEIGHT: Final = re.compile(rb";\s*q\s*=\s*0(\.0{0,3})?\s*$")


class Page:
    """One file, as it is and compressed, each form with an entity tag of its own (RFC 9110)."""

    def __init__(
        self, body: bytes, content_type: bytes, policy: bytes, brotli: bytes | None = None
    ) -> None:
        """Keep a file; whoever has it compressed with brotli hands that over, too."""
        headers = ((b"Content-Security-Policy", policy), *_PROTECTING, _CACHING)
        self._plain: Final = _Form(body, content_type, headers)
        # The smallest first.
        self._compressed: Final = [
            (coding, _Form(data, content_type, (*headers, (b"Content-Encoding", coding))))
            for coding, data in ((b"br", brotli), (b"gzip", gzip.compress(body, mtime=0)))
            if data is not None and len(data) < len(body)
        ]

    def answer(self, head: Head) -> Response:
        """Return the form that a client takes, or that it has it already."""
        taken = _codings_in(head.headers.get(b"accept-encoding", b""))
        found = (form for coding, form in self._compressed if taken.get(coding, taken.get(b"*")))
        form = next(found, self._plain)
        known = head.headers.get(b"if-none-match")
        return form.whole if known is None or not form.is_among(known) else form.unchanged


class _Form:
    """What is sent of a file in one encoding."""

    def __init__(
        self, body: bytes, content_type: bytes, headers: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        self._tag: Final = b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode()
        headers += ((b"ETag", self._tag), (b"Vary", b"Accept-Encoding"))
        self.whole: Final = Response(200, body, content_type, headers)
        self.unchanged: Final = Response(304, b"", b"", headers)

    def is_among(self, tags: bytes) -> bool:
        """Tell whether If-None-Match names it: weakly compared, as RFC 9110 (13.1.2) asks for."""
        names = [tag.strip().removeprefix(b"W/") for tag in tags.split(b",")]
        return self._tag in names or names == [b"*"]


def load_pages(title: str | None, colour: str | None) -> dict[str, Callable[[Head], Response]]:
    """Return what answers for each path, with the title and the colour (#rrggbb) to show."""
    files = {
        path.relative_to(BROWSER).as_posix(): path.read_bytes()
        for path in sorted(BROWSER.rglob("*"))
        if path.suffix in {*_TYPES, _BROTLI} or path.name == _LICENCES
    }
    policy = _policy_for(files[_INDEX])
    pages = {
        INDEX_PATH if name == _INDEX else f"/{name}": Page(
            body, _type_of(name), policy, files.get(name + _BROTLI)
        )
        for name, body in files.items()
        if not name.endswith(_BROTLI)
    }
    appearance = msgspec.json.encode({"title": title, "colour": colour})
    pages[APPEARANCE_PATH] = Page(appearance, _JSON, policy)
    return {path: page.answer for path, page in pages.items()}


def _type_of(name: str) -> bytes:
    return _TYPES.get(Path(name).suffix, _TEXT)


def _policy_for(index: bytes) -> bytes:
    """Return the policy of all pages, under which the import map of the first one counts."""
    digests = (hashlib.sha256(text).digest() for text in _IMPORT_MAP.findall(index))
    scripts = "".join(f" 'sha256-{b64encode(digest).decode()}'" for digest in digests)
    return _POLICY.format(scripts=scripts).encode()


def _codings_in(value: bytes) -> dict[bytes, bool]:
    """Return which codings a client names, and whether it takes each (RFC 9110, 12.5.3)."""
    parts = value.lower().split(b",")
    return {part.partition(b";")[0].strip(): _WEIGHT.search(part) is None for part in parts}
