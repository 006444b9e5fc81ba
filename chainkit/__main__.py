"""``python -m chainkit``."""

import os
import sys

from chainkit.cli import main

code = main()
if int(os.environ.get("WORLD_SIZE", "1")) > 1:
    # One of several processes has parted from the others: threads of torch that still run would abort it while it ends.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
