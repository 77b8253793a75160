"""Questions behind the page of one feature. Each asks about a single feature of a single sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from dashboards.queries import TAU, Reader, Rows

Sample = Mapping[str, Any]
"""A row of the table `samples`."""
LABEL_COLUMNS = ("label", "score", "score_low", "score_high", "firing_rate", "status", "cluster")
"""What is said of a neighbor."""


def feature(reader: Reader, sample_id: str, number: int) -> Rows:
    """The feature's row of `labels`, with thresholds, counts and the name it came with: one row, or none."""
    return reader.few(
        """
        SELECT l.* EXCLUDE (neighbor_labels), f.tau, f.tau25, f.firing_tokens, f.n_tokens, n.name
        FROM labels AS l JOIN features AS f USING (sample_id, feature)
        LEFT JOIN feature_names AS n USING (sample_id, feature)
        WHERE l.sample_id = ? AND l.feature = ?
        """,
        [sample_id, number],
    )


def splits(reader: Reader, sample_id: str, number: int) -> Rows:
    """Exact counts and the histogram of tokens, a row a split."""
    sql = "SELECT * EXCLUDE (window_histogram) FROM feature_splits WHERE sample_id = ? AND feature = ?"
    return reader.few(sql, [sample_id, number])


def tokens(reader: Reader, sample_id: str, number: int) -> Rows:
    """Tokens the feature fires on most, the strongest first."""
    sql = "SELECT token, mean_activation, occurrences FROM feature_tokens WHERE sample_id = ? AND feature = ? ORDER BY rank"
    return reader.few(sql, [sample_id, number])


def logits(reader: Reader, sample_id: str, number: int) -> Rows:
    """Output tokens that the feature raises and lowers most, the strongest first; none where nobody computed them."""
    sql = "SELECT side, token, logit FROM feature_logits WHERE sample_id = ? AND feature = ? ORDER BY side DESC, rank"
    return reader.few(sql, [sample_id, number])


def explanations(reader: Reader, sample_id: str, number: int) -> Rows:
    """Everything that explainers wrote of the feature, the newest last, failures too."""
    sql = """
        SELECT * FROM explanations WHERE sample_id = ? AND feature = ?
        ORDER BY explainer, explainer_model NULLS FIRST, repeat, created_at
    """
    return reader.few(sql, [sample_id, number])


def scores(reader: Reader, sample_id: str, number: int) -> Rows:
    """Scores of the feature's labels and of those that stood in for them, at the threshold that pages show.

    With what they mean against scores of wrong labels, where that was computed.
    """
    return reader.few(
        """
        WITH meant AS (SELECT * EXCLUDE (sample_id, feature, run_id) FROM score_statistics
                       WHERE sample_id = $1 AND feature = $2 AND abs(tau - $3) < 1e-9)
        SELECT x.*, m.p, m.q, m.n_null, m.null_95, m.shrunk, m.shrunk_low, m.shrunk_high
        FROM scores AS x LEFT JOIN runs AS r USING (run_id)
        LEFT JOIN meant AS m ON m.score_id = x.score_id AND m.metric = x.metric
        WHERE x.sample_id = $1 AND x.feature = $2 AND abs(x.tau - $3) < 1e-9
        QUALIFY row_number() OVER (
            PARTITION BY x.explanation_id, x.explainer, x.explainer_model, x.scorer, x.judge_model, x.control, x.metric
            ORDER BY x.epoch, r.started_at DESC NULLS LAST, x.score_id
        ) = 1
        ORDER BY x.explainer, x.scorer, x.control NULLS FIRST, x.metric
        """,
        [sample_id, number, TAU],
    )


def neighbors(reader: Reader, feature_set: str, sample_id: str, number: int) -> Rows:
    """Neighbors by each method, the nearest first, with their labels and the tokens that they do not share.

    `only_here` and `only_there` are top tokens of one of the two alone.
    """
    near = reader.few(
        """
        SELECT method, rank, neighbor, similarity FROM neighbors WHERE feature_set = ? AND feature = ?
        ORDER BY method, rank
        """,
        [feature_set, number],
    )
    # one join of all tables would take half as long again
    wanted = [sample_id, sorted({number, *(row["neighbor"] for row in near)})]
    named = reader.few(
        f"""
        SELECT feature, {", ".join(LABEL_COLUMNS)}
        FROM labels SEMI JOIN (SELECT unnest($2::INTEGER[]) AS feature) USING (feature) WHERE sample_id = $1
        """,
        wanted,
    )
    top = reader.few(
        """
        SELECT feature, token FROM feature_tokens SEMI JOIN (SELECT unnest($2::INTEGER[]) AS feature) USING (feature)
        WHERE sample_id = $1 ORDER BY feature, rank
        """,
        wanted,
    )
    labels, tokens = {row.pop("feature"): row for row in named}, defaultdict[int, list[str]](list)
    for row in top:
        tokens[row["feature"]].append(row["token"])
    own, nothing = tokens[number], dict.fromkeys(LABEL_COLUMNS)
    return [
        {
            **row,
            **labels.get(row["neighbor"], nothing),
            "only_here": [token for token in own if token not in tokens[row["neighbor"]]],
            "only_there": [token for token in tokens[row["neighbor"]] if token not in own],
        }
        for row in near
    ]


def tags(reader: Reader, sample_id: str, number: int) -> Rows:
    """Tags, with the text of the first windows that they rest on."""
    return reader.few(
        """
        WITH own AS (SELECT * FROM tags WHERE sample_id = $1 AND feature = $2),
        shown AS (
            SELECT t.tag, t.tagger, list(w.text ORDER BY w.window_id)[:3] AS texts
            FROM own AS t JOIN samples AS s USING (sample_id)
            JOIN windows AS w ON w.corpus_id = s.corpus_id AND list_contains(t.evidence, w.window_id)
            GROUP BY ALL
        )
        SELECT own.*, coalesce(shown.texts, []) AS texts FROM own LEFT JOIN shown USING (tag, tagger) ORDER BY tag, tagger
        """,
        [sample_id, number],
    )


def has_tags(reader: Reader, sample_id: str, number: int) -> bool:
    sql = "SELECT count(*) AS n FROM tags WHERE sample_id = ? AND feature = ?"
    return bool(reader.few(sql, [sample_id, number])[0]["n"])


def evidence(reader: Reader, sample: Sample, number: int, explanation_id: str) -> pl.DataFrame:
    """The windows that an explainer was shown of the feature, in its order, with the activations that it could see."""
    sample_id, corpus_id = sample["sample_id"], sample["corpus_id"]
    asked = reader.query(
        """
        SELECT unnest(evidence) AS window_id, generate_subscripts(evidence, 1) AS place FROM explanations
        WHERE explanation_id = $3 AND sample_id = $1 AND feature = $2
        """,
        [sample_id, number, explanation_id],
    )
    seen = _activity(reader, sample_id, number, split="explain")
    found = asked.join(seen, on="window_id", how="left").sort("place")
    shown = found.with_columns(pl.col("stratum").fill_null("other"), *_EMPTY_WHERE_SILENT)
    return with_documents(reader, corpus_id, _with_text(reader, corpus_id, shown))


def beside(reader: Reader, sample_id: str, number: int) -> tuple[int | None, int | None]:
    """Numbers of the features before and after."""
    sql = """
        SELECT max(feature) FILTER (feature < $2) AS previous, min(feature) FILTER (feature > $2) AS next
        FROM features WHERE sample_id = $1 AND feature BETWEEN $2 - 1 AND $2 + 1
    """
    row = reader.few(sql, [sample_id, number])[0]
    return row["previous"], row["next"]


def contexts(
    reader: Reader, sample: Sample, number: int, *, split: str, most: int, strata: Sequence[str]
) -> pl.DataFrame:
    """Windows of one split, at most `most` of each stratum, the strongest first.

    It reads files and asks the database nothing, so that one can be done beside the other.
    """
    columns = "split", "stratum", "window_id", "max_activation", "positions", "activations", "population", "sampled"
    rows = reader.rows_of("contexts", sample["sample_id"], number, columns)
    found = (
        rows.filter(pl.col("split") == split, pl.col("stratum").is_in(strata))
        .drop("split")
        .sort("stratum", "max_activation", "window_id", descending=[False, True, False])
        .group_by("stratum", maintain_order=True)
        .head(most)
    )
    return _with_text(reader, sample["corpus_id"], found)


def beside_windows(reader: Reader, corpus_id: str, windows: Sequence[int]) -> pl.DataFrame:
    """Text of the windows right before and after some windows, of the same document where there are any."""
    wanted = {window + step for window in windows for step in (-1, 1)}
    return reader.windows(corpus_id, wanted, ("window_id", "document_id", "text"))


def judgments(
    reader: Reader, sample: Sample, number: int, *, scorer: str, judge: str | None, explanation_id: str | None
) -> pl.DataFrame:
    """Every window that a scorer judged for the feature by one label, with the truth: the worst misses first.

    Without an explanation, the feature's own labels; without a judge, any. What scorers that ask in trials asked has a
    `variant`, and their own `truth` where there is one.
    """
    sample_id, corpus_id = sample["sample_id"], sample["corpus_id"]
    every = reader.rows_of("judgments", sample_id, number)
    judged = every.filter(
        pl.col("scorer") == scorer, pl.col("split") == "score", pl.col("control").is_null(), pl.col("epoch") == 0,
        explanation_id is None or pl.col("explanation_id") == explanation_id,
        judge is None or pl.col("judge_model") == judge,
    )  # fmt: skip
    panel = reader.rows_of("panel_activity", sample_id, number, ("window_id", "max_activation", "stratum"))
    tau = reader.few("SELECT tau FROM features WHERE sample_id = ? AND feature = ?", [sample_id, number])[0]["tau"]
    found = (
        judged.join(_activity(reader, sample_id, number, split="score"), on="window_id", how="left")
        .join(panel, on="window_id", how="left", suffix="_in_panel")
        .with_columns(
            pl.coalesce("max_activation", "max_activation_in_panel", 0.0).alias("max_activation"),
            pl.coalesce("stratum", "stratum_in_panel", pl.lit("random")).alias("stratum"),
            *_EMPTY_WHERE_SILENT,
        )
        .drop("max_activation_in_panel", "stratum_in_panel")
        .with_columns((pl.col("max_activation").cast(pl.Float64) > tau).alias("fires"))
    )
    answered = pl.col("state") == "answered"
    wrong, off = (
        (pl.col("fires").cast(pl.Int8) - pl.col("probability")).abs(),
        (pl.col("truth") - pl.col("grade")).abs(),
    )
    by = (answered, wrong.is_not_null(), wrong, off.is_null(), off, pl.col("window_id"), pl.col("trial"))
    ordered = found.sort(*by, descending=[False, False, True, False, True, False, False])
    return with_documents(reader, corpus_id, _with_text(reader, corpus_id, ordered))


_EMPTY_WHERE_SILENT = tuple(pl.col(name).fill_null([]) for name in ("positions", "activations"))


def _activity(reader: Reader, sample_id: str, number: int, *, split: str) -> pl.DataFrame:
    """What the feature does in each of its windows of a split, and why the window was chosen: once each."""
    rows = reader.rows_of(
        "contexts", sample_id, number, ("split", "stratum", "window_id", "max_activation", "positions", "activations")
    )
    strata = pl.col("stratum").filter(pl.col("stratum") != "top").min().fill_null("top")
    return (
        rows.filter(pl.col("split") == split)
        .group_by("window_id", maintain_order=True)
        .agg(pl.col("max_activation").max(), pl.col("positions", "activations").first(), strata)
    )


def with_documents(reader: Reader, corpus_id: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that have a `document_id`, with the document's name as `document`."""
    names = reader.query(
        """
        SELECT document_id, name AS document FROM documents
        SEMI JOIN (SELECT unnest($2::VARCHAR[]) AS document_id) USING (document_id) WHERE corpus_id = $1
        """,
        [corpus_id, rows["document_id"].unique().to_list()],
    )
    return rows.join(names, on="document_id", how="left", maintain_order="left")


def _with_text(reader: Reader, corpus_id: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that have a `window_id`, with the window's text and tokens; those of no known window are left out."""
    columns = "window_id", "document_id", "text", "token_starts", "token_ends"
    texts = reader.windows(corpus_id, rows["window_id"].to_list(), columns)
    return rows.join(texts, on="window_id", how="inner", maintain_order="left")
