"""Use what was installed as its users do: the command, a server, and the library.

`make release` runs this in an environment that holds nothing but the release, from an empty folder.
Uses nothing but what is installed and the standard library; a failure ends it with a traceback.
"""

import json
import re
import signal
import subprocess
import sys
from importlib.metadata import files, version
from pathlib import Path

import everlog

EVERLOG = str(Path(sys.executable).with_name("everlog"))
SECONDS_MAX = 120

ACQUIRED = everlog.NewEvent(
    source="https://library.example",
    subject="/books/42",
    type="com.example.book-acquired",
    data={"title": "2001: A Space Odyssey"},
)


def main() -> None:
    """Use each way in once, and expect what the pages promise."""
    expected = sys.argv[1]
    assert version("everlog") == expected
    assert Path(everlog.__file__).is_relative_to(sys.prefix)
    assert any(path.match("*.dist-info/sboms/everlog.cdx.json") for path in files("everlog") or [])
    assert expected in command("version")
    assert "Usage: everlog" in command("--help")

    token = command("generate", "api-token").strip()
    Path("token").write_text(f"{token}\n", encoding="ascii")
    Path("token").chmod(0o600)
    written = use_server(token)

    with everlog.open("data") as store:
        assert list(store.read("/", recursive=True)) == [written]


def use_server(token: str) -> everlog.Event:
    """Start a server, write to it and read from it, and end it."""
    arguments = ["--host=127.0.0.1", "--http-enabled", "--http-port=0", "--https-enabled=false"]
    arguments += ["--data-directory=data", "--api-token-file=token"]
    with subprocess.Popen([EVERLOG, "run", *arguments], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            lines = map(json.loads, server.stdout)
            url = next(line["url"] for line in lines if line["message"] == "listening")
            with everlog.connect(url, token=token) as store:
                [written] = store.write([ACQUIRED], [everlog.IsSubjectPristine("/books/42")])
                assert list(store.read("/books", recursive=True)) == [written]
                [row] = store.query("FROM e IN events PROJECT INTO { title: e.data.title }")
                assert row == {"title": "2001: A Space Odyssey"}
        finally:
            server.send_signal(signal.SIGTERM)
            # What it still says must not keep it from ending.
            server.communicate(timeout=SECONDS_MAX)
    assert server.returncode == 0
    assert re.fullmatch(r"[0-9a-f]{64}", written.hash)
    return written


def command(*arguments: str) -> str:
    done = subprocess.run(
        [EVERLOG, *arguments],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=SECONDS_MAX,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
