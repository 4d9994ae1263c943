"""Rows from a data directory that no server has open."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from everlog.credentials.signing_key import load_signing_key
from everlog.domain.errors import CorruptLogError, DataDirectoryError
from everlog.domain.signature import sign
from everlog.eventql.query import EvaluationContext, QueryLimits, execute, prepare, scans_of
from everlog.maintenance.query_log import opened_query_log


def query_directory(
    directory: Path,
    text: str,
    *,
    signing_key_file: Path | None,
    on_read: Callable[[int, int], None],
) -> Iterator[list[bytes]]:
    """Yield the rows of a query as JSON texts, in chunks.

    `on_read` is told how many events were read so far, and how many there are to be read.

    Raises:
        SettingsError: The signing key cannot be used.
        DataDirectoryError: The directory cannot be read, or is damaged.
        QueryMalformedError, QueryUnevaluableError, QueryLimitError: The query has no answer.
    """
    key = load_signing_key(signing_key_file)
    plan = prepare(text)
    surroundings = EvaluationContext(
        now=time.time_ns(),
        random=random.random,
        sign=None if key is None else lambda hash_: sign(key, hash_),
        limits=QueryLimits(),
    )
    done = total = 0

    def count(events: int) -> None:
        nonlocal done
        done += events
        # Names are collected in a pass of their own.
        on_read(done, max(done, total))

    try:
        with opened_query_log(directory, on_read=count) as log:
            total = sum(map(log.count_within_ids, scans_of(plan))) or log.event_count
            yield from execute(plan, log, surroundings)
    except (msgspec.MsgspecError, ValueError) as error:
        # Reading does not look at every member of every event; a query did.
        raise CorruptLogError(
            f"an event is not as it was written ({error}); 'everlog audit' tells all that is wrong",
            position=None,
        ) from error
    except OSError as error:
        raise DataDirectoryError(f"{directory} cannot be read: {error.strerror}") from error
