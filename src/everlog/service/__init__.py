"""What the server can do: use cases, mostly one a file and named like its endpoint.

`store` opens and closes what they work with, `writing` has everything that changes the log, and
`querying` everything that asks it in EventQL.
Asynchrony begins here. The event loop's thread judges and stages writes, and wakes observers; a
thread of its own commits batches, where no process syncs them; a few threads read.
What is left to others: wire formats and statuses (api), connections (http), bytes (storage).
"""
