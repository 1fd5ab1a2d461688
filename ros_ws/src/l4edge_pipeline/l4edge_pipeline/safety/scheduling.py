"""Lets a process stand back behind those that drive."""

import os
from pathlib import Path
from typing import List

AUTOGROUP = Path("/proc/self/autogroup")
THREADS = Path("/proc/self/task")
NICENESS = 10


def stand_back(niceness: int = NICENESS) -> List[str]:
    """Give all threads of this process the manners of a batch job; one line for each thing that is refused.

    The middleware's threads are meant, too: a message to this process must not take the processor from a stage at
    work. Threads that are started later inherit it.

    Args:
        niceness: 0 to 19.
    """
    refused = []
    for thread in sorted(int(entry.name) for entry in THREADS.iterdir()) if THREADS.is_dir() else [0]:
        try:
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
        except ProcessLookupError:
            continue  # a thread that has ended meanwhile
        except (AttributeError, OSError) as error:
            refused.append(f"priority of thread {thread}: {error}")
    # Where the kernel groups processes by session, niceness counts within the session only.
    try:
        if AUTOGROUP.exists():
            AUTOGROUP.write_text(str(niceness))
    except OSError as error:
        refused.append(f"{AUTOGROUP}: {error}")
    return refused
