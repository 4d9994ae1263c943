"""`python -m lending` is `lending`."""

from lending.commands import main

main()
