"""The snapshot: published whole or not at all, and read without being able to write or to look elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from labeling.errors import FeatlasError, UsageError
from labeling.safe_cells import neutralize_cells
from labeling.snapshot import export_single_file, open_snapshot, query, select
from labeling.store import Store
from labeling.workspace import Workspace
from tests.labeling.store_builders import large, run, small


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A published workspace in a folder whose name needs quoting; it has runs `a` and a panel of window 7."""
    made = Workspace(tmp_path_factory.mktemp("parent") / "it's [1]*")
    with Store(made) as store:
        small(store, "runs", run("a"))
        store.save_shard("panel", "s", 0, large("panel", {"sample_id": "s", "rank": 0, "window_id": 7}))
        store.publish()
    (made.root / "ledger.sqlite").write_text("secret")
    return made


@pytest.fixture(scope="module")
def connection(workspace: Workspace) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_snapshot(workspace) as opened:
        yield opened


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT run_id FROM runs", [("a",)]),
        ("SELECT window_id FROM panel", [(7,)]),
        ("SELECT count(*) FROM windows -- an empty large table", [(0,)]),
        ("WITH x AS (SELECT 1 AS a UNION SELECT 2) SELECT sum(a) FROM x;", [(3,)]),
        ("WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 3) SELECT max(i) FROM r", [(3,)]),
        ("VALUES (1), (2)", [(1,), (2,)]),
        ("SELECT 'copy; insert' AS \"drop\"", [("copy; insert",)]),
        ("SELECT count(*) FROM range(5)", [(5,)]),
    ],
)
def test_queries_read_tables_by_unqualified_names(
    connection: duckdb.DuckDBPyConnection, sql: str, rows: list[tuple[object, ...]]
) -> None:
    assert select(connection, sql).rows() == rows


@pytest.mark.parametrize(
    "sql", ["DESCRIBE panel", "SHOW TABLES", "SUMMARIZE runs", "EXPLAIN FROM runs", "explain analyze from panel"]
)
def test_queries_may_ask_about_tables_and_plans(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert select(connection, sql).height > 0


def test_the_text_of_labels_is_published_uncompressed_for_pages_to_look_up(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    made = select(connection, "SELECT sql FROM duckdb_tables() WHERE table_name = 'labels'").item()
    assert '"label" VARCHAR USING COMPRESSION Uncompressed' in made


def test_parameters_are_values_and_never_sql(connection: duckdb.DuckDBPyConnection) -> None:
    assert select(connection, "SELECT run_id FROM runs WHERE run_id = ?", ["a"]).height == 1
    assert select(connection, "SELECT run_id FROM runs WHERE run_id = ?", ["' OR true --"]).height == 0


def test_a_statement_that_needs_too_much_memory_is_not_called_a_mistake(workspace: Workspace) -> None:
    with pytest.raises(FeatlasError, match="more memory than the") as caught:
        query(workspace, "SELECT list(x) FROM range(20_000_000) AS t(x)", memory_limit="32MB")
    assert not isinstance(caught.value, UsageError)


WRITES = [
    "COPY runs TO '{evidence}/out.csv'",
    "WITH x AS (COPY runs TO '{evidence}/out.csv') SELECT * FROM x",
    "SELECT 1 UNION SELECT * FROM (WITH x AS (COPY runs TO '{evidence}/out.csv') FROM x)",
    "EXPLAIN ANALYZE COPY runs TO '{evidence}/out.csv'",
    "EXPLAIN ANALYZE WITH x AS (COPY runs TO '{evidence}/out.csv') FROM x",
    "/* */ EXPLAIN ANALYZE COPY runs TO '{evidence}/out.csv'",
    "FROM query('WITH x AS (COPY snapshot.runs TO ''{evidence}/out.csv'') FROM x')",
    "FROM json_execute_serialized_sql(json_serialize_sql('WITH x AS (COPY snapshot.runs TO ''{evidence}/o'') FROM x'))",
    "SELECT 1; COPY runs TO '{evidence}/out.csv'",
    "EXPORT DATABASE '{evidence}/out.csv'",
    "INSERT INTO runs (run_id) VALUES ('b')",
    "WITH x AS (INSERT INTO runs (run_id) VALUES ('b') RETURNING *) FROM x",
    "WITH x AS (DELETE FROM runs RETURNING *) FROM x",
    "UPDATE runs SET state = 'x'",
    "DELETE FROM runs",
    "CREATE TABLE t (a INTEGER)",
    "CREATE TEMP VIEW panel AS SELECT 1",
    "DROP TABLE runs",
    "ATTACH '{evidence}/out.csv' AS out",
    "DETACH snapshot",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "SET lock_configuration = false",
    "SET allowed_directories = ['/']",
    "RESET enable_external_access",
    "USE memory",
    "CALL pragma_version()",
    "CHECKPOINT",
    "PREPARE p AS SELECT 1",
    "BEGIN",
    "VACUUM",
    "",
    "-- nothing",
]


@pytest.mark.parametrize("sql", WRITES)
def test_statements_that_do_more_than_read_are_refused(
    workspace: Workspace, connection: duckdb.DuckDBPyConnection, sql: str
) -> None:
    folder = str(workspace.evidence_folder).replace("'", "''")
    with pytest.raises(UsageError, match=r"refused|one statement"):
        select(connection, sql.format(evidence=folder))
    assert sorted(file.name for file in workspace.evidence_folder.iterdir()) == ["panel"]
    assert select(connection, "SELECT run_id, state FROM runs").rows() == [("a", "running")]


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_csv('/etc/passwd')",
        "FROM read_text('/etc/passwd')",
        "FROM read_blob('/etc/passwd')",
        "FROM read_json('/etc/passwd')",
        "FROM '/etc/passwd'",
        "FROM '{root}/ledger.sqlite'",
        "FROM glob('/etc/*')",
        "FROM glob('{root}/*')",
        "FROM read_parquet('{root}/evidence/../../outside.parquet')",
        "FROM read_parquet('{outside}')",
        "FROM parquet_schema('{outside}')",
        "FROM '{outside}'",
        "FROM read_duckdb('{root}/featlas.duckdb')",
        "FROM sqlite_scan('{root}/ledger.sqlite', 'x')",
        "SELECT getenv('HOME')",
    ],
)
def test_files_outside_the_evidence_cannot_be_read(
    workspace: Workspace, connection: duckdb.DuckDBPyConnection, sql: str
) -> None:
    outside = workspace.root.parent / "outside.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(outside)
    root = str(workspace.root).replace("'", "''")
    with pytest.raises(FeatlasError):
        select(connection, sql.format(root=root, outside=str(outside).replace("'", "''")))


@pytest.mark.parametrize("sql", ["FROM read_text('/etc/passwd')", "FROM glob('/etc/*')", "SET threads = 9"])
def test_the_connection_itself_reaches_no_other_file(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    with pytest.raises((duckdb.PermissionException, duckdb.InvalidInputException)):
        connection.execute(sql)


def test_variables_of_the_program_are_no_tables(connection: duckdb.DuckDBPyConnection) -> None:
    hidden = pl.DataFrame({"a": [1]})
    with pytest.raises(duckdb.CatalogException, match="hidden"):
        connection.sql("FROM hidden")
    assert hidden.height == 1


def test_a_mistake_is_one_paragraph_with_the_tables_there_are(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match=r"name label does not exist.* Tables: .*labels, .*windows\.") as caught:
        query(workspace, "SELECT * FROM label")
    assert "\n" not in str(caught.value)


def test_a_query_that_takes_too_long_is_stopped(connection: duckdb.DuckDBPyConnection) -> None:
    began = time.monotonic()
    with pytest.raises(FeatlasError, match=r"stopped after 0\.1 seconds"):
        select(connection, "SELECT count(*) FROM range(1000000000000) WHERE range % 7 = 9", timeout_seconds=0.1)
    assert time.monotonic() - began < 5
    assert select(connection, "SELECT 1").rows() == [(1,)]


def test_a_missing_snapshot_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FeatlasError, match="featlas demo"):
        query(Workspace(tmp_path), "SELECT 1")


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000])
def test_a_damaged_snapshot_is_one_paragraph(tmp_path: Path, content: bytes) -> None:
    Workspace(tmp_path).snapshot.write_bytes(content)
    with pytest.raises(FeatlasError, match=r"snapshot.duckdb cannot be read"):
        query(Workspace(tmp_path), "SELECT 1")


def test_the_snapshot_is_read_while_a_store_is_open_and_shows_what_was_published(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    code = "import sys; from pathlib import Path; from labeling.snapshot import query; "
    code += "from labeling.workspace import Workspace; "
    code += "sys.stdout.write(str(query(Workspace(Path(sys.argv[1])), 'FROM runs').height))"
    with Store(workspace) as store:
        small(store, "runs", run("a"))
        store.publish()
        small(store, "runs", run("b"))
        assert query(workspace, "FROM runs").height == 1
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
        assert other.stdout == "1"
        store.publish()
        assert query(workspace, "FROM runs").height == 2


def test_an_open_reader_keeps_its_snapshot_when_a_new_one_is_published(tmp_path: Path) -> None:
    with Store(Workspace(tmp_path)) as store:
        store.publish()
        with open_snapshot(store.workspace) as reader:
            small(store, "runs", run("a"))
            store.publish()
            assert select(reader, "FROM runs").height == 0


def test_publishing_again_is_a_no_op(tmp_path: Path) -> None:
    with Store(Workspace(tmp_path)) as store:
        small(store, "samples", {"sample_id": "s", "feature_set": "f"})
        small(store, "features", {"sample_id": "s", "feature": 1, "status": "ok"})
        for _ in range(2):
            store.publish()
        assert query(store.workspace, "SELECT feature_set, feature, status FROM labels").rows() == [("f", 1, "ok")]
        assert sorted(p.name for p in tmp_path.glob("*.duckdb*")) == [
            "featlas.duckdb",
            "featlas.duckdb.wal",
            "snapshot.duckdb",
        ]


def test_the_requests_of_the_ledger_are_a_table(tmp_path: Path) -> None:
    with Store(Workspace(tmp_path)) as store:
        store.publish(large("llm_requests", {"request_key": "k", "model": "a/m", "cost_usd": 0.5}))
        store.publish()
        assert query(store.workspace, "SELECT request_key, cost_usd FROM llm_requests").rows() == [("k", 0.5)]


def test_requests_that_an_earlier_version_exported_are_read_without_their_new_columns(tmp_path: Path) -> None:
    with Store(Workspace(tmp_path)) as store:
        store.publish(large("llm_requests", {"request_key": "k", "model": "a/m", "cost_usd": 0.5}))
        (file,) = store.workspace.evidence("llm_requests").iterdir()
        pl.read_parquet(file).drop("batch").write_parquet(file)
        store.publish()
        assert query(store.workspace, "SELECT request_key, batch FROM llm_requests").rows() == [("k", None)]


def test_a_workspace_that_moved_is_still_read(tmp_path: Path) -> None:
    with Store(Workspace(tmp_path / "old")) as store:
        store.save_shard("panel", "s", 0, large("panel", {"sample_id": "s", "rank": 0, "window_id": 7}))
        store.publish()
    (tmp_path / "old").rename(tmp_path / "new")
    assert query(Workspace(tmp_path / "new"), "FROM panel").height == 1
    with Store(Workspace(tmp_path / "new")) as store:
        store.publish()


def test_the_snapshot_keeps_keys_comments_and_views(connection: duckdb.DuckDBPyConnection) -> None:
    views = select(connection, "SELECT view_name FROM duckdb_views() WHERE NOT internal AND NOT temporary")
    assert {"scoreboard", "windows", "contexts", "judgments"} <= set(views["view_name"])
    bare = "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'snapshot' AND comment IS NULL"
    bare += " AND NOT internal"
    assert select(connection, bare).rows() == []
    keys = "SELECT count(*) > 15 FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'"
    assert select(connection, keys).rows() == [(True,)]


def test_threads_may_share_a_store(tmp_path: Path) -> None:
    with Store(Workspace(tmp_path)) as store:
        jobs = [threading.Thread(target=small, args=(store, "runs", run(f"r{i}"))) for i in range(8)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        assert store.read("runs").height == 8


KILLED = """
import sys
from pathlib import Path
from labeling.store import Store
from labeling.workspace import Workspace
from tests.labeling.store_builders import large, run, score, small
store = Store(Workspace(Path(sys.argv[1])))
for turn in range(1000):
    small(store, "scores", *(score(f"{i}", i, float(turn)) for i in range(3000)))
    store.save_shard("panel", "s", turn, large("panel", {"sample_id": "s", "rank": 0, "window_id": turn}))
    store.publish()
    print(turn, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", [0, 7, 23, 41, 83, 130])
def test_a_kill_at_any_moment_leaves_whole_tables_and_a_whole_snapshot(tmp_path: Path, milliseconds: int) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        acknowledged = [int(victim.stdout.readline()) for _ in range(2)][-1]
        time.sleep(milliseconds / 1000)
        victim.kill()
        acknowledged = max([acknowledged, *(int(line) for line in victim.stdout)])
    workspace = Workspace(tmp_path)
    whole = "SELECT count(*), count(DISTINCT value), min(value) FROM scores"
    assert query(workspace, whole).rows()[0][:2] == (3000, 1)
    with Store(workspace) as store:
        ((rows, turns, turn),) = store.select(whole).rows()
        assert (rows, turns) == (3000, 1)
        assert turn >= acknowledged
        done = store.read("shards")["shard"].to_list()
        assert done[: acknowledged + 1] == list(range(acknowledged + 1))
        assert all((tmp_path / file).exists() for file in store.read("shards")["file"])
        store.publish()
    assert query(workspace, whole).rows() == [(3000, 1, turn)]
    assert not [name for name in sorted(tmp_path.iterdir()) if ".new" in name.name]


def test_cells_that_a_spreadsheet_would_run_become_text() -> None:
    cells = ["=1+1", "+1", "-1", "@sum", "\tx", "plain", "a=b", "", None]
    frame = neutralize_cells(pl.DataFrame({"label": cells, "score": [-1.0] * len(cells)}))
    assert frame["label"].to_list() == ["'=1+1", "'+1", "'-1", "'@sum", "'\tx", "plain", "a=b", "", None]
    assert frame["score"].to_list() == [-1.0] * len(cells)


def test_everything_fits_into_one_file_to_give_away(workspace: Workspace, tmp_path: Path) -> None:
    with Store(workspace) as store:
        store.save_shard("panel", "s", 0, large("panel", {"sample_id": "s", "rank": 0, "window_id": 7}))
        store.publish()
    file = export_single_file(workspace, tmp_path / "all.duckdb")
    shutil.rmtree(workspace.root)
    with duckdb.connect(file, read_only=True) as connection:
        assert connection.execute("SELECT window_id FROM panel").fetchall() == [(7,)]
        kinds = connection.execute("SELECT count(*), count(comment) FROM duckdb_tables()").fetchall()
        assert kinds[0][0] == kinds[0][1]
    with pytest.raises(UsageError, match="exists already"):
        export_single_file(workspace, file)


def test_several_text_columns_are_neutralized_at_once() -> None:
    frame = pl.DataFrame({"a": ["=1", "x"], "n": [1, 2], "b": ["@y", None]})
    assert neutralize_cells(frame).to_dict(as_series=False) == {"a": ["'=1", "x"], "n": [1, 2], "b": ["'@y", None]}
