"""Starting: what a short command costs, and how soon a server answers for the first time."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from benchmarks.figures import Figure, at_most
from benchmarks.servers import TOKEN
from benchmarks.workbench import Workbench

# Bars, each in terms of what nobody can be faster than.
_RATIO_OF_COMMAND_MAX = 4.0
_MILLISECONDS_OF_COMMAND_MAX = 60.0
_RATIO_OF_SERVER_MAX = 1.2
_MILLISECONDS_OF_SERVER_MAX = 150.0

_NOTHING = (sys.executable, "-c", "pass")
_COMMAND = (sys.executable, "-m", "everlog", "version")
_LIBRARIES = (
    "asyncio",
    "click",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "httptools",
    "jsonschema_rs",
    "msgspec",
    "numpy",
    "ssl",
    "uvloop",
)
_IMPORTS = (sys.executable, "-c", f"import {', '.join(_LIBRARIES)}")


def measure_starting(bench: Workbench) -> Iterator[Figure]:
    """Time `everlog version` beside Python alone, and a first ping beside importing libraries."""
    nothing, command, imports, pings = [], [], [], []
    _warm_up(bench)
    for _ in range(bench.scale.repetitions):
        nothing.append(_busy_milliseconds(_NOTHING))
        command.append(_busy_milliseconds(_COMMAND))
        imports.append(_milliseconds(_IMPORTS))
        pings.append(_milliseconds_until_ping(bench.new_directory("starting")))
    yield Figure(
        name="everlog version, processor time",
        value=median(command),
        unit="ms",
        reference_name="python -c pass",
        reference=median(nothing),
        bar=at_most(_RATIO_OF_COMMAND_MAX + _MILLISECONDS_OF_COMMAND_MAX / median(nothing)),
        note=f"{_RATIO_OF_COMMAND_MAX:g} times and {_MILLISECONDS_OF_COMMAND_MAX:g} ms",
    )
    yield Figure(
        name="first answered ping of a server on an empty directory",
        value=median(pings),
        unit="ms",
        reference_name="its libraries",
        reference=median(imports),
        bar=at_most(_RATIO_OF_SERVER_MAX + _MILLISECONDS_OF_SERVER_MAX / median(imports)),
        note=f"{_RATIO_OF_SERVER_MAX:g} times and {_MILLISECONDS_OF_SERVER_MAX:g} ms",
    )


def _warm_up(bench: Workbench) -> None:
    """Have the bytecode of everything written, as it is where Everlog is installed."""
    _milliseconds(_COMMAND)
    _milliseconds(_IMPORTS)
    _milliseconds_until_ping(bench.new_directory("starting"))


def _environment() -> dict[str, str]:
    # The server asks for the same, so that the libraries are to be imported in the same way.
    chosen = {"EVERLOG_API_TOKEN": TOKEN, "OPENBLAS_NUM_THREADS": "1"}
    inherited = os.environ.items()
    return {name: text for name, text in inherited if name != "PYTHONDONTWRITEBYTECODE"} | chosen


def _busy_milliseconds(command: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _milliseconds(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds * 1e3


def _milliseconds(command: Sequence[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=_environment())
    return (time.perf_counter() - begin) * 1e3


def _milliseconds_until_ping(directory: Path) -> float:
    """Return the time from the start of the process to the end of the first answer."""
    command = [
        *(sys.executable, "-m", "everlog", "run", "--data-directory", str(directory)),
        *("--host=127.0.0.1", "--http-enabled", "--http-port=0", "--https-enabled=false"),
    ]
    begin = time.perf_counter()
    process = subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE, text=True)
    try:
        connection = HTTPConnection(_address_of(process))
        connection.request("GET", "/api/v1/ping")
        status = connection.getresponse().status
        taken = time.perf_counter() - begin
        connection.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()
    if status != 200:
        raise RuntimeError(f"a ping was answered with status {status}")
    return taken * 1e3


def _address_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    for line in process.stdout:
        entry = json.loads(line)
        if entry["message"] == "listening":
            return str(urlsplit(entry["url"]).netloc)
    raise RuntimeError(f"Everlog did not start: exit code {process.wait()}")
