"""How this process keeps freed memory."""

from __future__ import annotations

import ctypes

#: Freed memory that is not returned, at most.
KEPT = 32 << 20
# malloc.h of glibc, and what they are set to
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD, _LARGE = -3, 6 << 20
_M_ARENA_MAX, _ARENAS = -8, 1


def keep_little_memory() -> None:
    """Let freed arrays above 6 MB return to the system at once, and keep little else (glibc alone).

    By default glibc raises that border to the size of the blocks that are freed, and keeps them per thread: the memory
    of a fit of 1.8 million rows then creeps from 110 to 280 MB above the program, and grows with the rows. Chunks of
    4 MB, which are copied three times on their way, stay below the border and take the same memory again and again;
    returned each time, their page faults were a third of the CPU time of a fit. One heap for all threads bounds what
    is kept: 30 MB, which plans count; two took 20 MB more and more system time. It has to be set before Icechunk starts
    its threads.
    """
    try:
        libc = ctypes.CDLL(None)
        for parameter, value in (
            (_M_MMAP_THRESHOLD, _LARGE),
            (_M_TRIM_THRESHOLD, KEPT),
            (_M_ARENA_MAX, _ARENAS),
        ):
            libc.mallopt(parameter, value)
    except (OSError, AttributeError):
        return
