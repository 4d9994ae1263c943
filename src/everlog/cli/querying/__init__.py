"""What `everlog query` is made of: where rows come from, and how they and what is wrong are shown.

`server` and `directory` yield rows as JSON texts, in chunks; `printing` prints what `forms` makes
of them, and tells whoever waits how far it is; `faults` says what went wrong, with an exit code.
"""
