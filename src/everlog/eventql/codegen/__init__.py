"""Code generation: Python functions for a plan, over the fields that are used.

Nothing of a query's text gets into their source: constants and names are passed beside it.
"""
