"""The stores that Everlog is measured beside, each started for the run and durable if it can be.

A peer is a row of `table.PEERS`; how to start its server is in a file of its own, and its client in
`benchmarks/sessions`.
"""
