"""`python -m pocketportrait`: the commands."""

import sys

from pocketportrait.cli import main

if __name__ == "__main__":
    sys.exit(main())
