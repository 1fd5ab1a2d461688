"""Lets a process stand back behind those that drive."""

import os
from pathlib import Path
from typing import List

AUTOGROUP = Path("/proc/self/autogroup")
NICENESS = 10


def stand_back(niceness: int = NICENESS) -> List[str]:
    """Give this process and the threads it will start the manners of a batch job; one line for each that is refused.

    To be called before anything starts a thread: the middleware's threads inherit it, so that a message to this
    process does not take the processor from a stage at work.

    Args:
        niceness: 0 to 19.
    """
    refused = []
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except (AttributeError, OSError) as error:
        refused.append(f"SCHED_BATCH: {error}")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    except OSError as error:
        refused.append(f"niceness {niceness}: {error}")
    # Where the kernel groups processes by session, niceness counts within the session only.
    try:
        if AUTOGROUP.exists():
            AUTOGROUP.write_text(str(niceness))
    except OSError as error:
        refused.append(f"{AUTOGROUP}: {error}")
    return refused
