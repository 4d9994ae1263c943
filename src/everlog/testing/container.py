"""A server for tests in a container, by Testcontainers (`pip install 'everlog[testcontainers]'`).

`everlog.testing.EverlogServer` is the same without Docker, and starts sooner.
"""

import secrets
from typing import Any, Final

from everlog._version import __version__
from everlog.domain.errors import SettingsError

try:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy
except ModuleNotFoundError as error:
    raise SettingsError(
        "testcontainers is not installed: pip install 'everlog[testcontainers]'"
    ) from error

# As `deploy/docker` builds it.
IMAGE: Final = f"everlog:{__version__}"

# Of plain HTTP, in the container.
_PORT: Final = 3000


class EverlogContainer(DockerContainer):
    """A server with plain HTTP, whose events are gone with the container.

    `url` and `token` are what `everlog.connect` takes.
    """

    def __init__(self, image: str = IMAGE, *, token: str | None = None, **options: Any) -> None:
        """Start nothing yet; the options are those of `DockerContainer`."""
        super().__init__(image, **options)
        self.token: Final = token or secrets.token_urlsafe(16)
        self.with_env("EVERLOG_API_TOKEN", self.token)
        self.with_exposed_ports(_PORT)
        # Inside the container these are all interfaces; Docker publishes the port.
        flags = ("--host=0.0.0.0", "--http-enabled", "--https-enabled=false")
        self.with_command(["run", *flags, f"--http-port={_PORT}", "--data-directory-temporary"])
        self.waiting_for(LogMessageWaitStrategy('"message":"listening"'))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.get_container_host_ip()}:{self.get_exposed_port(_PORT)}"
