"""Pages of the management UI are what lies there, in the form that a client takes."""

import base64
import gzip
import hashlib
import json
import posixpath
import re
from collections.abc import Iterable

import pytest

from everlog.http import Head, Response
from everlog.ui.pages import APPEARANCE_PATH, BROWSER, INDEX_PATH, load_pages

PAGES = load_pages("Orders", "#b3261e")

LARGE_PATH = "/vendor/codemirror.js"


def get(path: str, **headers: str) -> Response:
    kept = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return PAGES[path](Head("GET", path, "", kept, "1.2.3.4"))


def header(response: Response, name: bytes) -> bytes:
    (value,) = (value for found, value in response.headers if found == name)
    return value


def file_of(path: str) -> bytes:
    return (BROWSER / (path.removeprefix("/") or "index.html")).read_bytes()


# What lies there for those who change it, and other forms of what is served.
NOT_SERVED = {
    "vendor/vendor.lock.json",
    "vendor/codemirror.js.br",
    "vendor/uplot.js.br",
}


def test_all_that_lies_there_is_served_and_nothing_else() -> None:
    files = {path.relative_to(BROWSER).as_posix() for path in BROWSER.rglob("*") if path.is_file()}

    served = {path.removeprefix("/") or "index.html" for path in PAGES}
    assert served == (files - NOT_SERVED) | {APPEARANCE_PATH.removeprefix("/")}


@pytest.mark.parametrize(
    "path, content_type",
    [
        (INDEX_PATH, b"text/html; charset=utf-8"),
        (LARGE_PATH, b"text/javascript; charset=utf-8"),
        ("/vendor/uplot.css", b"text/css; charset=utf-8"),
        ("/vendor/LICENSES", b"text/plain; charset=utf-8"),
        ("/icon.svg", b"image/svg+xml"),
    ],
)
def test_a_file_is_served_byte_by_byte_as_what_it_is(path: str, content_type: bytes) -> None:
    response = get(path)

    assert (response.status, response.content_type) == (200, content_type)
    assert response.body == file_of(path)
    assert header(response, b"Cache-Control") == b"no-cache"


def test_the_appearance_is_what_was_asked_for() -> None:
    response = get(APPEARANCE_PATH)

    assert response.content_type == b"application/json"
    assert response.body == b'{"title":"Orders","colour":"#b3261e"}'


@pytest.mark.parametrize(
    "accepted", ["gzip", "deflate, gzip, zstd", "GZIP;q=0.5", "br;q=0, *", "gzip;q=0.001"]
)
def test_who_takes_gzip_gets_less(accepted: str) -> None:
    response = get(LARGE_PATH, accept_encoding=accepted)

    assert header(response, b"Content-Encoding") == b"gzip"
    assert header(response, b"Vary") == b"Accept-Encoding"
    assert gzip.decompress(response.body) == file_of(LARGE_PATH)


@pytest.mark.parametrize("accepted", ["gzip, deflate, br, zstd", "br", "*"])
def test_who_takes_brotli_gets_least_of_what_lies_there_so(accepted: str) -> None:
    response = get(LARGE_PATH, accept_encoding=accepted)
    small = get("/app.js", accept_encoding=f"{accepted}, gzip")

    assert header(response, b"Content-Encoding") == b"br"
    assert response.body == file_of(f"{LARGE_PATH}.br")
    assert len(response.body) < len(get(LARGE_PATH, accept_encoding="gzip").body)
    assert header(small, b"Content-Encoding") == b"gzip"


@pytest.mark.parametrize(
    "accepted", ["", "zstd", "gzip;q=0", "br;q=0, gzip; q=0.000, *", "*;q=0", "gzips"]
)
def test_who_does_not_take_gzip_gets_it_as_it_is(accepted: str) -> None:
    response = get(LARGE_PATH, accept_encoding=accepted)

    assert b"Content-Encoding" not in dict(response.headers)
    assert header(response, b"Vary") == b"Accept-Encoding"
    assert response.body == file_of(LARGE_PATH)


def test_each_form_of_each_page_has_a_tag_of_its_own() -> None:
    forms = [get(path, accept_encoding=each) for path in PAGES for each in ("", "gzip", "br")]

    tags = {(header(form, b"ETag"), form.body) for form in forms}
    assert len({tag for tag, _ in tags}) == len(tags) == len({body for _, body in tags})
    assert all(re.fullmatch(rb'"[0-9a-f]{32}"', tag) for tag, _ in tags)


@pytest.mark.parametrize("accepted", ["", "gzip", "br"])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '{},"other"', "*"])
def test_who_has_a_page_is_not_sent_it_again(form: str, accepted: str) -> None:
    tag = header(get(LARGE_PATH, accept_encoding=accepted), b"ETag")
    response = get(LARGE_PATH, accept_encoding=accepted, if_none_match=form.format(tag.decode()))

    assert (response.status, response.body) == (304, b"")
    # What a 200 would have said of the same (RFC 9110 section 15.4.5).
    assert header(response, b"ETag") == tag
    assert header(response, b"Cache-Control") == b"no-cache"
    assert header(response, b"Vary") == b"Accept-Encoding"


def test_who_has_another_form_of_it_or_another_page_is_sent_it() -> None:
    tags = [header(get(LARGE_PATH), b"ETag"), header(get(INDEX_PATH), b"ETag"), b'"x"', b"x"]

    for tag in tags:
        response = get(LARGE_PATH, accept_encoding="gzip", if_none_match=tag.decode())
        assert response.status == 200


def policy_of(response: Response) -> dict[str, list[str]]:
    parts = header(response, b"Content-Security-Policy").decode().split("; ")
    return {name: sources for name, *sources in (part.split() for part in parts)}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_what_a_browser_may_do_with_it(path: str) -> None:
    for response in (get(path), get(path, accept_encoding="gzip"), get(path, if_none_match="*")):
        policy = policy_of(response)
        assert policy["default-src"] == ["'none'"]
        assert policy["frame-ancestors"] == ["'none'"]
        assert policy["base-uri"] == ["'none'"]
        assert policy["form-action"] == ["'none'"]
        assert policy["require-trusted-types-for"] == ["'script'"]
        sources = {source for each in policy.values() for source in each}
        # Neither what is written into a page, nor what comes from elsewhere.
        assert {source for source in sources if not source.startswith("'sha256-")} == {
            "'none'",
            "'self'",
            "'script'",
        }
        assert header(response, b"Referrer-Policy") == b"no-referrer"
        assert header(response, b"Cross-Origin-Opener-Policy") == b"same-origin"
        assert header(response, b"Cross-Origin-Resource-Policy") == b"same-origin"


def test_of_what_is_written_into_the_page_the_import_map_counts_and_nothing_else() -> None:
    index = file_of(INDEX_PATH).decode()
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", index, re.DOTALL)

    written = [(attributes, text) for attributes, text in scripts if text.strip()]
    assert [attributes.strip() for attributes, _ in written] == ['type="importmap"']
    digest = base64.b64encode(hashlib.sha256(written[0][1].encode()).digest()).decode()
    assert policy_of(get(INDEX_PATH))["script-src"] == ["'self'", f"'sha256-{digest}'"]
    assert not re.search(r"<style|\sstyle=|\son\w+=", index)


# What would make a script or an element of text; the policy refuses it, too.
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|setHTML|srcdoc|DOMParser"
    r"|document\.write|\beval\(|new Function|javascript:|setTimeout\(\s*[\"'`]"
)
OWN_MODULES = [path for path in sorted(BROWSER.rglob("*.js")) if path.parent.name != "vendor"]


def test_no_module_makes_markup_or_scripts_of_text() -> None:
    assert len(OWN_MODULES) > 10
    for path in OWN_MODULES:
        found = MARKUP.search(path.read_text(encoding="utf-8"))
        assert found is None, (path, found)


def test_modules_know_no_other_host() -> None:
    for path in (*OWN_MODULES, BROWSER / "index.html"):
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r"(?:import\(?|from|src=|href=|url\(|fetch\()\s*[\"'`](\w+:)?//", text)
        assert not loaded, path


IMPORT_MAP: dict[str, str] = json.loads(
    re.findall(r'<script type="importmap">(.*?)</script>', file_of(INDEX_PATH).decode(), re.DOTALL)[
        0
    ]
)["imports"]
IMPORT = re.compile(r'^(?:import|export)\s+(?:[\w*\s{},$]*\sfrom\s+)?"([^"]+)"', re.MULTILINE)
# What all pages together may be; none loads all of it.
SIZE_MAX = 320_000
PAGE_SIZE_MAX = 200_000


def imported(path: str) -> set[str]:
    """Return the module and all that is there before it can run."""
    found, pending = set[str](), [path]
    while pending:
        module = pending.pop()
        if module in found:
            continue
        found.add(module)
        for name in IMPORT.findall(file_of(module).decode()):
            place = IMPORT_MAP.get(name, name)
            assert place.startswith("."), (module, name)
            # What the import map says is said from the page.
            folder = "/" if name in IMPORT_MAP else posixpath.dirname(module)
            pending.append(posixpath.normpath(posixpath.join(folder, place)))
    return found


def size_of(paths: Iterable[str]) -> int:
    return sum(len(get(path, accept_encoding="gzip, br").body) for path in paths)


FRAME = {
    INDEX_PATH,
    APPEARANCE_PATH,
    *(f"/{name}" for name in re.findall(r'href="\./([^"]+)"', file_of(INDEX_PATH).decode())),
    *imported("/app.js"),
}


@pytest.mark.parametrize("name", [path.name for path in OWN_MODULES if path.parent.name == "pages"])
def test_what_a_browser_needs_for_a_page_is_small(name: str) -> None:
    needed = FRAME | imported(f"/pages/{name}")

    assert len(needed) > 20
    assert size_of(needed) < PAGE_SIZE_MAX


def test_all_of_it_together_is_small() -> None:
    # Nobody loads it but to read it.
    assert size_of(path for path in PAGES if not path.endswith("/LICENSES")) < SIZE_MAX
