"""chainkit with slowed saves, for a launcher to start in the place of ``-m chainkit``."""

import sys

from kills import Slowed

from chainkit.cli import main

if __name__ == "__main__":
    Slowed(pause=0.01).patch()
    sys.exit(main())
