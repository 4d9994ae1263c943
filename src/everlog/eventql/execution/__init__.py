"""Execution: from a plan and a log to rows, holding no more than a query may."""
