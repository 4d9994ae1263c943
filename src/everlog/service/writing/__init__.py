"""Everything that changes the log: one writer, its commits, and the process that syncs.

`writer` judges, stages and answers, `committer` brings batches to the disk, `sync_process` is the
server's end of the process that syncs and `sync_messages` what both say; `figures` counts.
What is left to others: what a client sent, and waiting for queries (`service.write`).
"""
