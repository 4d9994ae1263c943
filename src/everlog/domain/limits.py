"""Upper bounds on what a client may ask of the store, each with its reason.

Reaching one is a refusal that names it. Bounds on connections and heads are `everlog.http`'s.
"""

from typing import Final

# Twice the documented bound of EventSourcingDB: how that counts is not known, but clients write
# data of 65,548 bytes and expect it to pass, and no event of a log that moves here may be too
# large. Counted are the UTF-8 bytes of the candidate's field values, with `data` minified, so that
# a client can compute it before sending.
EVENT_SIZE_MAX: Final = 128 * 1024

# The same event as it is sent, in a large body: indented eight times deeper than it is long, it
# is no event that anybody wants to read.
EVENT_SENT_SIZE_MAX: Final = 1024 * 1024

# One write is one transaction: judged, hashed and synced as a whole while other writers wait, for a
# tenth of a second if its events are of ordinary size.
EVENTS_PER_WRITE_MAX: Final = 10_000

# Enough for a full-size write of average events; a larger import belongs into several writes.
REQUEST_BODY_SIZE_MAX: Final = 64 * 1024 * 1024

# What was written and waits for the disk: seconds of the fastest writing. A disk that hangs costs
# some times as much memory, and that of the write which exceeds it.
UNSYNCED_SIZE_MAX: Final = 256 * 1024 * 1024

# Reading and discovery requests are a few options long.
SMALL_REQUEST_BODY_SIZE_MAX: Final = 64 * 1024

# An event schema is written by people; a megabyte of it is already a mistake.
SCHEMA_SIZE_MAX: Final = 1024 * 1024

# A line of a backup that is restored: an event takes an eighth of it, and a schema most of it, if
# every character of theirs is an escape.
BACKUP_LINE_SIZE_MAX: Final = 8 * 1024 * 1024

# Judging data against a schema may take for ever, and more memory than there is; whatever people
# write takes microseconds. So much processor time and memory may take each of: compiling a schema,
# judging one event, or smaller ones of 64 KiB together, and finding out why one does not match.
SCHEMA_SECONDS_MAX: Final = 1.0
SCHEMA_MEMORY_SIZE_MAX: Final = 512 * 1024 * 1024

# Data that waits for being judged in a process, of all writes: two writes of full size.
UNJUDGED_LENGTH_MAX: Final = 128 * 1024 * 1024

# Every ancestor of a new subject becomes a node of the subject tree, which takes its last segment
# and some numbers: so a new subject costs its length, and a little for each segment.
SUBJECT_LENGTH_MAX: Final = 4_096
SUBJECT_DEPTH_MAX: Final = 128

# Names are kept in memory, one per source or type in use.
SOURCE_LENGTH_MAX: Final = 4_096
EVENT_TYPE_LENGTH_MAX: Final = 1_024

# W3C Trace Context asks for at least 512 characters of tracestate; EventSourcingDB stops there.
TRACESTATE_LENGTH_MAX: Final = 512
TRACESTATE_MEMBERS_MAX: Final = 32

# What is stored cannot be removed, so that every reader has to be able to read it. Of the parsers
# that official clients use, System.Text.Json of .NET stops first, at 64 levels of arrays and
# objects in a line, and no answer of ours that repeats an event or a schema puts more than three
# around it: a row of a query in version 2 is `{"type":...,"data":{"value":{...,"data":{...}}}}`.
JSON_NESTING_MAX: Final = 64 - 3

# Jackson of Java stops at numbers of 1,000 characters, and at names of 50,000 bytes. Doubles need
# 17 digits, and names of more than some hundred bytes are values in the wrong place.
JSON_NUMBER_LENGTH_MAX: Final = 1_000
JSON_NAME_SIZE_MAX: Final = 32 * 1024

# Preconditions are evaluated while other writers wait.
PRECONDITIONS_PER_WRITE_MAX: Final = 1_000

# What came while they were evaluated, the queries of a write take in together: in so many seconds,
# and what is left then while other writers wait for so many.
CATCH_UP_SECONDS_MAX: Final = 10.0
PAUSE_SECONDS_MAX: Final = 0.25

# Each takes a connection for as long as it likes: some have to be left for those who write.
OBSERVERS_MAX: Final = 10_000

# More children of a subject than a page shows are asked for page by page.
CHILD_SUBJECTS_MAX: Final = 1_000

# Each has a client that waits, and a process that computes or a turn to wait for.
QUERIES_MAX: Final = 64

# Each reads all that is stored, at the pace that is left to it: two would both take twice as long.
AUDITS_MAX: Final = 1

# Of errors, and of warnings: who has more of them has lost a disk, and needs no list.
AUDIT_FINDINGS_MAX: Final = 1_000

# What a write counts as where an operator limits how much a client may ask for, a read being 1: all
# clients share one writer and one disk.
WRITE_COST: Final = 5
