"""Data in and out: what a backup is made of, and how a store is made of one.

`backup_lines.py` has the form of a backup's lines, both ways. `restoring.py` takes a backup in
pieces and makes a data directory of it, `judging.py` judges its events against their schemas.
All of it is synchronous: who serves others meanwhile calls it on a thread.
What is left to others: where a backup comes from and goes to (api, cli), and how a directory that
was restored gets into its place (storage).
"""
