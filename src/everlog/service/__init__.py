"""What the server can do: one use case per file, named like its endpoint.

Asynchrony begins here. The event loop thread stages writes and wakes observers; a thread of its
own commits batches; a few threads read.
What is left to others: wire formats and statuses (api), connections (http), bytes (storage).
"""
