"""What is freed is kept for what is asked for next."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

UPDATES = """
import resource, torch
from chainkit.memory import keep_freed_memory

def update():
    kept = [torch.ones(1_000_000) for _ in range(12)]

keep_freed_memory()
for _ in range(3):
    update()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    update()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def fresh_pages():
    """Pages that the system hands out in ten updates with 48 MB each."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD"))}
    done = subprocess.run([sys.executable, "-c", UPDATES], capture_output=True, text=True, check=True, env=surroundings)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps what it keeps")
def test_an_update_asks_the_system_for_no_fresh_pages():
    pages = 10 * 12 * 1_000_000 * 4 // os.sysconf("SC_PAGE_SIZE")
    assert fresh_pages() < 0.05 * pages  # all of them in most processes that are left alone, none in some
