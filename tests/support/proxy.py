"""nginx in front of a server, with a configuration as an operator would write it."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import DEADLINE_SECONDS, clean_environment
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
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_nginx(write_configuration: Callable[[int], str]) -> Iterator[int]:
    """Run nginx until the end of the block, and yield its port of 127.0.0.1.

    What the function returns for that port stands in the `http` block.
    """
    with nginx_process(write_configuration) as (port, _):
        yield port


@contextmanager
def nginx_process(
    write_configuration: Callable[[int], str],
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Do the same for who also wants to send it signals."""
    # As root, its worker would become somebody who may not enter the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    program = shutil.which("nginx", path=SEARCH_PATH)
    assert program is not None, "run `make test`"
    with (
        tempfile.TemporaryDirectory(prefix="everlog-nginx-") as folder,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        port: int = listener.getsockname()[1]
        configuration = Path(folder, "nginx.conf")
        text = _CONFIGURATION.format(user=user, server=write_configuration(port))
        configuration.write_text(text)
        process = subprocess.Popen(
            [program, "-p", folder, "-c", str(configuration), "-e", "stderr"],
            stdin=subprocess.DEVNULL,
            # It takes over a socket as when it replaces itself: the system has chosen the port.
            pass_fds=[listener.fileno()],
            env={**clean_environment(), "NGINX": f"{listener.fileno()};"},
        )
        # Clients wait in the queue of the socket until nginx is there, and are refused if it is
        # never.
        listener.close()
        try:
            yield port, process
        finally:
            process.terminate()
            process.wait(DEADLINE_SECONDS)
