"""Benchmarks: each figure beside a reference that was measured in the same run.

Run `python -m benchmarks --help`. The figures of one machine mean nothing on another; their ratios
to the references do. Nothing here is a test: a bar that is missed is shown, and fails nothing.
"""
