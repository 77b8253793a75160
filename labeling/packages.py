"""Start-up guard: the four packages of this project must come from one place.

`evals` is also the name of a package on the public index. Where that one is found first, half of the program would be
somebody else's; this says so before anything strange happens. Looks for packages without importing them.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from labeling.errors import FeatlasError

PACKAGES = ("labeling", "evals", "flows", "dashboards")


def check_packages() -> None:
    """Raise FeatlasError that names the intruder when a package comes from elsewhere than this file's."""
    home = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        place = _place(name)
        if place is None:
            raise FeatlasError(
                f"The package {name!r} of featlas was not found; it should be in {home / name}. The installation is "
                "incomplete: install featlas again."
            )
        if place != home / name:
            raise FeatlasError(
                f"Another package named {name!r} stands in the way: Python finds {place}, but featlas needs "
                f"{home / name}. Uninstall the other one (`pip uninstall {name}`), take its folder off PYTHONPATH, or "
                "give featlas a virtual environment of its own."
            )


def _place(name: str) -> Path | None:
    """Folder (or file, for a single-file module) that Python would import `name` from."""
    spec = find_spec(name)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin or name).resolve()
