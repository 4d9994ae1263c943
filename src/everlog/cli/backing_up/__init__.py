"""What `everlog backup` and `everlog restore` are made of.

`server.py` and `directory.py` are where a backup comes from, `output.py` where it goes to, and
`files.py` how one is read again; `compression.py` knows zstd, `summary.py` says what there is.
"""
