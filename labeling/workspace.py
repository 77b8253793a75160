"""Where a workspace keeps what: paths only. It knows nothing of what stands in the files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labeling.errors import FeatlasError


@dataclass(frozen=True)
class Workspace:
    """A folder that holds everything about some feature sets. `root` may be relative; the paths are not."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).expanduser().absolute())

    @property
    def database(self) -> Path:
        """Small tables; opened by the one process that writes."""
        return self.root / "featlas.duckdb"

    @property
    def snapshot(self) -> Path:
        """The published copy of the small tables, which everybody else reads."""
        return self.root / "snapshot.duckdb"

    @property
    def lock(self) -> Path:
        """Locked by the process that writes; holds its process id."""
        return self.root / "featlas.lock"

    @property
    def progress(self) -> Path:
        """How far the running command is."""
        return self.root / "progress.json"

    @property
    def ledger(self) -> Path:
        """One row for every request to a language model."""
        return self.root / "ledger.sqlite"

    @property
    def evidence_folder(self) -> Path:
        """Holds one folder of Parquet files for each large table."""
        return self.root / "evidence"

    @property
    def sampler(self) -> Path:
        """Folder of sampler states."""
        return self.root / "sampler"

    @property
    def tables(self) -> Path:
        """What is kept of activation tables: checked, and sorted where they were not."""
        return self.sampler / "tables"

    @property
    def activations(self) -> Path:
        """Activation tables of samples, where a run was told to keep them."""
        return self.root / "activations"

    @property
    def vectors(self) -> Path:
        """Folder of decoder directions and label embeddings."""
        return self.root / "vectors"

    @property
    def reports(self) -> Path:
        """Folder of what people look at."""
        return self.root / "reports"

    def evidence(self, table: str) -> Path:
        """Folder of the Parquet files of one large table."""
        return self.evidence_folder / table

    def create(self) -> Workspace:
        """Make the folders that are not there yet. Raise FeatlasError when the disk does not let us."""
        for folder in (self.root, self.evidence_folder, self.sampler, self.vectors, self.reports):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise FeatlasError(
                    f"The workspace folder {folder} cannot be made: {error.strerror}. "
                    "Choose another place with --workspace DIR, or make the folder writable."
                ) from error
        return self
