"""nginx in front of a server, with a server block as an operator would write it."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import DEADLINE_SECONDS, wait_until
from tools.system_packages import SEARCH_PATH

_CONFIGURATION = """
{user}
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {server}
}}
"""


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_nginx(server_block: str, *, port: int) -> Iterator[None]:
    """Run nginx with a server block that listens on this port, until the end of the block."""
    # As root, its worker would become somebody who may not enter the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    program = shutil.which("nginx", path=SEARCH_PATH)
    assert program is not None, "run `make test`"
    with tempfile.TemporaryDirectory(prefix="everlog-nginx-") as folder:
        configuration = Path(folder, "nginx.conf")
        configuration.write_text(_CONFIGURATION.format(user=user, server=server_block))
        process = subprocess.Popen(
            [program, "-p", folder, "-c", str(configuration), "-e", "stderr"],
            stdin=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: _is_listening(port, process))
            yield
        finally:
            process.terminate()
            process.wait(DEADLINE_SECONDS)


def _is_listening(port: int, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "nginx did not start"
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
