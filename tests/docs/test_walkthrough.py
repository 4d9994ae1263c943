"""The walk-through is true: every command of the page is run, and prints what the page shows.

It is written for root on a Debian of its own. Here `/etc`, `/var` and root's home are below a
temporary folder, the ports are such as are free, nothing is installed, no user is made, and what
systemd does is done by `Machine`. Everything else is run as it stands.
"""

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from everlog import exit_codes
from tests.support.pages import Block, code_blocks, read_page, run_script, with_placeholders
from tests.support.proxy import free_port, nginx_process
from tests.support.server import DEADLINE_SECONDS, RunningServer, started_process, wait_until
from tests.support.sources import REPOSITORY
from tools.system_packages import PACKAGES, SEARCH_PATH

PAGE: Final = "docs/operating/walkthrough.md"

EVERLOG: Final = Path(sys.executable).with_name("everlog")

FOLDERS: Final = (
    "etc/nginx/conf.d",
    "etc/nginx/snippets",
    "etc/nginx/sites-enabled",
    "etc/systemd/system",
    "root",
    "var/lib/everlog",
    "var/log/nginx",
)

# Only root may give files away, and there is nobody to give them to.
OWNERS: Final = "--owner root --group everlog "


class Machine:
    """A Debian below a folder: what the page changes of it, and what systemd does with that."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder: Final = folder
        self.clone: Final = folder / "clone"
        self._stack: Final = stack
        self._everlog_port: Final = free_port()
        self._everlog: RunningServer | None = None
        self._nginx: subprocess.Popen[bytes] | None = None
        self._nginx_port = 0
        # Whatever is not run as it stands, by the whole command.
        self._instead: Final[dict[str, Callable[[], str]]] = {
            "systemctl daemon-reload": lambda: "",
            "systemctl enable --now everlog": self._start_everlog,
            "systemctl start everlog": self._start_everlog,
            "systemctl reload everlog": self._reload_everlog,
            "systemctl stop everlog": self._stop_everlog,
            "systemctl reload nginx": self._reload_nginx,
            "nginx -t": self._check_nginx,
            "journalctl --unit everlog --output cat --lines 2": self._last_lines,
        }
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
        self.clone.mkdir()
        (self.clone / "deploy").symlink_to(REPOSITORY / "deploy")

    def run(self, block: str) -> str:
        """Run a block of the page, and return what it prints."""
        printed, script = "", ""
        for line in block.splitlines(keepends=True):
            instead = self._instead.get(line.rstrip("\n"))
            if instead is None:
                assert not re.match(r"systemctl|journalctl|nginx", line), line
                script += line
            else:
                printed += self._run_as_it_stands(script) + instead()
                script = ""
        return printed + self._run_as_it_stands(script)

    def _run_as_it_stands(self, script: str) -> str:
        script = re.sub(r"^(useradd|chgrp) (?:.*\\\n)*.*$", "", script, flags=re.MULTILINE)
        script = self._moved(script.replace(OWNERS, ""))
        script = script.replace(':127.0.0.1:443"', f':127.0.0.1:{self._nginx_port}"')
        script = f"HOME={self.folder}/root\n{script}"
        return run_script(["bash", "-eu", "-o", "pipefail"], script, directory=self.clone)

    def _moved(self, text: str) -> str:
        text = text.replace("/opt/everlog/bin/everlog", str(EVERLOG))
        text = re.sub(r"(?<![\w./-])/(?=(etc|var)/)", f"{self.folder}/", text)
        return text.replace("everlog.internal:443:127.0.0.1:4000", self._upstream_name)

    @property
    def _upstream_name(self) -> str:
        return f"everlog.internal:443:127.0.0.1:{self._everlog_port}"

    def _start_everlog(self) -> str:
        unit = self._settings()
        (command,) = unit["ExecStart"]
        environment = dict(text.split("=", 1) for text in unit["Environment"])
        environment["EVERLOG_HTTPS_PORT"] = str(self._everlog_port)
        process = started_process(shlex.split(command), self.folder, environment)
        self._everlog = self._stack.enter_context(process)
        self._everlog.wait_for_log("listening")
        return ""

    def _settings(self) -> dict[str, list[str]]:
        """Return what the unit says, and the file beside it."""
        folder = self.folder / "etc/systemd/system"
        files = [folder / "everlog.service", *folder.glob("everlog.service.d/*.conf")]
        text = "".join(file.read_text(encoding="utf-8") for file in files)
        text = self._moved(re.sub(r"\\\n\s*", "", text))
        settings: dict[str, list[str]] = {}
        for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
            settings.setdefault(name, []).append(value)
        return settings

    def _reload_everlog(self) -> str:
        assert self._everlog is not None
        assert self._settings()["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
        log = self._everlog.output
        before = len(log)
        self._everlog.process.send_signal(signal.SIGHUP)
        # One line is about the certificate, and one about the token.
        wait_until(lambda: len(log) >= before + 2)
        assert {line["level"] for line in self._everlog.log[before:]} == {"info"}
        return ""

    def _stop_everlog(self) -> str:
        assert self._everlog is not None
        assert self._settings()["KillSignal"] == ["SIGTERM"]
        assert self._everlog.stop() == exit_codes.EXIT_OK
        return ""

    def _last_lines(self) -> str:
        assert self._everlog is not None
        return b"".join(self._everlog.output[-2:]).decode()

    def _check_nginx(self) -> str:
        program = shutil.which("nginx", path=SEARCH_PATH)
        assert program is not None, "run `make test`"
        main = self.folder / "nginx.conf"
        main.write_text(
            f"pid {main}.pid;\nevents {{}}\nhttp {{ {self._write_nginx(free_port())} }}\n"
        )
        done = subprocess.run(
            [program, "-t", "-q", "-p", self.folder, "-c", main, "-e", "stderr"],
            capture_output=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return ""

    def _write_nginx(self, port: int) -> str:
        """Write what nginx reads in place of the page's files, and return how it finds it."""
        for file in (self.folder / "etc/nginx").glob("*/*.conf"):
            text = self._moved(file.read_text(encoding="utf-8"))
            for shown, actual in (
                ("snippets/", f"{self.folder}/read/snippets/"),
                ("server 127.0.0.1:4000;", f"server 127.0.0.1:{self._everlog_port};"),
                ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
                ("listen [::]:443 ssl;", ""),
            ):
                text = text.replace(shown, actual)
            read = self.folder / "read" / file.relative_to(self.folder / "etc/nginx")
            read.parent.mkdir(parents=True, exist_ok=True)
            read.write_text(text, encoding="utf-8")
        return f"include {self.folder}/read/conf.d/*.conf;"

    def _reload_nginx(self) -> str:
        if self._nginx is None:
            # On a Debian it is running since it was installed.
            process = nginx_process(self._write_nginx)
            self._nginx_port, self._nginx = self._stack.enter_context(process)
            return ""
        before = self._nginx_workers()
        self._write_nginx(self._nginx_port)
        self._nginx.send_signal(signal.SIGHUP)
        wait_until(lambda: bool(now := self._nginx_workers()) and now.isdisjoint(before))
        return ""

    def _nginx_workers(self) -> set[str]:
        assert self._nginx is not None
        pid = self._nginx.pid
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@contextmanager
def new_machine(folder: Path) -> Iterator[Machine]:
    with ExitStack() as stack:
        yield Machine(folder, stack)


def walkthrough() -> tuple[str, str, list[Block]]:
    """Return what installs packages, what installs the program, and all that follows."""
    packages, program, *others = code_blocks(read_page(PAGE))
    return packages.text, program.text, others


def test_what_the_walk_through_installs_is_what_is_run_elsewhere() -> None:
    packages, program, _ = walkthrough()

    # `test_service.py` runs it.
    assert program == code_blocks(read_page("docs/operating/systemd.md"))[0].text
    update, install = packages.splitlines()
    assert update == "apt-get update"
    # A Debian has systemd already; load, copies, file systems and clusters are for those who test.
    unneeded = {
        "systemd",
        "jq",
        "wrk",
        "chromium",
        "rsync",
        "xfsprogs",
        "btrfs-progs",
        "etcd-server",
        "iproute2",
    }
    needed = {"git", "python3-venv", *PACKAGES.values()} - unneeded
    assert needed < set(install.removeprefix("apt-get install ").split())


# Rights of files, and nginx, are those of a Debian.
if sys.platform == "linux":

    def comparable(text: str) -> str:
        return with_placeholders(re.sub('"expires":"[^"]+"', '"expires":"<date>"', text))

    @pytest.mark.slow
    def test_every_command_of_the_walk_through_prints_what_the_page_shows(tmp_path: Path) -> None:
        _, _, blocks = walkthrough()
        compared = 0
        with new_machine(tmp_path) as machine:
            for block, following in pairwise([*blocks, Block("sh", "", 0)]):
                if block.language != "sh":
                    continue
                output = machine.run(block.text)
                shown = "" if following.language == "sh" else following.text
                assert comparable(output) == comparable(shown), block.line
                compared += following.language != "sh"
            check_modes(machine)
            check_events(machine)
        assert compared == len([block for block in blocks if block.language != "sh"])

    def check_modes(machine: Machine) -> None:
        """Look at the rights that the walk-through leaves behind."""
        for name in ("api-token", "tls.crt", "tls.key", "signing-key.pem"):
            assert (machine.folder / "etc/everlog" / name).stat().st_mode & 0o777 == 0o640
        for name in ("etc/nginx/tls.key", "root/authorization"):
            assert (machine.folder / name).stat().st_mode & 0o777 == 0o600
        left = {path.name for path in (machine.folder / "etc/everlog").iterdir()}
        assert left == {"api-token", "tls.crt", "tls.key", "signing-key.pem"}

    def check_events(machine: Machine) -> None:
        """Look into the backup, and at the server that goes on."""
        backup = machine.folder / "root/everlog-backup"
        (segment,) = (backup / "log").iterdir()
        assert b"book-acquired" in segment.read_bytes()
        read = (
            "curl --config ~/client.curl https://everlog.example.com/api/v1/read-events "
            """--data '{"subject": "/books/42"}'"""
        )
        assert "book-acquired" in machine.run(read)
