"""Planning: what can be known and left out before any row, and what is judged row by row.

Rewrites a query into a simpler one, evaluates what is constant, and says which events are read.
"""
