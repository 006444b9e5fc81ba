"""``python -m chainkit``."""

import sys

from chainkit.cli import main

sys.exit(main())
