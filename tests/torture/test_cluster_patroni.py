"""Nodes that share a journal on PostgreSQL servers of Patroni's keep every promise.

The long form has it only: it takes half a minute until Patroni has made its cluster.
EVERLOG_CLUSTER_PATRONI_SECONDS says for how long something is done, EVERLOG_CLUSTER_SEED what.
"""
