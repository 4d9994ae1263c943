"""Reading: the whole log, one small subject, and the first event of large selections."""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.client import render_request, seconds_to_first_byte
from benchmarks.events import EVENTS_PER_SUBJECT, LIBRARIES, subject_of
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.load import download_rate, run_wrk, save_bodies
from benchmarks.servers import serve_everlog, serve_nginx
from benchmarks.workbench import Workbench


class Version(NamedTuple):
    """How a version of the API reads events."""

    name: str
    method: str
    path: str
    # Of the rate at which nginx serves the same bytes: each line of version 1 is a chunk.
    file_share_min: float


VERSIONS = (
    Version("v1", "POST", "/api/v1/read-events", 0.45),
    Version("v2", "QUERY", "/api/v2/data/read-events", 0.7),
)

EVERYTHING = b'{"subject":"/","options":{"recursive":true}}'

_FIRST_BYTE_SECONDS_MAX = {1_000_000: 0.005, 10_000_000: 0.050}


def measure_whole_log(bench: Workbench) -> Iterator[Figure]:
    """Compare reading everything with nginx serving the same bytes as a file."""
    event_count = bench.scale.event_count
    directory = bench.filled_log(event_count)
    files = bench.new_directory("files")
    body = EVERYTHING
    with (
        serve_everlog(directory, bench.certificate) as everlog,
        serve_nginx(files, bench.certificate, answer_size=1) as nginx,
    ):
        for version in VERSIONS:
            url = everlog.plain + version.path
            target = files / version.name
            download_rate(url, method=version.method, body=body, target=target)
            for scheme, url, reference_url in (
                ("plain", everlog.plain, nginx.plain),
                ("TLS", everlog.tls, nginx.tls),
            ):
                rates, references = [], []
                for _ in range(3):
                    rates.append(
                        download_rate(url + version.path, method=version.method, body=body)
                    )
                    references.append(
                        download_rate(
                            f"{reference_url}/files/{version.name}", method="GET", body=b""
                        )
                    )
                yield Figure(
                    name=f"whole log of {event_count:,} events, {version.name}, {scheme}",
                    value=median(rates) / 1e6,
                    unit="MB/s",
                    reference_name="nginx file",
                    reference=median(references) / 1e6,
                    bar=at_least(version.file_share_min),
                )


def measure_small_reads(bench: Workbench) -> Iterator[Figure]:
    """Compare reading a subject of ten events with nginx answering as many bytes at once."""
    scale = bench.scale
    event_count = scale.event_count
    directory = bench.filled_log(event_count)
    with (
        serve_everlog(directory, bench.certificate) as everlog,
        serve_nginx(bench.folder, bench.certificate, answer_size=650 * EVENTS_PER_SUBJECT) as nginx,
    ):
        # Version 1 only: wrk refuses to send the method QUERY.
        saved = saved_subjects(bench, event_count)
        path = VERSIONS[0].path
        name = f"subject of {EVENTS_PER_SUBJECT} among {event_count:,} events"
        for connections in (1, 64):
            load, reference = (
                run_wrk(url + path, saved, connections=connections, seconds=scale.seconds)
                for url in (everlog.plain, nginx.plain)
            )
            if connections == 1:
                yield Figure(
                    name=f"{name}: median latency",
                    value=load.median_seconds * 1e3,
                    unit="ms",
                    bar=at_most(1.0),
                    note=f"99 % {load.p99_seconds * 1e3:.2f} ms",
                )
            yield Figure(
                name=f"{name}, {connections} connections",
                value=load.requests_per_second,
                unit="reads/s",
                reference_name="nginx return 200",
                reference=reference.requests_per_second,
            )


def saved_subjects(bench: Workbench, event_count: int) -> Path:
    """Write bodies for wrk into a file, each to read a subject of a filled log.

    Subjects of different places in the tree, so that no cache holds them all.
    """
    positions = range(0, event_count // 20, max(event_count // 20_000, 1))
    subjects = (subject_of(position, event_count=event_count) for position in positions)
    bodies = [_body(subject, recursive=False) for subject in subjects]
    return save_bodies(bench.new_directory("bodies") / "bodies", bodies)


def measure_first_byte(bench: Workbench) -> Iterator[Figure]:
    """Time the first event of recursive reads."""
    for event_count in bench.scale.log_event_counts:
        with serve_everlog(bench.filled_log(event_count), bench.certificate) as everlog:
            for subject, order, what in (
                ("/", "chronological", "the whole log"),
                (f"/libraries/{LIBRARIES // 2}", "chronological", "1 %, spread"),
                ("/archive", "chronological", "the last 5 %"),
                ("/libraries", "antichronological", "the first 95 %, backwards"),
            ):
                request = render_request(
                    "POST", "/api/v1/read-events", _body(subject, recursive=True, order=order)
                )
                times = [
                    seconds_to_first_byte(everlog.port, request)
                    for _ in range(bench.scale.repetitions)
                ]
                bar = _FIRST_BYTE_SECONDS_MAX.get(event_count)
                yield Figure(
                    name=f"first event of {what}, {event_count:,} events",
                    value=median(times) * 1e3,
                    unit="ms",
                    bar=None if bar is None else at_most(bar * 1e3),
                    note=f"slowest of {len(times)}: {max(times) * 1e3:.2f} ms",
                )


def _body(subject: str, *, recursive: bool, order: str = "chronological") -> bytes:
    options = {"recursive": recursive, "order": order}
    return json.dumps({"subject": subject, "options": options}).encode()
