"""Evaluation: what values are, and what operators, conversions and functions make of them.

Knows a few values at a time, and nothing of queries: planning, generated code and execution all
mean the same because they ask here.
"""
