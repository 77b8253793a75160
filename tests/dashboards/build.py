"""A small workspace made up for the pages: every table filled, with text that tries to break out of a page.

Features respond to frequent words of a few texts of the standard library. Scores are drawn, not computed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import polars as pl

from labeling.evidence import TABLES
from labeling.store import Store
from labeling.workspace import Workspace

NASTY = "<script>alert('x')</script> & \"quotes\" \x00\x1b[31m\u202egnirts =1+1 {{ 7*7 }}"
START = datetime(2026, 1, 2, 3, 4, 5)
CONTROL_NAMES = ("", "shuffled", "other_feature", "neighbor", "generic", "over_broad", "no_label")
OF_NO_EXPLAINER = ("generic", "over_broad", "no_label")
CONTROL_MEANS = {
    "": 0.0,
    "shuffled": -0.19,
    "other_feature": -0.185,
    "neighbor": -0.12,
    "generic": -0.2,
    "over_broad": -0.19,
    "no_label": -0.17,
}
METRIC_MEANS = {
    "headline": 0.69,
    "balanced_hard": 0.7,
    "balanced_random": 0.76,
    "auroc_hard": 0.72,
    "auroc_random": 0.79,
    "average_precision": 0.41,
    **{f"recall_q{q}": 0.4 + 0.1 * q for q in range(1, 6)},
}
GROUP_MEANS = {**METRIC_MEANS, "average_precision_lift": 7.3, "weighted_correlation": 0.1}
METRICS = tuple(METRIC_MEANS)
Rows = list[dict[str, Any]]


@dataclass
class Made:
    """Rows of each table, small and large."""

    tables: dict[str, Rows] = field(default_factory=dict)

    def add(self, table: str, **row: Any) -> None:
        self.tables.setdefault(table, []).append(row)


def make(n_features: int = 24, n_control: int = 8, seed: int = 0, documents: int = 12) -> Made:
    """A real feature set `demo` and its control `demo-random`."""
    made, generator = Made(), np.random.default_rng(seed)
    made.add(
        "runs", run_id="run1", command="featlas demo --seed 0", started_at=START,
        finished_at=START + timedelta(seconds=97),
        state="partial", config=json.dumps({"sample": {"seed": 0}}), config_hash="0123456789abcdef",
        version="0.1.0", message=None,
    )  # fmt: skip
    for place, (stage, seconds) in enumerate({"sample": 41.0, "label": 3.2, "score": 22.5, "cluster": 4.1}.items()):
        made.add(
            "shards", stage=stage, key="s1", shard=0, rows=10, seconds=seconds, file=None,
            finished_at=START + timedelta(minutes=place),
        )  # fmt: skip
    windows = _corpus(made, documents)
    _feature_set(made, windows, generator, name="demo", sample="s1", n_features=n_features, control_for=None)
    _feature_set(made, windows, generator, name="demo-random", sample="s2", n_features=n_control, control_for="demo")
    _requests(made)
    _statistics(made)
    return made


def publish(made: Made, workspace: Workspace) -> Workspace:
    """Save all rows through the store, and publish."""
    with Store(workspace) as store:
        for table, rows in made.tables.items():
            if table in TABLES:
                store.save_shard(table, "made", 0, pl.DataFrame(rows, schema=TABLES[table].schema))
            else:
                empty = store.read(table)
                frame = pl.DataFrame(rows, infer_schema_length=None)
                store.save(table, pl.concat([empty.clear(), frame], how="diagonal_relaxed").select(empty.columns))
        store.publish()
    return workspace


def _corpus(made: Made, documents: int) -> Rows:
    made.add("corpus_problems", corpus_id="c1", problem="not JSON", n=1_234, example=f"a.jsonl:7: {NASTY}")
    texts = ["Z" * 10_000 + f" {NASTY} while the end", *list(topics.values())[:documents]]
    for number, text in enumerate(texts):
        tokens = [(m.group(), m.start(), m.end()) for m in re.finditer(r"Z{99,}|\w{1,6}|[^\w\s]", text[:12_000])]
        split = ("score", "explain", "score", "select")[number % 4]
        made.add(
            "documents", corpus_id="c1", document_id=f"d{number}",
            name=f"{NASTY}.txt" if number == 0 else f"topic {number}",
            split=split, n_characters=len(text), n_tokens=len(tokens),
        )  # fmt: skip
        for start in range(0, len(tokens) - 15, 32):
            part = tokens[start : start + 32]
            first, last = part[0][1], part[-1][2]
            made.add(
                "windows", corpus_id="c1", window_id=len(made.tables.get("windows", [])),
                document_id=f"d{number}", split=split,
                start=start, char_start=first, n_tokens=len(part), text=text[first:last], token_ids=[0] * len(part),
                tokens=[t for t, _, _ in part], token_starts=[s - first for _, s, _ in part],
                token_ends=[e - first for _, _, e in part],
            )  # fmt: skip
    return made.tables["windows"]


def _feature_set(
    made: Made, windows: Rows, generator: np.random.Generator, *,
    name: str, sample: str, n_features: int, control_for: str | None,
) -> None:  # fmt: skip
    counted = pl.Series([t for w in windows for t in w["tokens"] if t.isalpha()]).value_counts(sort=True)
    words = counted.sort(["count", ""], descending=[True, False])[""].to_list()
    made.add(
        "feature_sets", feature_set=name, source="torch", model="embedded/minilm", hook="encoder.layer.2",
        n_features=n_features,
        dictionary=f"embedded/{name}", architecture="topk", d_model=384, fingerprint="f", control_for=control_for,
    )  # fmt: skip
    made.add(
        "samples", sample_id=sample, feature_set=name, corpus_id="c1", corpus="embedded", tokenizer_id="t",
        sequence=256,
        window_tokens=32, tau_share=0.01, seed=0, n_documents=13, n_duplicates=2, n_tokens=300_000,
        n_windows=len(windows),
        run_id="run1", created_at=START,
    )  # fmt: skip
    clustering = f"k-{name}"
    n_clusters = max(2, n_features // 12)
    made.add(
        "clusterings", clustering_id=clustering, feature_set=name, method="leiden", parameters="{}", resolution=1.0,
        modularity=0.6, n_clusters=n_clusters, seed=0, is_default=True,
    )  # fmt: skip
    centers = generator.normal(size=(n_clusters, 2)) * 4
    for feature in range(n_features):
        word = words[feature % len(words)]
        status = ("ok", "ok", "ok", "ok", "ok", "weak", "ok", "dense", "ok", "dead")[feature % 10]
        cluster = int(generator.integers(n_clusters))
        label = (
            None
            if status != "ok" or feature == 3
            else NASTY
            if feature == 0
            else f"the word “{word}”, often after a comma"
        )
        made.add(
            "features", sample_id=sample, feature=feature, status=status, tau=0.05, tau25=1.2, max_activation=5.0,
            firing_tokens=300, firing_rate=0.001, n_tokens=300_000,
        )  # fmt: skip
        for split in ("explain", "select", "score"):
            histogram = [0] * 40 + [int(n) for n in generator.integers(0, 9, 24)]
            made.add(
                "feature_splits", sample_id=sample, feature=feature, split=split, firing_tokens=100, firing_windows=40,
                firing_windows25=20, grey_windows=3, silent_windows=900, sum=150.0, max=5.0, token_histogram=histogram,
                window_histogram=histogram, histogram_start=-45,
            )  # fmt: skip
        for rank, token in enumerate((word, f"##{word}", NASTY if feature == 0 else ",")):
            made.add(
                "feature_tokens", sample_id=sample, feature=feature, rank=rank, token=token, mean_activation=2.0 - rank / 2,
                occurrences=9 - rank,
            )  # fmt: skip
        made.add("cluster_members", clustering_id=clustering, feature=feature, cluster=cluster)
        x, y = centers[cluster] + generator.normal(size=2)
        made.add("map_points", feature_set=name, feature=feature, x=float(x), y=float(y))
        for method, step in (("decoder_cosine", 1), ("firing_overlap", 2)):
            for rank in range(3):
                made.add(
                    "neighbors", feature_set=name, method=method, feature=feature, rank=rank,
                    neighbor=(feature + step + rank) % n_features, similarity=0.8 - rank / 10,
                )  # fmt: skip
        if status != "ok":
            continue
        made.add(
            "explanations", explanation_id=f"{sample}-{feature}", sample_id=sample, feature=feature,
            explainer="token_pattern",
            state="labeled" if label else "failed", reason=None if label else "no token stands out",
            text=label, repeat=0, evidence=[0, 1, 2],
            run_id="run1", input_tokens=0, output_tokens=0, created_at=START,
        )  # fmt: skip
        if label:
            _scores(made, generator, sample, feature)
        if control_for is None:
            _contexts(made, windows, generator, sample, feature, word)
    for cluster in range(n_clusters):
        size = sum(m["cluster"] == cluster for m in made.tables["cluster_members"] if m["clustering_id"] == clustering)
        title = NASTY if cluster == 1 else f"{words[cluster]}, {words[cluster + 1]}, {words[cluster + 2]}"
        made.add(
            "clusters",
            clustering_id=clustering,
            cluster=cluster,
            name=title,
            name_source="distinctive_words",
            size=size,
        )
    _groups(made, sample, n_features, is_control=control_for is not None)


def _scores(made: Made, generator: np.random.Generator, sample: str, feature: int) -> None:
    for scorer in ("pattern", "embedding"):
        for control in ("", "shuffled"):
            quality = generator.normal(scale=0.09) + (-0.05 if scorer == "embedding" else 0.02)
            for metric, mean in METRIC_MEANS.items():
                value = float(np.clip(mean + quality + CONTROL_MEANS[control] + generator.normal(scale=0.02), 0, 1))
                lost = scorer == "embedding" and feature % 11 == 6
                made.add(
                    "scores", score_id=f"{sample}-{feature}-{scorer}-{control}", metric=metric, tau=0.01,
                    sample_id=sample,
                    feature=feature, explanation_id=f"{sample}-{feature}", explainer="token_pattern",
                    scorer=scorer, epoch=0,
                    control=control or None, value=None if lost else value, low=None if lost else max(0.0,
                    value - 0.07),
                    high=None if lost else min(1.0, value + 0.07), n_items=0 if lost else 600,
                    n_lost=600 if lost else 0,
                    reason="label has no words to embed" if lost else None, run_id="run1",
                )  # fmt: skip


def _statistics(made: Made) -> None:
    """What scores mean against wrong labels, how a judge does, and a feature that was judged without its label."""
    judge = {
        "sample_id": "s1",
        "explainer": "token_pattern",
        "explainer_model": "",
        "scorer": "pattern",
        "judge_model": "",
    }
    for score in [s for s in made.tables["scores"] if s["metric"] == "headline" and s["control"] is None]:
        if score["value"] is not None and score["scorer"] == "pattern":
            made.add(
                "score_statistics", score_id=score["score_id"], metric="headline", tau=0.01, sample_id=score["sample_id"],
                feature=score["feature"], p=0.0003, q=0.0123, n_null=3_000, null_pool="tercile", null_95=0.55,
                shrunk=0.66, shrunk_low=0.6, shrunk_high=0.7, run_id="run1",
            )  # fmt: skip
    made.add(
        "group_statistics", **judge, metric="headline", tau=0.01, epoch=0, n_tested=18, n_null=3_000, share_significant=0.87,
        share_above_null=0.91, reliability=0.7, run_id="run1",
    )  # fmt: skip
    for number in range(4):
        low = number / 4
        made.add(
            "reliability_curves", **judge, epoch=0, bin=number, bin_low=low, bin_high=low + 0.25, probability=low + 0.1,
            observed=low + 0.05, low=low, high=low + 0.15, weight=0.25, n_items=200, brier_skill=0.31, run_id="run1",
        )  # fmt: skip
    made.add(
        "judge_reliability", **judge, metric="headline", n_epochs=2, n_features=18, n_windows=900, flip_rate=0.08,
        flip_rate_low=0.06, flip_rate_high=0.1, icc=0.9, icc_low=0.8, icc_high=0.95, kappa=0.84, kappa_low=0.8,
        kappa_high=0.88, pabak=0.84, pabak_low=0.8, pabak_high=0.88, variance_judge=0.001, run_id="run1",
    )  # fmt: skip
    made.add(
        "scores", score_id="free", metric="accuracy_intruder", tau=0.01, sample_id="s1", feature=1, scorer="intruder",
        epoch=0, value=0.61, low=0.5, high=0.7, n_items=40, n_lost=0, chance=0.2, run_id="run1",
    )  # fmt: skip
    for side, sign in (("top", 1), ("bottom", -1)):
        for rank in range(3):
            made.add(
                "feature_logits", sample_id="s1", feature=1, side=side, rank=rank, token=f"{side}{rank} {NASTY}",
                logit=sign * (3.0 - rank),
            )  # fmt: skip
    made.add(
        "tags", sample_id="s1", feature=1, tag=NASTY, tagger="a person", stance="asserts", state="settled", evidence=[0, 1],
        created_at=START,
    )  # fmt: skip


def _groups(made: Made, sample: str, n_features: int, *, is_control: bool) -> None:
    for priority, scorer in enumerate(("pattern", "embedding")):
        for control in ("",) if is_control else CONTROL_NAMES:
            for metric, mean in GROUP_MEANS.items():
                for tau in (0.01, 0.25):
                    value = (
                        mean + CONTROL_MEANS[control] - 0.04 * priority + (0.06 if tau > 0.1 else 0) - 0.02 * is_control
                    )
                    made.add(
                        "score_groups", sample_id=sample, explainer="" if control in OF_NO_EXPLAINER else "token_pattern",
                        explainer_model="", scorer=scorer,
                        judge_model="", metric=metric, tau=tau, control=control, epoch=0, n_features=n_features,
                        n_unscored=2 if scorer == "embedding" else 0, mean=value, low=value - 0.012,
                        high=value + 0.012,
                        requests=0, input_tokens=0, output_tokens=0, cost_usd=0.0, priority=priority, run_id="run1",
                    )  # fmt: skip


def _contexts(made: Made, windows: Rows, generator: np.random.Generator, sample: str, feature: int, word: str) -> None:
    held_out = [w for w in windows if w["split"] == "score"]
    firing = [w for w in held_out if word in w["tokens"]][:6]
    silent = [w for w in held_out if word not in w["tokens"]][:3]
    if feature == 0:  # a window full of markup, with a token of 5,000 characters
        firing = [held_out[0], *firing]
    strata = ("top", "top", "top", "q3", "q3", "q1", "q1", "hard_token", "hard_neighbor", "hard_text")
    for place, (window, stratum) in enumerate(
        zip([*firing, *silent], (*strata[: len(firing)], *strata[7:]), strict=False)
    ):
        active = [i for i, token in enumerate(window["tokens"]) if token == word or (feature == 0 and len(token) > 5)]
        active = [] if stratum.startswith("hard") else active
        values = [float(v) for v in np.sort(generator.uniform(0.3, 5.0, len(active)))[::-1]]
        made.add(
            "contexts", sample_id=sample, feature=feature, split="score", stratum=stratum, window_id=window["window_id"],
            document_id=window["document_id"], population=40, sampled=3, max_activation=max(values, default=0.0),
            positions=active, activations=values,
        )  # fmt: skip
        made.add(
            "judgments", sample_id=sample, feature=feature, explanation_id=f"{sample}-{feature}",
            explainer="token_pattern",
            explainer_model=None, control=None, scorer="pattern", judge_model=None, epoch=0, split="score",
            window_id=window["window_id"], grade=float(place),
            probability=None if place == 2 else float(generator.uniform()),
            state="lost" if place == 2 else "answered", reason="window too long" if place == 2 else None,
            request_key=None,
        )  # fmt: skip


def _requests(made: Made) -> None:
    for number in range(6):
        failed = number == 5
        made.add(
            "llm_requests", request_key=f"r{number}", provider="openai", model="openai/judge", repeat=0,
            prompt_hash="p",
            purpose="score", state="failed" if failed else "answered", reason="timeout" if failed else None,
            attempts=1,
            stop_reason=None if failed else "stop", input_tokens=1200, cached_input_tokens=700, output_tokens=60,
            cost_usd=None if failed else 0.0021, latency_seconds=0.4, answer=None if failed else "{}",
            answered_at=START,
        )  # fmt: skip
