"""A log that proves what is in it, made from the published rules alone: no product, no disk.

Its checkpoints, proofs and events are what an offline verifier gets, and what attacks change.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.chain import GENESIS, V2_PREFIX, hash_of
from tests.support.merkle import consistency_proof, inclusion_proof, tree_root
from tests.support.signed_notes import NoteKey, encoded, note_text, signed_note

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass
class ProvableLog:
    """Events in their order, and the key that signs for them."""

    key: NoteKey = field(default_factory=lambda: NoteKey("example.com/log"))
    # The text of each event as it is served, and its hash.
    events: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, count: int, *, key: NoteKey | None = None) -> "ProvableLog":
        """Return a log whose events have a hash of either version, by turns."""
        log = cls() if key is None else cls(key)
        for number in range(count):
            log.add(f'{{"number":{number},"price":1.50}}', version=number % 2 + 1)
        return log

    @property
    def leaves(self) -> list[bytes]:
        return [hash_.encode() for hash_ in self.hashes]

    def add(self, data: str, *, version: int = 1, traced: bool = False) -> str:
        """Add an event, and return its text."""
        text = an_event(
            len(self.events),
            data,
            version=version,
            predecessor=self.hashes[-1] if self.hashes else GENESIS,
            traced=traced,
        )
        self.events.append(text)
        self.hashes.append(json.loads(text)["hash"])
        return text

    def root(self, size: int) -> bytes:
        return tree_root(self.leaves[:size])

    def checkpoint(
        self, size: int | None = None, *, witnesses: Iterable[NoteKey] = (), time: int = 0
    ) -> bytes:
        """Return the signed note of the first events."""
        size = len(self.events) if size is None else size
        text = note_text(self.key.name, size, self.root(size))
        cosignatures = [witness.sign(text, time=time) for witness in witnesses]
        return signed_note(text, self.key.sign(text), *cosignatures)

    def inclusion_proof(self, index: int, size: int | None = None) -> dict[str, Any]:
        """Return the answer of inclusion-proof."""
        size = len(self.events) if size is None else size
        return {
            "event": str(index),
            "hash": self.hashes[index],
            "size": size,
            "root": encoded(self.root(size)),
            "proof": [*map(encoded, inclusion_proof(index, self.leaves[:size]))],
        }

    def consistency_proof(self, size: int, larger_size: int | None = None) -> dict[str, Any]:
        """Return the answer of consistency-proof."""
        larger_size = len(self.events) if larger_size is None else larger_size
        return {
            "from": size,
            "to": larger_size,
            "fromRoot": encoded(self.root(size)),
            "toRoot": encoded(self.root(larger_size)),
            "proof": [*map(encoded, consistency_proof(size, self.leaves[:larger_size]))],
        }


def an_event(
    position: int, data: str, *, version: int, predecessor: str = GENESIS, traced: bool = False
) -> str:
    """Return the text of an event as it is served, whatever its data is."""
    event = {
        "specversion": "1.0",
        "id": str(position),
        "time": f"2026-11-30T12:00:00.{position + 1:03}1Z",
        "source": "https://shop.example.com",
        "subject": f"/orders/{position}",
        "type": "com.example.order-placed",
        "datacontenttype": "application/json",
        "predecessorhash": predecessor,
    }
    if traced:
        event |= {"traceparent": TRACEPARENT, "tracestate": "a=1"}
    event["hash"] = V2_PREFIX if version == 2 else ""
    event["hash"] = hash_of(event, data.encode())
    return with_data(event, data)


def with_data(event: dict[str, Any], data: str) -> str:
    """Return the text of an event with the very text of its data."""
    names = ["specversion", "id", "time", "source", "subject", "type", "datacontenttype"]
    first = [name for name in [*names, "traceparent", "tracestate"] if name in event]
    members = [f'"{name}":{json.dumps(event[name])}' for name in first]
    members.append(f'"data":{data}')
    members += [f'"{name}":{json.dumps(event[name])}' for name in ("predecessorhash", "hash")]
    return "{" + ",".join([*members, '"signature":null']) + "}"
