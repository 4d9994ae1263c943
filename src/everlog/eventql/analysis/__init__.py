"""Analysis: what a query means, or all that is wrong with it, before any row.

Resolves names, knows types and where aggregates may stand, and does not evaluate.
"""
