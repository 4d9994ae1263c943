"""Durable bytes, ordered and atomic.

`engine` has the ports: what a head shows, and what decides the order and makes a batch durable.
`log` is the embedded engine that servers run on; the reference engine, the executable
specification, belongs to the tests.
What is left to others: what an event means and whether a write may happen (domain, service).
Everything here is synchronous; whoever calls decides on which thread it waits.
"""
