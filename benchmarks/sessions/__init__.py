"""Client processes: the same work for each store, done by blocking clients in threads.

They run in an environment of their own, which has the peers' client libraries and not Everlog, so
that nothing here imports more of `benchmarks` than `events`, and nothing of `everlog`.
"""
