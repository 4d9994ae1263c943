"""The event schemas, one line each in a file of their own, in the order of registration.

    {"type":"schema","payload":{"eventType":"...","schema":{...}},"hash":"<sha256 hex>"}<LF>

Few and small, so the file is read whole at opening and synced at each registration. The hash
covers the payload's bytes. A line behind the durable bound may be torn; who opens the log for
writing removes it.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Final

import msgspec

from everlog.domain.errors import CorruptLogError
from everlog.storage.engine import StagedSchema
from everlog.storage.log.directory import SCHEMAS_FILE, Place
from everlog.storage.log.disk import (
    Disk,
    Folder,
    cut,
    open_file,
    read_file,
    read_whole,
    sync,
    write_all,
)


class _Payload(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    event_type: str
    schema: msgspec.Raw


class _SchemaLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    payload: msgspec.Raw
    hash: str


_LINE_DECODER: Final = msgspec.json.Decoder(_SchemaLine)
_PAYLOAD_DECODER: Final = msgspec.json.Decoder(_Payload)


class SchemasFile:
    """The file of event schemas."""

    def __init__(self, directory: Folder, disk: Disk, resources: ExitStack) -> None:
        """Open or create the file."""
        self._disk = disk
        self._path = directory.path / SCHEMAS_FILE
        self._file = open_file(disk, directory, SCHEMAS_FILE, resources)
        self.place: Final = Place(directory, SCHEMAS_FILE, self._file)
        disk.sync_directory(directory)
        # The bytes that hold complete lines.
        self.size = 0

    def read(self, *, durable_size: int, may_lack: bool = False) -> list[StagedSchema]:
        """Return all schemas, and remove what was being written when the power went.

        Raises:
            CorruptLogError: The part that is known to be durable is damaged.
        """
        content = read_whole(self._file)
        schemas, self.size = parse_schemas(
            content, self._path, durable_size=durable_size, may_lack=may_lack
        )
        if len(content) > durable_size:
            # See `Segments.write_again`.
            write_all(self._disk, self._file, content[durable_size : self.size], durable_size)
            self.restore(self.size)
        return schemas

    def append(self, schemas: Sequence[StagedSchema]) -> None:
        """Add schemas and sync; raises OSError as the system does, and `restore` undoes it."""
        content = b"".join(map(_render, schemas))
        write_all(self._disk, self._file, content, self.size)
        sync(self._disk, self._file)
        self.size += len(content)

    def restore(self, size: int) -> None:
        """Cut the file back to an earlier size and sync it."""
        cut(self._disk, self._file, size)
        self.size = size


def read_schemas(directory: Folder, disk: Disk) -> bytes:
    """Return the content of the file in a data directory; where there is none, nothing."""
    try:
        return read_file(disk, directory, SCHEMAS_FILE)
    except FileNotFoundError:
        return b""


def parse_schemas(
    content: bytes, path: Path, *, durable_size: int, may_lack: bool = False
) -> tuple[list[StagedSchema], int]:
    """Return all schemas and the bytes that hold them, without what was torn.

    A copy may lack the end of what was durable.

    Raises:
        CorruptLogError: The part that is known to be durable is damaged.
    """
    schemas: list[StagedSchema] = []
    size = 0
    for number, line in enumerate(BytesIO(content), start=1):
        try:
            schemas.append(_parse(line))
        except ValueError as error:
            is_missing = b"\0" in line or not line.endswith(b"\n")
            if not is_missing if may_lack else size < durable_size:
                raise _damaged(path, number, str(error)) from error
            break
        size += len(line)
    if size < durable_size and not may_lack:
        raise _damaged(path, len(schemas) + 1, "it is missing")
    return schemas, size


def _parse(line: bytes) -> StagedSchema:
    if not line.endswith(b"\n"):
        message = "it has no end"
        raise ValueError(message)
    found = _LINE_DECODER.decode(line)
    payload = _PAYLOAD_DECODER.decode(found.payload)
    text = bytes(payload.schema).decode()
    if found.type != "schema" or sha256(found.payload).hexdigest() != found.hash:
        message = "its hash is wrong"
        raise ValueError(message)
    return StagedSchema(payload.event_type, text)


def _render(schema: StagedSchema) -> bytes:
    payload = f'{{"eventType":"{schema.event_type}","schema":{schema.text}}}'.encode()
    digest = sha256(payload).hexdigest().encode()
    return b'{"type":"schema","payload":%b,"hash":"%b"}\n' % (payload, digest)


def _damaged(path: Path, number: int, reason: str) -> CorruptLogError:
    message = (
        f"the event schema in line {number} of {path} is damaged ({reason}): "
        "restore the data directory from a backup"
    )
    return CorruptLogError(message, position=None)
