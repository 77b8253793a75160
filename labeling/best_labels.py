"""Which label of a feature is shown: the statement that fills the table `labels`.

The group of explainer, scorer and judge whose mean `headline` has the highest lower end decides for all features of a
sample, so that no feature picks its own luckiest label. A feature that the group's explainer has no label for takes the next
explainer's; a label that the group's scorer has no score for shows the next group's score, or none. Headlines of scorers
that ask in trials repeat another metric (`headline_of`) and compare with nothing else: such groups come after all others,
in the order of the configuration.
"""

FILL_LABELS = """
WITH groups AS (  -- groups of a sample by the lower end of the mean headline, in the epoch of most features
    SELECT g.*, row_number() OVER (
        PARTITION BY sample_id
        ORDER BY headline_of IS NOT NULL, CASE WHEN headline_of IS NOT NULL THEN priority END NULLS LAST,
            coalesce(low, mean) DESC, mean DESC, priority NULLS LAST, explainer, explainer_model, scorer, judge_model
    ) AS place
    FROM (
        SELECT * FROM score_groups
        WHERE control = '' AND metric = 'headline' AND mean IS NOT NULL AND explainer <> ''
        QUALIFY row_number() OVER (
            PARTITION BY sample_id, explainer, explainer_model, scorer, judge_model, tau
            ORDER BY n_features DESC, epoch DESC
        ) = 1
    ) AS g
    JOIN samples USING (sample_id)
    WHERE abs(g.tau - samples.tau_share) < 1e-9
),
explainer_places AS (
    SELECT sample_id, explainer, explainer_model, min(place) AS place
    FROM groups GROUP BY ALL
),
judged AS MATERIALIZED (  -- DuckDB 2.0 fails on many scores where the next join reads this one's rows (its issue 24807)
    SELECT s.explanation_id, s.score_id, s.run_id, s.tau, s.scorer, s.judge_model, s.metric, g.headline_of, s.value, s.low, s.high,
        g.place
    FROM scores AS s
    JOIN groups AS g
        ON s.sample_id = g.sample_id AND s.metric = g.metric AND s.tau = g.tau AND s.epoch = g.epoch
        AND s.explainer = g.explainer AND coalesce(s.explainer_model, '') = g.explainer_model
        AND s.scorer = g.scorer AND coalesce(s.judge_model, '') = g.judge_model
    WHERE s.control IS NULL AND s.value IS NOT NULL
),
scored AS (  -- the score of an explanation: of its first group that has one
    SELECT j.explanation_id, j.scorer, j.judge_model, coalesce(j.headline_of, j.metric) AS metric, j.value, j.low, j.high,
        t.p, t.q, t.shrunk, t.shrunk_low, t.shrunk_high
    FROM judged AS j
    LEFT JOIN score_statistics AS t ON t.score_id = j.score_id AND t.metric = j.metric AND t.tau = j.tau
    LEFT JOIN runs AS r ON r.run_id = j.run_id
    QUALIFY row_number() OVER (  -- the newest, where another version of a scorer has scored it before
        PARTITION BY j.explanation_id ORDER BY j.place, r.started_at DESC NULLS LAST, j.score_id
    ) = 1
),
chosen AS (  -- the label of a feature: by the place of its explainer, never by the feature's own score
    SELECT e.*, s.* EXCLUDE (explanation_id)
    FROM explanations AS e
    LEFT JOIN explainer_places AS p
        ON e.sample_id = p.sample_id AND e.explainer = p.explainer
        AND coalesce(e.explainer_model, '') = p.explainer_model
    LEFT JOIN scored AS s ON e.explanation_id = s.explanation_id
    WHERE e.state = 'labeled'
    QUALIFY row_number() OVER (
        PARTITION BY e.sample_id, e.feature
        ORDER BY p.place NULLS LAST, s.value IS NULL, e.repeat, e.created_at DESC NULLS LAST, e.explanation_id
    ) = 1
),
near AS (
    SELECT samples.sample_id, n.feature, list(chosen.text ORDER BY n.rank) AS neighbor_labels
    FROM neighbors AS n
    JOIN samples USING (feature_set)
    JOIN chosen ON chosen.sample_id = samples.sample_id AND chosen.feature = n.neighbor
    WHERE n.method = 'decoder_cosine'
    GROUP BY ALL
),
places AS (
    SELECT c.feature_set, m.feature, m.cluster, k.name
    FROM clusterings AS c
    JOIN cluster_members AS m USING (clustering_id)
    LEFT JOIN clusters AS k ON k.clustering_id = c.clustering_id AND k.cluster = m.cluster
    WHERE c.is_default
    QUALIFY row_number() OVER (PARTITION BY c.feature_set, m.feature ORDER BY c.clustering_id) = 1
)
INSERT INTO labels BY NAME
SELECT
    s.feature_set,
    f.sample_id,
    coalesce(c.run_id, s.run_id) AS run_id,
    f.feature,
    c.text AS label,
    c.explainer,
    c.explainer_model,
    c.scorer,
    c.judge_model,
    c.metric,
    c.value AS score,
    c.low AS score_low,
    c.high AS score_high,
    f.firing_rate,
    f.max_activation,
    f.status,
    p.cluster,
    p.name AS cluster_name,
    coalesce(n.neighbor_labels, []) AS neighbor_labels,
    c.p,
    c.q,
    c.shrunk AS score_shrunk,
    c.shrunk_low AS score_shrunk_low,
    c.shrunk_high AS score_shrunk_high
FROM features AS f
JOIN samples AS s USING (sample_id)
LEFT JOIN chosen AS c ON c.sample_id = f.sample_id AND c.feature = f.feature
LEFT JOIN places AS p ON p.feature_set = s.feature_set AND p.feature = f.feature
LEFT JOIN near AS n ON n.sample_id = f.sample_id AND n.feature = f.feature
ORDER BY s.feature_set, f.sample_id, f.feature
"""
