"""The language: from source text to the syntax tree.

Knows what can be written, and nothing of names, types or values.
"""
