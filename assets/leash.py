"""A child that dies with its parent: `python -m assets.leash PARENT_PID LOG COMMAND …`.

The kernel ends the process when its parent ends, however that happens (PR_SET_PDEATHSIG survives exec). Where the
kernel cannot (macOS), the command simply runs. What does not belong here: what is started, and stopping it in time.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_NO_LOG = "-"


def leashed(command: Sequence[str], log: Path | None = None) -> list[str]:
    """The command, so wrapped that it dies with this process; what it prints is appended to `log`, if one is given."""
    return [sys.executable, "-m", "assets.leash", str(os.getpid()), str(log or _NO_LOG), *command]


def main() -> None:
    """Ties this process to its parent, then becomes the command."""
    parent, log, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the leash was on
        sys.exit(1)
    if log != _NO_LOG:
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
    os.execvp(command[0], command)  # noqa: S606 - becoming the command is the purpose


if __name__ == "__main__":
    main()
