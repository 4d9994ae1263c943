"""What `everlog query` is made of: where rows come from, and how they and what is wrong are shown.

`server` and `directory` yield rows as JSON texts, in chunks; `forms`, `table` and `plan_text` make
of them what `printing` prints; `faults` says what went wrong, with an exit code; `progress` tells
whoever waits.
"""
