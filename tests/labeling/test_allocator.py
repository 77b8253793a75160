"""Freed memory is kept for the next forward pass and handed back when asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

GROW_AND_FREE = """
from pathlib import Path
import numpy as np
from labeling.allocator import give_back_freed_memory, keep_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
keep_freed_memory()
blocks = [np.ones(2**18) for _ in range(10)]  # 2 MiB each
full = resident()
del blocks
kept = resident()
give_back_freed_memory()
print(full - kept, full - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library's own parameters")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", GROW_AND_FREE], capture_output=True, text=True, check=True)
    freed_at_once, freed_in_the_end = map(float, done.stdout.split())
    assert freed_at_once < 5
    assert freed_in_the_end > 15
