"""`python -m live777py` is the command `live777py`."""

import sys

from live777py.cli import main

if __name__ == "__main__":
    sys.exit(main())
