"""Durable bytes, ordered and atomic.

`engine` is the port: what every engine promises. `memory` is the reference engine, the
executable specification; `log` is the embedded engine that servers run on.
What is left to others: what an event means and whether a write may happen (domain, service).
Everything here is synchronous; whoever calls decides on which thread it waits.
"""
