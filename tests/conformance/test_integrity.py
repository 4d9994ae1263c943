"""The SDK verifies hashes and signatures, of events written, read and observed."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from eventsourcingdb import (
    Client,
    Event,
    ObserveEventsOptions,
    ReadEventsOptions,
    SignatureVerificationFailedError,
)

from tests.support.keys import write_signing_key
from tests.support.sdk import API_VERSIONS, Place, Sdk, collect, take
from tests.support.server import running_server


async def write_read_and_observe(client: Client, place: Place) -> list[Event]:
    traced = place.event(data={"text": "\u00fc \u2028 </b> & \U0001f600", "float": 1e100})
    traced.trace_parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    traced.trace_state = 'foo=a "quoted" \\ value'
    written = await client.write_events([place.event(), traced])
    read = await collect(client.read_events("/", ReadEventsOptions(recursive=True)))
    observing = client.observe_events("/", ObserveEventsOptions(recursive=True))
    observed = [await anext(observing), await anext(observing)]
    # Live events take another way through the server.
    live = await client.write_events([place.event(), place.event()])
    observed += await take(observing, 2)
    assert observed == read + live
    return [*written, *read, *observed, *live]


@pytest.mark.parametrize("api_version", API_VERSIONS)
@pytest.mark.parametrize("hash_version", [1, 2])
def test_hashes_and_signatures_are_valid_wherever_events_come_from(
    tmp_path: Path, place: Place, api_version: str, hash_version: int
) -> None:
    verification_key = write_signing_key(tmp_path / "key.pem")

    with running_server(hash_version=hash_version, signing_key_file=tmp_path / "key.pem") as server:
        events = Sdk(server.url, api_version).run(
            lambda client: write_read_and_observe(client, place)
        )

    for event in events:
        event.verify_hash()
        event.verify_signature(verification_key)
        assert event.hash.startswith("esdb:hash:v2:") == (hash_version == 2)
    with pytest.raises(SignatureVerificationFailedError):
        events[0].verify_signature(Ed25519PublicKey.from_public_bytes(bytes(32)))


def test_signatures_follow_the_key_in_use_and_are_never_stored(
    tmp_path: Path, place: Place
) -> None:
    async def write(client: Client) -> None:
        await client.write_events([place.event()])

    async def read(client: Client) -> Event:
        return (
            await collect(client.read_events(place.subject, ReadEventsOptions(recursive=False)))
        )[0]

    data = tmp_path / "data"
    with running_server(data_directory=data) as server:
        Sdk(server.url).run(write)
        assert Sdk(server.url).run(read).signature is None
        server.stop()
    for name in ("first.pem", "second.pem"):
        verification_key = write_signing_key(tmp_path / name)
        with running_server(data_directory=data, signing_key_file=tmp_path / name) as server:
            Sdk(server.url).run(read).verify_signature(verification_key)
            server.stop()
