"""Errors that a user can mend. They print as one paragraph, without a traceback.

FeatlasError              exit 1   something outside the program is wrong: a file, a disk, a server
  UsageError              exit 2   a command line, config file or name that cannot be right
  WorkspaceInUse          exit 1   another process writes to the workspace
  BudgetReached           exit 4   a limit the user set; running again with a higher one resumes
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class FeatlasError(Exception):
    """Say what was wrong, the value seen, the values allowed, and the next step."""

    exit_code = 1


class UsageError(FeatlasError):
    exit_code = 2


class WorkspaceInUse(FeatlasError):
    pass


class BudgetReached(FeatlasError):
    exit_code = 4


def unknown_name(kind: str, seen: str, known: Iterable[str]) -> UsageError:
    """Describe a name that does not exist, with the nearest known one."""
    names = sorted(known)
    near = get_close_matches(seen, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UsageError(f"There is no {kind} named {seen!r}.{hint} Known: {', '.join(names)}.")
