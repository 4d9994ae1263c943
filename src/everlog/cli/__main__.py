"""`python -m everlog.cli`, for where the console script is not installed."""

from everlog.cli import main

main()
