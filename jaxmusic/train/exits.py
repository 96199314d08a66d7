"""Exit codes of `jaxmusic train`, by which launchers and supervisors know what to do next."""

FINISHED = 0
MISTAKE = 1
"""Something that the user can mend; starting again would end the same way."""
USAGE = 2
"""The command line was wrong."""
STUCK = 70
"""The watchdog ended a run in which nothing moved: start it again."""
SAVED = 75
"""Saved after SIGTERM, a preemption notice or a signal of Slurm: start it again to go on."""
PEER_LOST = 76
"""Another process of the run is gone or does not answer: start all of them again."""
INTERRUPTED = 130
"""Saved after Ctrl-C."""
