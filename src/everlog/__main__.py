"""`python -m everlog`, for where the console script is not installed."""

from everlog.cli import main

main()
