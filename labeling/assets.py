"""Where the committed data lie: `data/` of a source checkout, or `share/featlas/` of an installed distribution.

Knows names of files only, not what is in them. `data` is never imported, so it can't be package data.
"""

from __future__ import annotations

import sys
from pathlib import Path

from labeling.errors import FeatlasError

INSTALLED = Path("share") / "featlas"
"""Below `sys.prefix`; `pyproject.toml` puts the files there."""


def asset(name: str) -> Path:
    """Path of the committed file `name`. Raise FeatlasError that names the places looked at when it is in neither."""
    places = (Path(__file__).resolve().parent.parent / "data", Path(sys.prefix) / INSTALLED)
    for place in places:
        if (place / name).is_file():
            return place / name
    looked = " and ".join(str(place) for place in places)
    raise FeatlasError(
        f"The file {name!r} that comes with featlas is missing; looked in {looked}. The installation is incomplete: "
        "install it again, or run from a complete checkout."
    )
