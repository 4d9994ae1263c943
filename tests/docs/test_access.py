"""What the pages about access and TLS tell to do, done: every command, and what it leads to."""

import ssl
import sys
from pathlib import Path

import pytest

from everlog.api.allowances import ADDRESSES_MAX, FAILURES_MAX, FAILURES_PER_SECOND
from everlog.credentials.live import EXPIRY_WARNING_DAYS
from everlog.credentials.token import LENGTH_OF_NEW, STRONG_LENGTH_MIN
from everlog.domain.limits import WRITE_COST
from tests.support.api import Connection
from tests.support.pages import code_blocks, read_page, run_script
from tests.support.server import RunningServer, running_server, wait_until

ACCESS = "docs/operating/access.md"
TLS = "docs/operating/tls.md"

# Where `everlog` is.
COMMANDS = Path(sys.executable).parent


def scripts(page: str) -> list[str]:
    # Blocks in lists are indented.
    text = "\n".join(line.removeprefix("   ") for line in read_page(page).splitlines())
    return [block.text for block in code_blocks(text + "\n") if block.language == "sh"]


def run(script: str, directory: Path) -> None:
    run_script(["bash", "-eu"], script, directory=directory, path=COMMANDS)


def check_opens(server: RunningServer, token: str, *, status: int) -> None:
    with Connection(server.url) as client:
        headers = {"Authorization": f"Bearer {token}"}
        answer = client.ask("POST", "/api/v1/verify-api-token", headers=headers)
    assert answer.status == status


def exchange(server: RunningServer, *, count: int) -> None:
    """Send the signal as the page says, and wait for what the page says that the log says."""
    run(f"kill -HUP {server.pid}", server.data_directory.parent)
    wait_until(
        lambda: any(
            line["message"] == "the token file was read again" and line["tokenCount"] == count
            for line in server.log
        )
    )


@pytest.mark.slow
def test_a_token_is_exchanged_as_the_page_says(tmp_path: Path) -> None:
    make, add, remove = scripts(ACCESS)
    file = tmp_path / "api-token"
    run(make, tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    old = file.read_text().strip()

    with running_server(f"--api-token-file={file}") as server:
        check_opens(server, old, status=200)

        run(add, tmp_path)
        assert file.stat().st_mode & 0o777 == 0o600
        exchange(server, count=2)
        new = file.read_text().splitlines()[1]
        check_opens(server, old, status=200)
        check_opens(server, new, status=200)

        run(remove, tmp_path)
        assert file.stat().st_mode & 0o777 == 0o600
        exchange(server, count=1)
        check_opens(server, old, status=401)
        check_opens(server, new, status=200)
    assert [path.name for path in tmp_path.iterdir()] == ["api-token"]


@pytest.mark.slow
def test_the_certificate_of_the_page_is_trusted_by_who_is_told_to(tmp_path: Path) -> None:
    (make,) = scripts(TLS)
    run(make, tmp_path)
    flags = ("--https-certificate-file", "tls.crt", "--https-private-key-file", "tls.key")
    flags = tuple(flag if flag[0] == "-" else str(tmp_path / flag) for flag in flags)

    with running_server("--https-enabled", "--http-enabled=false", *flags) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        context = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
        with Connection(url, context=context) as client:
            assert client.ask("GET", "/api/v1/ping").status == 200


@pytest.mark.parametrize(
    "page, text",
    [
        (ACCESS, f"prints {LENGTH_OF_NEW} random letters and digits"),
        (ACCESS, f"a token of less than {STRONG_LENGTH_MIN} characters"),
        (ACCESS, f"without the right token {FAILURES_MAX} times is slowed"),
        (ACCESS, f"{ADDRESSES_MAX:,} addresses are remembered"),
        (ACCESS, f"counts as {WRITE_COST} reads"),
        (TLS, f"fewer than {EXPIRY_WARNING_DAYS} days"),
    ],
)
def test_the_numbers_of_the_pages_are_those_of_the_code(page: str, text: str) -> None:
    assert text in read_page(page)
    assert FAILURES_PER_SECOND == 1  # "one failure a second"
