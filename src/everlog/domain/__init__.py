"""What is true about events, whatever stores or serves them.

Everything here is pure: no clock, no disk, no network, no randomness.
Text becomes a typed value in one place each (`parse_...`), and only values travel further in.
What is left to others: durability (storage), order of writing (service), wire formats (api).
"""
