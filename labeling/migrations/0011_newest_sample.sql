-- The scoreboard shows the newest sample of each feature set alone, as pages and exports do, and says which.

CREATE OR REPLACE VIEW scoreboard AS
WITH placed AS (
    SELECT
        g.*,
        s.feature_set,
        s.control_for,
        s.architecture,
        max(g.n_features) OVER (
            PARTITION BY g.sample_id, g.explainer, g.explainer_model, g.scorer, g.judge_model, g.epoch
        ) AS breadth
    FROM score_groups AS g
    JOIN (
        SELECT samples.sample_id, samples.feature_set, feature_sets.control_for, feature_sets.architecture
        FROM samples LEFT JOIN feature_sets USING (feature_set)
        QUALIFY row_number() OVER (
            PARTITION BY samples.feature_set ORDER BY samples.created_at DESC NULLS LAST, samples.sample_id
        ) = 1
    ) AS s USING (sample_id)
    WHERE s.control_for IS NULL OR g.control = ''
),
shown AS (
    SELECT * FROM placed
    QUALIFY rank() OVER (
        PARTITION BY feature_set, explainer, explainer_model, scorer, judge_model
        ORDER BY breadth DESC, epoch DESC
    ) = 1
)
SELECT
    coalesce(s.control_for, s.feature_set) AS feature_set,
    nullif(s.explainer, '') AS explainer,
    nullif(s.explainer_model, '') AS explainer_model,
    nullif(s.scorer, '') AS scorer,
    nullif(s.judge_model, '') AS judge_model,
    s.metric,
    s.tau,
    CASE
        WHEN s.control_for IS NULL THEN nullif(s.control, '')
        WHEN s.architecture = 'random_directions' THEN 'random_directions'
        ELSE 'random_weights'
    END AS control,
    s.n_features,
    s.n_unscored,
    s.mean,
    s.low,
    s.high,
    s.requests,
    s.input_tokens,
    s.output_tokens,
    s.cost_usd,
    t.share_significant,
    t.share_above_null,
    t.n_null,
    t.reliability,
    j.flip_rate,
    j.icc,
    s.chance,
    s.headline_of,
    s.sample_id
FROM shown AS s
LEFT JOIN group_statistics AS t
    ON s.control = '' AND t.sample_id = s.sample_id AND t.explainer = s.explainer
    AND t.explainer_model = s.explainer_model AND t.scorer = s.scorer AND t.judge_model = s.judge_model
    AND t.metric = s.metric AND t.tau = s.tau AND t.epoch = s.epoch
LEFT JOIN judge_reliability AS j
    ON s.control = '' AND j.sample_id = s.sample_id AND j.explainer = s.explainer
    AND j.explainer_model = s.explainer_model AND j.scorer = s.scorer AND j.judge_model = s.judge_model
    AND j.metric = s.metric
ORDER BY 1, s.metric, s.tau, s.low DESC NULLS LAST, s.mean DESC NULLS LAST, 2, 3, 4, 5, 8;
COMMENT ON VIEW scoreboard IS 'Explainers x scorers x judges: mean scores over the features of the newest sample, with controls, cost and counts of what is missing; for each metric the highest lower end of the interval first.';
COMMENT ON COLUMN scoreboard.feature_set IS 'Feature set; control feature sets stand under the one they are a control for.';
COMMENT ON COLUMN scoreboard.explainer IS 'Explainer that wrote the labels; NULL for scorers that judge features and for controls that need no label.';
COMMENT ON COLUMN scoreboard.explainer_model IS 'Language model of the explainer, as provider/model; NULL for offline explainers.';
COMMENT ON COLUMN scoreboard.scorer IS 'Scorer that asked.';
COMMENT ON COLUMN scoreboard.judge_model IS 'Language model that judged, as provider/model; NULL for offline scorers.';
COMMENT ON COLUMN scoreboard.metric IS 'Metric the mean is of.';
COMMENT ON COLUMN scoreboard.tau IS 'Threshold of firing as a share 0-1 of the largest activation.';
COMMENT ON COLUMN scoreboard.control IS 'NULL for real labels, else shuffled, other_feature, neighbor, generic, over_broad, no_label, permuted, random_weights or random_directions.';
COMMENT ON COLUMN scoreboard.n_features IS 'Features with a value: those the mean is over.';
COMMENT ON COLUMN scoreboard.n_unscored IS 'Further features, without a value.';
COMMENT ON COLUMN scoreboard.mean IS 'Mean over the scored features; NULL where there is none.';
COMMENT ON COLUMN scoreboard.low IS 'Lower end of the 95 % interval of the mean.';
COMMENT ON COLUMN scoreboard.high IS 'Upper end of the 95 % interval of the mean.';
COMMENT ON COLUMN scoreboard.requests IS 'Requests to the judge, of all metrics of the group together; 0 for offline scorers.';
COMMENT ON COLUMN scoreboard.input_tokens IS 'Tokens of the prompts, of all metrics of the group together; NULL where a server did not say.';
COMMENT ON COLUMN scoreboard.output_tokens IS 'Tokens of the answers, of all metrics of the group together; NULL where a server did not say.';
COMMENT ON COLUMN scoreboard.cost_usd IS 'Price in US dollars, of all metrics of the group together; NULL where it is not known.';
COMMENT ON COLUMN scoreboard.share_significant IS 'Share 0-1 of the labels with q < 0.05 against wrong labels; NULL for controls, without controls, and for metrics that are not tested.';
COMMENT ON COLUMN scoreboard.share_above_null IS 'Share 0-1 of the labels above the 95th percentile of wrong labels; 0.05 is expected of labels that say nothing.';
COMMENT ON COLUMN scoreboard.n_null IS 'Scores of wrong labels behind both.';
COMMENT ON COLUMN scoreboard.reliability IS 'Share 0-1 of the variance between scores that is not noise.';
COMMENT ON COLUMN scoreboard.flip_rate IS 'Share 0-1 of windows where the judge changes between yes and no when asked again; NULL where nobody asked.';
COMMENT ON COLUMN scoreboard.icc IS 'Intraclass correlation of feature scores between two judgings; NULL where there was one.';
COMMENT ON COLUMN scoreboard.chance IS 'Value that a guess gets; NULL where it depends on the feature or the judge.';
COMMENT ON COLUMN scoreboard.headline_of IS 'Of headline, where the scorer asks in trials: the metric that it repeats. Else NULL.';
COMMENT ON COLUMN scoreboard.sample_id IS 'Sample that was scored: the newest of the feature set, also where an older one was labeled by more explainers.';
