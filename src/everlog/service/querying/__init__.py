"""Queries as the server runs them: who may, where, for how long, and as conditions of writes.

`queries` is the way in, `plans` what is kept of texts that come again, `log` what a query sees of a
head and how much it has to do, `processes` where the long ones run, `messages` what is said to
those, and `conditions` what a write makes of an answer.
What is left to others: what a query means (eventql), and judging a write at its place (`writing`).
"""
