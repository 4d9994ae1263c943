"""Judging the events of a backup against their schemas, one after the other.

What certainly takes a moment is judged at once. All else is judged in a process (`schema_worker`),
which the system ends when it takes too much: so no schema and no data can make a restore hang.
What is left to others: what a schema means and costs (the domain).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from everlog.domain.schema import EventSchema, explain_violation, matches
from everlog.environment import environment_without_secrets
from everlog.judging_messages import (
    LENGTH,
    End,
    Exceeded,
    JudgingJob,
    Message,
    decode_message,
    encode,
    outcome_of,
    parts_of,
)

_COMMAND: Final = (sys.executable, "-m", "everlog.schema_worker")

# What judging one event may take in this process, and how many reasons may be found why it does not
# match.
_AT_ONCE_SECONDS_MAX: Final = 0.01
_AT_ONCE_REASONS_MAX: Final = 1_000


class SchemaJudge:
    """Judges on the thread that asks; starts a process when it needs one."""

    def __init__(self) -> None:
        """Start none yet."""
        self._process: subprocess.Popen[bytes] | None = None

    def check(self, schema: EventSchema) -> None:
        """Check that what is not compiled is a schema.

        Raises:
            RefusedError: It is none, or takes too much to compile.
        """
        if schema.validator is None:
            self._run(schema, (), is_registered=False)

    def may_judge_at_once(self, schema: EventSchema, text: str) -> bool:
        """Tell whether judging data, of which the JSON text is given, certainly takes a moment."""
        cost = schema.cost
        return (
            schema.validator is not None
            and cost is not None
            and cost.seconds(text) <= _AT_ONCE_SECONDS_MAX
            and cost.reasons(text) <= _AT_ONCE_REASONS_MAX
        )

    def find_violation_at_once(self, schema: EventSchema, data: dict[str, object]) -> str | None:
        """Return why data does not match, None if it does; for what may be judged at once."""
        return None if matches(schema, data) else explain_violation(schema, data)

    def find_violation(self, schema: EventSchema, texts: Sequence[str]) -> tuple[int, str] | None:
        """Return the index of the first data that does not match, and why; None if all do.

        Each text is the JSON of an event's data.
        """
        for first, part in parts_of(texts):
            violation = self._run(schema, part, is_registered=True)
            if violation is not None:
                return first + violation[0], violation[1]
        return None

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            # Its child, too, which may be in the middle of a job.
            os.killpg(process.pid, signal.SIGKILL)
        with process:
            pass

    def _run(
        self, schema: EventSchema, texts: Sequence[str], *, is_registered: bool
    ) -> tuple[int, str] | None:
        job = JudgingJob(schema.event_type, schema.text, is_registered, texts)
        messages = list[Message]()
        try:
            self._ask(job, messages)
        except (EOFError, BrokenPipeError):
            # Somebody has ended it; most often the system, for the memory that it took.
            messages.append(Exceeded())
            self.close()
        return outcome_of(messages, is_registered=is_registered)

    def _ask(self, job: JudgingJob, messages: list[Message]) -> None:
        process = self._process
        if process is None:
            process = self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment_without_secrets(),
                start_new_session=True,
            )
        assert process.stdin is not None
        process.stdin.write(encode(job))
        process.stdin.flush()
        while not messages or not isinstance(messages[-1], End):
            [length] = LENGTH.unpack(self._read(LENGTH.size))
            messages.append(decode_message(self._read(length)))

    def _read(self, size: int) -> bytes:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        content = process.stdout.read(size)
        if len(content) < size:
            raise EOFError
        return content
