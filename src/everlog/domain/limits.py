"""Upper bounds on what a client may ask of the store, each with its reason.

Reaching one is a refusal that names it. Bounds on connections and heads are `everlog.http`'s.
"""

from typing import Final

# Twice the documented bound of EventSourcingDB: how that counts is not known, but clients write
# data of 65,548 bytes and expect it to pass, and no event of a log that moves here may be too
# large. Counted are the UTF-8 bytes of the candidate's field values, with `data` minified, so that
# a client can compute it before sending.
EVENT_SIZE_MAX: Final = 128 * 1024

# One write is one transaction: checked, hashed and synced as a whole while others wait.
# 10,000 events take about 50 ms, which is the longest that we let a neighbour wait.
EVENTS_PER_WRITE_MAX: Final = 10_000

# Enough for a full-size write of average events; a larger import belongs into several writes.
REQUEST_BODY_SIZE_MAX: Final = 64 * 1024 * 1024

# Reading and discovery requests are a few options long.
SMALL_REQUEST_BODY_SIZE_MAX: Final = 64 * 1024

# An event schema is written by people; a megabyte of it is already a mistake.
SCHEMA_SIZE_MAX: Final = 1024 * 1024

# Judging data against a schema may take for ever, and more memory than there is; whatever people
# write takes microseconds. So much processor time and memory may take each of: compiling a schema,
# judging one event, or smaller ones of 64 KiB together, and finding out why one does not match.
SCHEMA_SECONDS_MAX: Final = 1.0
SCHEMA_MEMORY_SIZE_MAX: Final = 512 * 1024 * 1024

# Data that waits for being judged in a process, of all writes: two writes of full size.
UNJUDGED_LENGTH_MAX: Final = 128 * 1024 * 1024

# Every ancestor of a new subject becomes a node of the subject tree, so that the cost of one
# new subject is bounded by length times depth.
SUBJECT_LENGTH_MAX: Final = 4_096
SUBJECT_DEPTH_MAX: Final = 128

# Names are kept in memory, one per source or type in use.
SOURCE_LENGTH_MAX: Final = 4_096
EVENT_TYPE_LENGTH_MAX: Final = 1_024

# W3C Trace Context asks for at least 512 characters of tracestate; EventSourcingDB stops there.
TRACESTATE_LENGTH_MAX: Final = 512
TRACESTATE_MEMBERS_MAX: Final = 32

# Far deeper than any document that people write, far shallower than any parser's stack.
JSON_NESTING_MAX: Final = 128

# Preconditions are evaluated while other writers wait.
PRECONDITIONS_PER_WRITE_MAX: Final = 1_000

# Each takes a connection for as long as it likes: some have to be left for those who write.
OBSERVERS_MAX: Final = 10_000

# Each has a client that waits, and a process that computes or a turn to wait for.
QUERIES_MAX: Final = 64

# What a write counts as where an operator limits how much a client may ask for, a read being 1: all
# clients share one writer and one disk.
WRITE_COST: Final = 5
