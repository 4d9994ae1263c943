"""The way in, for `everlog` and for `python -m everlog`: what is inherited first, then the rest.

Everything else is imported when signals and descriptors are as they should be.
"""

import sys

from everlog import process


def main() -> None:
    """Run the command line."""
    process.begin(is_server=sys.argv[1:2] == ["run"])
    from everlog.cli import main as run_command  # noqa: PLC0415 - it takes long, as said above.

    run_command()


if __name__ == "__main__":
    main()
