"""Dictionaries of a model hub: `hf://owner/name/subfolder@revision` to a folder on this machine and the exact commit.

Only the subfolder is downloaded, into huggingface_hub's own cache; what is there already is not downloaded again. A
branch or tag is resolved to the commit it stands for, so that what is stored names one state for ever.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from labeling.errors import FeatlasError, UsageError

SCHEME = "hf://"
EXAMPLE = "hf://owner/name/subfolder@revision"


@dataclass(frozen=True)
class HubId:
    """A subfolder of a repository."""

    repository: str
    subfolder: str
    """"" is the whole repository."""
    revision: str | None
    """Branch, tag or commit; None is the main branch."""


@dataclass(frozen=True)
class Download:
    """What a hub id stands for."""

    folder: Path
    name: str
    """The id with the commit for a revision."""


def parse(text: str) -> HubId:
    """Read an id. Raise UsageError when it is none."""
    path, _, revision = text.removeprefix(SCHEME).partition("@")
    parts = path.strip("/").split("/")
    usable = all(re.fullmatch(r"[\w.-]+", part) and set(part) != {"."} for part in parts)
    if len(parts) < 2 or not usable or ("@" in text and not re.fullmatch(r"[\w./-]+", revision)):
        raise UsageError(
            f"The dictionary {text!r} is no hub id; allowed: {EXAMPLE}. Subfolder and revision may be left out."
        )
    return HubId("/".join(parts[:2]), "/".join(parts[2:]), revision or None)


@lru_cache(maxsize=64)
def download(text: str) -> Download:
    """Download a subfolder. Raise UsageError for an id that can't be right, FeatlasError when the hub has no such files
    or can't be reached and they are not in the cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    wanted = parse(text)
    where = f"The dictionary {text!r}"
    try:
        snapshot = Path(
            snapshot_download(
                wanted.repository,
                revision=wanted.revision,
                allow_patterns=f"{wanted.subfolder}/*" if wanted.subfolder else None,
            )
        )
    except GatedRepoError as error:
        raise FeatlasError(
            f"{where}: the repository {wanted.repository} asks who you are. Accept its terms on its page, then set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise FeatlasError(
            f"{where}: the hub knows no repository {wanted.repository}, or it is private. Check owner and name; for a "
            "private one set HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise FeatlasError(
            f"{where}: {wanted.repository} has no revision {wanted.revision!r}. Name another."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise FeatlasError(
            f"{where} can't be downloaded ({str(error).splitlines()[0]}), and it is not in the cache. Try again with a "
            "network, or copy the folder here and name its path."
        ) from error
    folder = snapshot / wanted.subfolder
    if not folder.exists():
        raise FeatlasError(
            f"{where}: {wanted.repository} has no folder {wanted.subfolder!r}. Look at its files on the hub and name another."
        )
    path = "/".join(part for part in (wanted.repository, wanted.subfolder) if part)
    return Download(folder, f"{SCHEME}{path}@{snapshot.name}")
