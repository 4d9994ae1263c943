"""Two revisions beside each other, under the same load and in turns.

What the machine does meanwhile meets both, so that the ratio says something where the rates do not.
What is left to others: how either compares with other stores, or with what the machine allows.
"""
