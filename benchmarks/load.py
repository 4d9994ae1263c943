"""Clients from elsewhere that make the load: wrk for many small requests, curl for one large."""

import json
import resource
import signal
import subprocess
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from benchmarks.servers import TOKEN

_SCRIPT = Path(__file__).with_name("requests.lua")

# wrk takes whole seconds; it is interrupted when the time is over, and then reports as usual.
# Where nobody is left to interrupt it, it ends by itself soon after.
_WRK_SECONDS_MORE = 5

# A disk that stalls may let the shortest of runs end without an answer: then it runs again.
_PATIENCE = (1, 10, 50)


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw."""

    requests_per_second: float
    median_seconds: float
    p99_seconds: float
    seconds: float
    # The processor time of wrk itself.
    client_cpu_seconds: float


def save_bodies(path: Path, bodies: list[bytes]) -> Path:
    """Keep bodies where wrk finds them, one a line."""
    path.write_bytes(b"".join(body + b"\n" for body in bodies))
    return path


def run_wrk(url: str, bodies: Path, *, connections: int, seconds: float) -> Load:
    """Post to a URL from one thread; an answer that is an error ends the benchmark."""
    for times_longer in _PATIENCE:
        cpu_before = children_cpu_seconds()
        report = _run_once(url, bodies, connections, seconds * times_longer)
        if report["errors"]:
            raise RuntimeError(f"wrk at {url}: {report}")
        if report["requests"]:
            return Load(
                report["requests"] / report["microseconds"] * 1e6,
                report["median_microseconds"] / 1e6,
                report["p99_microseconds"] / 1e6,
                report["microseconds"] / 1e6,
                children_cpu_seconds() - cpu_before,
            )
    raise RuntimeError(f"wrk at {url}: nothing was answered")


def _run_once(url: str, bodies: Path, connections: int, seconds: float) -> dict[str, int]:
    command = [
        *("wrk", "--threads", "1", "--connections", str(connections)),
        *("--duration", f"{ceil(seconds) + _WRK_SECONDS_MORE}s", "--script", str(_SCRIPT), url),
        *("--", str(bodies), TOKEN),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    if not output:
        # It had not even begun, on a machine that is busy with something else.
        return {"requests": 0, "errors": 0}
    report: dict[str, int] = json.loads(output.splitlines()[-1])
    return report


def children_cpu_seconds() -> float:
    """Return the processor time of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def download_rate(url: str, *, method: str, body: bytes, target: Path | None = None) -> float:
    """Return the bytes per second of one answer, thrown away or kept in a file."""
    size, seconds = download(url, method=method, body=body, target=target)
    return size / seconds


def download(
    url: str, *, method: str, body: bytes, target: Path | None = None
) -> tuple[int, float]:
    """Return the bytes of one answer, and how many seconds it took."""
    command = [
        *("curl", "--silent", "--show-error", "--fail", "--insecure", "--request", method),
        *("--header", f"Authorization: Bearer {TOKEN}", "--data-binary", "@-"),
        *("--output", str(target or "/dev/null")),
        *("--write-out", "%{size_download} %{time_total}", url),
    ]
    done = subprocess.run(command, input=body, capture_output=True, check=True)
    size, seconds = done.stdout.split()
    return int(size), float(seconds)
