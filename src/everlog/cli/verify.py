"""`everlog verify`: whether an event is in a log, and a log only grew, without the log."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeVar

import click

from everlog.exit_codes import EXIT_DAMAGED
from everlog.texts import to_printable, to_printable_json, to_unicode
from everlog.verifying.checkpoints import Checkpoint, encoded
from everlog.verifying.errors import VerificationError
from everlog.verifying.events import Event, find_event
from everlog.verifying.notes import NOTE_SIZE_MAX, VerifierKey
from everlog.verifying.offline import (
    Signature,
    SignedCheckpoint,
    Trust,
    check_checkpoint,
    check_event,
    check_growth,
    check_order,
)
from everlog.verifying.proofs import PROOF_SIZE_MAX, ConsistencyProof, InclusionProof

# Whoever opens it says what is wrong with it.
_FILE: Final = click.Path(path_type=Path, allow_dash=True, readable=False)
_STANDARD_INPUT: Final = Path("-")

_Result = TypeVar("_Result")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Click does not fill a paragraph that begins with this character.
_HELP: Final = """Show offline that an event is in a log, or that a log only grew.

No server is asked, and no data directory read: all it takes is files, and the log's verifier key,
which has to come from somebody you trust. A file may be - for standard input.

\b
That an event is in the log, in its place:
  everlog verify --event event.json --proof inclusion-proof.json
    --checkpoint checkpoint.txt --key "$(cat verifier-keys)"

\b
That the log has only grown since a checkpoint that was kept:
  everlog verify --earlier kept.txt --proof consistency-proof.json
    --checkpoint checkpoint.txt --key "$(cat verifier-keys)"

With neither, only the signatures of the checkpoint are verified.

\b
Exit codes:
  0  all was shown
  1  anything unexpected
  2  a flag is wrong, or a file cannot be read
  4  something was not shown; the message says what
"""


class _NotShownError(Exception):
    """What was asked for is not shown; which file says so, and why."""

    def __init__(self, part: str, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.part = part
        self.path = path
        self.reason = reason


class _Shown(NamedTuple):
    """What was shown, from files that belong together."""

    signed: SignedCheckpoint
    event: Event | None = None
    earlier: Checkpoint | None = None


@click.command(help=_HELP)
@click.option(
    "--checkpoint",
    type=_FILE,
    required=True,
    help="The log's checkpoint, as GET /api/v2/log/checkpoint answers.",
)
@click.option(
    "--event",
    type=_FILE,
    help="The event, as read-events or a backup has it; of many lines, the one it is about counts.",
)
@click.option("--earlier", type=_FILE, help="A checkpoint of the same log that was kept.")
@click.option(
    "--proof",
    type=_FILE,
    help="The proof, as inclusion-proof or, with --earlier, consistency-proof answers.",
)
@click.option(
    "--key",
    "keys",
    metavar="VERIFIERKEY",
    multiple=True,
    required=True,
    help="A verifier key of the log, or a line for each; of several, one has to have signed.",
)
@click.option(
    "--witness",
    "witnesses",
    metavar="VERIFIERKEY",
    multiple=True,
    help="A verifier key of a witness that has to have cosigned the checkpoint; repeatable.",
)
@click.option(
    "--witnesses-required",
    type=click.IntRange(min=0),
    help="How many of the witnesses are enough; without it, all are needed.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json is for programs: one object.",
)
def verify(
    checkpoint: Path,
    event: Path | None,
    earlier: Path | None,
    proof: Path | None,
    keys: tuple[str, ...],
    witnesses: tuple[str, ...],
    witnesses_required: int | None,
    format_: str,
) -> None:
    """Print what is shown, or why it is not."""
    _check_files(checkpoint, event, earlier, proof)
    trust = read_trust(keys, witnesses, witnesses_required)
    is_json = format_ == "json"
    try:
        shown = _verify(checkpoint, event, earlier, proof, trust)
    except _NotShownError as refusal:
        click.echo(_refusal_json(refusal) if is_json else _refusal_text(refusal))
        sys.exit(EXIT_DAMAGED)
    click.echo(_shown_json(shown) if is_json else "\n".join(_sentences(shown)))


def read_trust(
    keys: Sequence[str], witnesses: Sequence[str] = (), witnesses_required: int | None = None
) -> Trust:
    """Return whom to believe; without another number, each of the witnesses is required.

    Raises:
        click.UsageError: A key is none, or cannot be what it is given for.
    """
    cosigners = _read_keys(witnesses, "--witness")
    required = len(cosigners) if witnesses_required is None else witnesses_required
    trust = Trust(_read_keys(keys, "--key"), cosigners, required)
    try:
        trust.check()
    except VerificationError as error:
        raise click.UsageError(to_printable(str(error))) from error
    return trust


def read_file(path: Path, size_max: int) -> bytes:
    """Return the content of a file, or of its beginning where it is larger than allowed.

    Raises:
        click.UsageError: It cannot be read.
    """
    with _opened(path) as file:
        return file.read(size_max + 1)


def in_words(signatures: Sequence[Signature]) -> str:
    """Return who signed, for a person."""
    return ", ".join(map(_signer_in_words, signatures))


def _read_keys(texts: Iterable[str], flag: str) -> list[VerifierKey]:
    """Return the keys, of which a flag may be given several at a time, as a file has them."""
    keys: list[VerifierKey] = []
    for text in [one for given in texts for one in given.split() or [given]]:
        try:
            keys.append(VerifierKey.parse(text))
        except VerificationError as error:
            raise click.UsageError(to_printable(f"{flag} {text!r}: {error}")) from error
    return keys


def _check_files(*files: Path | None) -> None:
    _, event, earlier, proof = files
    if event is not None and earlier is not None:
        raise click.UsageError(
            "--event and --earlier need a proof each: verify one after the other"
        )
    if event is not None and proof is None:
        raise click.UsageError("--event needs the --proof that it is in the log")
    if proof is not None and event is None and earlier is None:
        raise click.UsageError("--proof needs the --event or the --earlier checkpoint it is about")
    if [*files].count(_STANDARD_INPUT) > 1:
        raise click.UsageError("standard input can be one file only")


def _verify(
    checkpoint: Path, event: Path | None, earlier: Path | None, proof: Path | None, trust: Trust
) -> _Shown:
    """Return what is shown.

    Raises:
        _NotShownError: Something is not.
        click.UsageError: A file cannot be read.
    """
    signed = _in("checkpoint", checkpoint, lambda: _signed(checkpoint, trust))
    if earlier is not None:
        # What was kept is believed by the log's signature; witnesses may have come later.
        before = _in("earlier", earlier, lambda: _signed(earlier, Trust(trust.keys))).checkpoint
        _in("earlier", earlier, lambda: check_order(before, signed.checkpoint))
        growth = None
        if proof is not None:
            growth = _in("proof", proof, lambda: ConsistencyProof.parse(_read_proof(proof)))
        part, path = ("earlier", earlier) if proof is None else ("proof", proof)
        _in(part, path, lambda: check_growth(before, signed.checkpoint, growth))
        return _Shown(signed, earlier=before)
    if event is None or proof is None:
        return _Shown(signed)
    inclusion = _in("proof", proof, lambda: InclusionProof.parse(_read_proof(proof)))
    with _opened(event) as file:
        found = _in("event", event, lambda: find_event(file, inclusion.event_id))
    _in("proof", proof, lambda: check_event(found, inclusion, signed.checkpoint))
    return _Shown(signed, event=found)


def _in(part: str, path: Path, step: Callable[[], _Result]) -> _Result:
    """Return what a step results in, and say of a refusal which file it is about."""
    try:
        return step()
    except VerificationError as error:
        raise _NotShownError(part, path, str(error)) from error


def _signed(path: Path, trust: Trust) -> SignedCheckpoint:
    return check_checkpoint(read_file(path, NOTE_SIZE_MAX), trust)


def _read_proof(path: Path) -> bytes:
    return read_file(path, PROOF_SIZE_MAX)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        if path == _STANDARD_INPUT:
            if sys.stdin is None:
                raise click.UsageError("there is no standard input")
            yield sys.stdin.buffer
            return
        with path.open("rb") as file:
            yield file
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise click.UsageError(to_printable(message)) from error


def _sentences(shown: _Shown) -> Iterator[str]:
    """Yield what was shown, for a person."""
    checkpoint, event = shown.signed.checkpoint, shown.event
    log = f"the log {to_printable(checkpoint.origin)}"
    count = _events(checkpoint.size)
    if event is not None:
        yield to_printable(
            f"Event {event.id} ({event.type}, {event.subject}, {event.time}) has the content that "
            f"its hash says: {event.hash}"
        )
        if event.uncovered:
            names = " and ".join(event.uncovered)
            yield f"Not covered by that hash, and not shown: {names}"
        yield f"It is event number {event.position + 1} of the first {count} of {log}"
    elif shown.earlier is not None:
        if shown.earlier.size == 0:
            yield "The earlier checkpoint is of an empty log, which any log continues"
        yield f"The first {_events(shown.earlier.size)} of {log} are still what they were"
        yield f"By now it has {count}"
    else:
        yield f"The checkpoint is of the first {count} of {log}"
    yield f"Their root is {encoded(checkpoint.root)}"
    for signature in shown.signed.signatures:
        yield to_printable(f"Signed by {_signer_in_words(signature)}")
    for cosignature in shown.signed.cosignatures:
        yield to_printable(f"Cosigned by {_signer_in_words(cosignature)}")


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"


def _signer_in_words(signature: Signature) -> str:
    time = "" if signature.time is None else f" at {_time(signature.time)}"
    return f"{signature.key} ({signature.key.type.label}){time}"


def _time(seconds: int) -> str:
    """Return a time as RFC 3339 has it, or the number where its years do not suffice."""
    try:
        return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return f"second {seconds}"


def _shown_json(shown: _Shown) -> str:
    checkpoint, event, earlier = shown.signed.checkpoint, shown.event, shown.earlier
    return _line(
        "verified",
        {
            "event": event
            and {
                "id": event.id,
                "hash": event.hash,
                "position": event.position,
                "uncovered": event.uncovered,
            },
            "earlier": earlier and _head(earlier),
            "checkpoint": _head(checkpoint),
            "signatures": [*map(_signature, shown.signed.signatures)],
            "cosignatures": [*map(_signature, shown.signed.cosignatures)],
        },
    )


def _head(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": encoded(checkpoint.root),
    }


def _signature(signature: Signature) -> dict[str, object]:
    return {
        "key": str(signature.key),
        "type": signature.key.type.label,
        "time": None if signature.time is None else _time(signature.time),
    }


def _refusal_text(refusal: _NotShownError) -> str:
    return to_printable(f"Not verified: {refusal.path}: {refusal.reason}")


def _refusal_json(refusal: _NotShownError) -> str:
    file = to_unicode(str(refusal.path))
    return _line("refused", {"part": refusal.part, "file": file, "reason": refusal.reason})


def _line(type_: str, payload: dict[str, object]) -> str:
    content = json.dumps({"type": type_, "payload": payload}, separators=(",", ":"))
    return to_printable_json(content.encode()).decode()
