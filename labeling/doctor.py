"""Check that a workspace holds together: every row leads to what it was made from, and no evidence is used twice.

The database has no foreign keys, which would make saving slow; these checks stand in for them. It mends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from labeling.errors import FeatlasError
from labeling.evidence import TABLES, shard_files
from labeling.ledger import Ledger
from labeling.store import Store
from labeling.workspace import Workspace


@dataclass(frozen=True)
class Finding:
    """One rule that is broken. A sound workspace has none."""

    check: str
    count: int
    """Rows or files that break the rule."""
    message: str


# Name, what is wrong, and a SELECT of the rows that break the rule; its first column names one for people.
CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "scores -> explanations",
        "scores are of explanations that are not there",
        "SELECT s.score_id FROM scores AS s ANTI JOIN explanations AS e USING (explanation_id) "
        "WHERE s.explanation_id IS NOT NULL",
    ),
    (
        "scores -> samples",
        "scores are of samples that are not there",
        "SELECT s.score_id FROM scores AS s ANTI JOIN samples USING (sample_id)",
    ),
    (
        "explanations -> samples",
        "explanations are of samples that are not there",
        "SELECT e.explanation_id FROM explanations AS e ANTI JOIN samples USING (sample_id)",
    ),
    (
        "contexts -> windows",
        "contexts are of windows that are not there",
        "SELECT c.window_id FROM contexts AS c LEFT JOIN samples USING (sample_id) ANTI JOIN windows AS w "
        "ON w.corpus_id = samples.corpus_id AND w.window_id = c.window_id",
    ),
    (
        "panel -> windows",
        "windows of the panel are not there",
        "SELECT p.window_id FROM panel AS p LEFT JOIN samples USING (sample_id) ANTI JOIN windows AS w "
        "ON w.corpus_id = samples.corpus_id AND w.window_id = p.window_id",
    ),
    (
        "judgments -> explanations",
        "judgments are of explanations that are not there",
        "SELECT j.explanation_id FROM judgments AS j ANTI JOIN explanations AS e USING (explanation_id) "
        "WHERE j.explanation_id IS NOT NULL",
    ),
    (
        "judgments -> windows",
        "judgments are of windows that are not there, or of another split than they say",
        "SELECT j.window_id FROM judgments AS j LEFT JOIN samples USING (sample_id) ANTI JOIN windows AS w "
        "ON w.corpus_id = samples.corpus_id AND w.window_id = j.window_id AND w.split = j.split",
    ),
    (
        "splits are disjoint",
        "documents are in more than one split",
        "SELECT document_id FROM (SELECT corpus_id, document_id, split FROM windows UNION "
        "SELECT samples.corpus_id, c.document_id, c.split FROM contexts AS c JOIN samples USING (sample_id) UNION "
        "SELECT corpus_id, document_id, split FROM documents) "
        "GROUP BY corpus_id, document_id HAVING count(DISTINCT split) > 1",
    ),
    (
        "explain contexts are not judged",
        "judgments are of windows of the explain split",
        "SELECT j.window_id FROM judgments AS j WHERE j.split = 'explain'",
    ),
    (
        "shown evidence is of the explain split",
        "windows that were shown to explainers are of another split",
        "SELECT shown.number FROM (SELECT e.sample_id, unnest(e.evidence) AS number FROM explanations AS e) AS shown "
        "JOIN samples USING (sample_id) "
        "JOIN windows AS w ON w.corpus_id = samples.corpus_id AND w.window_id = shown.number WHERE w.split <> 'explain'",
    ),
)


def doctor(workspace: Workspace) -> list[Finding]:
    """Every broken rule of the workspace, none when it is sound. Raise FeatlasError when there is no workspace."""
    if not workspace.database.exists():
        raise FeatlasError(f"There is no workspace at {workspace.root}. Name it with --workspace DIR.")
    with Store(workspace) as store:
        store.refresh_views()
        found = [broken_rule(store, *check) for check in CHECKS]
        found += [*shard_findings(store), *ledger_findings(workspace)]
        return [finding for finding in found if finding is not None]


def broken_rule(store: Store, check: str, wrong: str, rows: str) -> Finding | None:
    ((count, example),) = store.select(f"SELECT count(*), any_value(COLUMNS(*))::VARCHAR FROM ({rows})").rows()
    return Finding(check, count, f"{count} {wrong}, such as {example}.") if count else None


def shard_findings(store: Store) -> list[Finding]:
    """Compare the evidence files on disk with the shards that are recorded as done."""
    root = store.workspace.root
    on_disk = {file.relative_to(root).as_posix() for table in TABLES for file in shard_files(store.workspace, table)}
    recorded = set(store.read("shards")["file"].drop_nulls())
    lost, extra = sorted(recorded - on_disk), sorted(on_disk - recorded)
    findings = []
    if lost:
        wrong = f"{len(lost)} shards are recorded as done and their files are gone, such as {lost[0]}."
        findings.append(Finding("shards -> files", len(lost), wrong))
    if extra:
        wrong = f"{len(extra)} evidence files belong to no finished shard, such as {extra[0]}; run the stage again."
        findings.append(Finding("files -> shards", len(extra), wrong))
    return findings


def ledger_findings(workspace: Workspace) -> list[Finding]:
    """What is wrong with the ledger of answers, where there is one."""
    if not workspace.ledger.exists():
        return []
    try:
        with Ledger(workspace.ledger, read_only=True) as ledger:
            return [Finding("ledger", 1, said) for said in ledger.problems()]
    except FeatlasError as error:
        return [Finding("ledger", 1, str(error))]
