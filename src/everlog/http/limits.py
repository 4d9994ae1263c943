"""Upper bounds on what one client may ask of the HTTP layer, each with its reason.

Reaching one is an answer that names it, or the end of the connection where no answer is possible.
How large a body may be is not decided here: each endpoint says so (`Endpoint.body_size_max`).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one server; sizes are in bytes, durations in seconds."""

    # Twice what nginx reserves by default; a bearer token and a trace context fit many times.
    head_size_max: int = 16 * 1024
    # Browsers send about 20 headers, proxies add about 10.
    header_count_max: int = 64
    # RFC 9112 section 3 recommends at least 8,000.
    target_length_max: int = 8 * 1024
    # A head is one packet or two; whoever needs longer holds a connection for nothing.
    head_seconds_max: float = 10.0
    # A body may pause this long in total, and then has to arrive at this rate on average:
    # slow uplinks pass, a client that sends a byte a minute does not.
    body_seconds_max: float = 60.0
    body_rate_min: int = 8 * 1024
    # Bodies larger than this have to fit into the memory for bodies; nearly all are smaller.
    body_small_size_max: int = 64 * 1024
    # Four of the largest, half of what is left for each, so that there is room for others.
    bodies_size_max: int = 256 * 1024 * 1024
    # While others wait for that memory, a body may pause this long, and has to arrive at this rate.
    body_hurried_seconds_max: float = 10.0
    body_hurried_rate_min: int = 1024 * 1024
    # Whoever waits longer for memory is better off to come again.
    body_wait_seconds_max: float = 60.0
    # Of a body that is streamed, this is read ahead of whoever takes it: while they work on one
    # part, the next one is there.
    body_ahead_size_max: int = 256 * 1024
    # Longer than the pool of usual clients keeps connections (60 s), so that they close first.
    idle_seconds_max: float = 75.0
    # Enough to hide any round trip; further requests wait in the client's socket.
    pipelined_max: int = 64
    # 10,000 observers and room for writers; each costs a file descriptor and a few KB.
    connections_max: int = 12_000
    # Of the places that others leave, so that there are always some for yet others: all observers
    # may come from one address.
    connections_share_max: float = 0.85
    # Beyond them, so many more are told so; enough for clients that stay for the answer only.
    connections_refused_max: int = 256
    # Above high, producers wait; below low, they go on. The system has buffers of its own, in which
    # a fast client always finds more.
    write_buffer_high: int = 32 * 1024
    write_buffer_low: int = 8 * 1024
    # What waits for those who do not take it: a block for each of 500 who read much and slowly, or
    # some 20 KB for each of all connections.
    backlog_size_max: int = 256 * 1024 * 1024
    # A client that takes not one byte for this long will not come back.
    send_seconds_max: float = 300.0
    # The rest of a refused body up to this size is read, so that the connection can be kept.
    drain_size_max: int = 64 * 1024
    # After the last answer we keep reading this long: closing a socket with unread data would
    # reset the connection, and the client could lose the answer (RFC 9112 section 9.6).
    linger_seconds_max: float = 2.0
    # Chunk sizes, chunk extensions and trailers of a chunked body beyond eight times its content
    # and this allowance are not a way of sending data but of keeping us busy.
    chunk_overhead_max: int = 64 * 1024

    def __post_init__(self) -> None:
        assert 0 < self.target_length_max <= self.head_size_max
        assert 0 < self.write_buffer_low < self.write_buffer_high
        assert self.pipelined_max > 0
        assert self.connections_max > 0
        assert self.connections_refused_max >= 0
        assert 0 < self.connections_share_max <= 1
        assert self.body_rate_min > 0
        assert self.body_hurried_rate_min > 0
        assert self.body_small_size_max > 0
        assert self.body_ahead_size_max > 0
        assert self.shortest_seconds() > 0

    @property
    def body_window_size(self) -> float:
        """Of how much of a streamed body the rate is looked at, before it is looked at anew."""
        return self.body_seconds_max * self.body_rate_min

    def body_seconds(self, size: int, *, is_hurried: bool) -> float:
        """Return how long a body may take of which so much has arrived."""
        usual = self.body_seconds_max + size / self.body_rate_min
        if not is_hurried:
            return usual
        return min(usual, self.body_hurried_seconds_max + size / self.body_hurried_rate_min)

    def shortest_seconds(self) -> float:
        """Return the shortest duration: deadlines have to be looked at more often than that."""
        return min(
            self.head_seconds_max,
            self.body_seconds_max,
            self.body_hurried_seconds_max,
            self.body_wait_seconds_max,
            self.idle_seconds_max,
            self.send_seconds_max,
            self.linger_seconds_max,
        )
