"""What a stream writes, and when it waits; without a socket."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from everlog.http import DisconnectedError, Stream
from everlog.http.exchange import Output
from tests.support.serving import RecordingTransport


def run(
    test: Callable[[Stream, Output, RecordingTransport], Awaitable[None]],
    *,
    is_chunked: bool = True,
) -> list[bytes]:
    """Run `test` with a stream; return what was written."""

    async def run_test() -> list[bytes]:
        transport = RecordingTransport()
        output = Output(transport, loop=asyncio.get_running_loop())
        stream = Stream(output, is_chunked=is_chunked)
        await test(stream, output, transport)
        return transport.parts

    return asyncio.run(run_test())


def test_one_call_makes_one_chunk() -> None:
    async def test(stream: Stream, *_: object) -> None:
        await stream.send(memoryview(b"abcdefghijklmnop"))
        await stream.send(b"x" * 20_000)
        stream.finish()

    assert b"".join(run(test)) == (
        b"10\r\nabcdefghijklmnop\r\n" + b"4e20\r\n" + b"x" * 20_000 + b"\r\n0\r\n\r\n"
    )


def test_each_line_makes_a_chunk_and_all_leave_in_one_send() -> None:
    async def test(stream: Stream, *_: object) -> None:
        await stream.send_lines(b"one\nthree\n")
        await stream.send_lines(b"")
        stream.finish()

    assert run(test) == [b"4\r\none\n\r\n6\r\nthree\n\r\n", b"0\r\n\r\n"]


def test_large_chunks_are_not_copied() -> None:
    async def test(stream: Stream, *_: object) -> None:
        await stream.send(b"x" * 20_000)

    assert run(test) == [b"4e20\r\n", b"x" * 20_000, b"\r\n"]


def test_nothing_is_not_the_end() -> None:
    async def test(stream: Stream, *_: object) -> None:
        await stream.send(b"")
        await stream.send_lines(b"")
        assert stream.send_nowait(b"")

    assert run(test) == []


def test_without_chunks_the_bytes_go_out_as_they_are() -> None:
    async def test(stream: Stream, *_: object) -> None:
        await stream.send(b"ab")
        await stream.send_lines(b"c\nd\n")
        assert stream.send_nowait(b"e")
        assert not stream.probe()
        stream.finish()

    assert run(test, is_chunked=False) == [b"ab", b"c\nd\n", b"e"]


def test_everybody_who_sends_waits_for_the_client() -> None:
    async def test(stream: Stream, output: Output, transport: RecordingTransport) -> None:
        output.pause()
        tasks = [asyncio.ensure_future(stream.send(b"%d" % number)) for number in range(3)]
        await asyncio.sleep(0)
        assert transport.parts == []
        assert not stream.send_nowait(b"x")
        assert not stream.probe()
        # One who gives up does not take the others along.
        tasks[1].cancel()

        output.resume()
        await asyncio.wait(tasks)

    assert run(test) == [b"1\r\n0\r\n", b"1\r\n2\r\n"]


def test_who_waits_is_told_when_the_client_is_gone() -> None:
    async def test(stream: Stream, output: Output, _: RecordingTransport) -> None:
        output.pause()
        task = asyncio.ensure_future(stream.send(b"x"))
        await asyncio.sleep(0)

        output.close()

        with pytest.raises(DisconnectedError):
            await task
        assert not stream.send_nowait(b"x")

    assert run(test) == []


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_transport_that_is_closed_under_us_is_a_disconnect(size: int) -> None:
    async def test(stream: Stream, output: Output, transport: RecordingTransport) -> None:
        transport.is_closed_under_us = True
        await stream.send(b"x" * size)
        assert output.is_closed
        with pytest.raises(DisconnectedError):
            await stream.send(b"y")

    assert run(test) == []


def test_others_have_a_turn_while_a_stream_is_never_held_up() -> None:
    async def test(stream: Stream, *_: object) -> None:
        turns = 0

        async def take_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.ensure_future(take_turns())
        for _ in range(16):
            await stream.send(b"x" * 65_536)
        other.cancel()
        assert turns >= 3

    run(test)
