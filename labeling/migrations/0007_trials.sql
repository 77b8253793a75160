-- Scorers that ask in trials: what a guess gets, and which of their metrics people see first.

ALTER TABLE scores ADD COLUMN chance DOUBLE;
ALTER TABLE score_groups ADD COLUMN chance DOUBLE;
ALTER TABLE score_groups ADD COLUMN headline_of TEXT;
COMMENT ON COLUMN scores.chance IS 'Value that a guess gets; NULL where it depends on the feature or the judge.';
COMMENT ON COLUMN score_groups.chance IS 'Value that a guess gets, the mean over the scored features; NULL where it depends on the feature or the judge.';
COMMENT ON COLUMN score_groups.headline_of IS 'Of headline, where the scorer asks in trials: the metric that it repeats; such headlines compare only within one scorer. Else NULL.';
COMMENT ON COLUMN scores.explainer IS 'Explainer that wrote the label; NULL for scorers that judge features, not labels.';
COMMENT ON COLUMN score_groups.explainer IS 'Explainer that wrote the labels; empty for scorers that judge features, not labels.';
COMMENT ON COLUMN labels.explainer IS 'Explainer that wrote the label: of the group of explainer and scorer with the highest mean headline score, so that no feature picks its own luckiest label. Scorers that ask in trials decide only where no other has scored.';
COMMENT ON COLUMN labels.metric IS 'Metric of the score: headline, or the metric that stands for it where the scorer asks in trials.';

CREATE OR REPLACE VIEW scoreboard AS
WITH placed AS (
    SELECT
        g.*,
        s.feature_set,
        s.control_for,
        s.created_at,
        max(g.n_features) OVER (
            PARTITION BY g.sample_id, g.explainer, g.explainer_model, g.scorer, g.judge_model, g.epoch
        ) AS breadth
    FROM score_groups AS g
    JOIN (
        SELECT samples.sample_id, samples.feature_set, samples.created_at, feature_sets.control_for
        FROM samples LEFT JOIN feature_sets USING (feature_set)
    ) AS s USING (sample_id)
    WHERE s.control_for IS NULL OR g.control = ''
),
shown AS (
    SELECT * FROM placed
    QUALIFY rank() OVER (
        PARTITION BY feature_set, explainer, explainer_model, scorer, judge_model
        ORDER BY created_at DESC NULLS LAST, sample_id, breadth DESC, epoch DESC
    ) = 1
)
SELECT
    coalesce(control_for, feature_set) AS feature_set,
    nullif(explainer, '') AS explainer,
    nullif(explainer_model, '') AS explainer_model,
    nullif(scorer, '') AS scorer,
    nullif(judge_model, '') AS judge_model,
    metric,
    tau,
    CASE WHEN control_for IS NULL THEN nullif(control, '') ELSE 'random_weights' END AS control,
    n_features,
    n_unscored,
    mean,
    low,
    high,
    requests,
    input_tokens,
    output_tokens,
    cost_usd,
    chance,
    headline_of
FROM shown
ORDER BY ALL NULLS FIRST;
COMMENT ON VIEW scoreboard IS 'Explainers x scorers x judges: mean scores over the features of the newest sample, with controls, cost and counts of what is missing.';
COMMENT ON COLUMN scoreboard.feature_set IS 'Feature set; random-weights feature sets stand under the one they are a control for.';
COMMENT ON COLUMN scoreboard.explainer_model IS 'Language model of the explainer, as provider/model; NULL for offline explainers.';
COMMENT ON COLUMN scoreboard.scorer IS 'Scorer that asked.';
COMMENT ON COLUMN scoreboard.judge_model IS 'Language model that judged, as provider/model; NULL for offline scorers.';
COMMENT ON COLUMN scoreboard.metric IS 'Metric the mean is of.';
COMMENT ON COLUMN scoreboard.tau IS 'Threshold of firing as a share 0-1 of the largest activation.';
COMMENT ON COLUMN scoreboard.control IS 'NULL for real labels, else shuffled, other_feature, neighbor, generic, no_label or random_weights.';
COMMENT ON COLUMN scoreboard.n_features IS 'Features with a value: those the mean is over.';
COMMENT ON COLUMN scoreboard.n_unscored IS 'Further features, without a value.';
COMMENT ON COLUMN scoreboard.mean IS 'Mean over the scored features; NULL where there is none.';
COMMENT ON COLUMN scoreboard.low IS 'Lower end of the 95 % interval of the mean.';
COMMENT ON COLUMN scoreboard.high IS 'Upper end of the 95 % interval of the mean.';
COMMENT ON COLUMN scoreboard.requests IS 'Requests to the judge, of all metrics of the group together; 0 for offline scorers.';
COMMENT ON COLUMN scoreboard.input_tokens IS 'Tokens of the prompts, of all metrics of the group together; NULL where a server did not say.';
COMMENT ON COLUMN scoreboard.output_tokens IS 'Tokens of the answers, of all metrics of the group together; NULL where a server did not say.';
COMMENT ON COLUMN scoreboard.cost_usd IS 'Price in US dollars, of all metrics of the group together; NULL where it is not known.';
COMMENT ON COLUMN scoreboard.chance IS 'Value that a guess gets; NULL where it depends on the feature or the judge.';
COMMENT ON COLUMN scoreboard.headline_of IS 'Of headline, where the scorer asks in trials: the metric that it repeats. Else NULL.';
COMMENT ON COLUMN scoreboard.explainer IS 'Explainer that wrote the labels; NULL for scorers that judge features and for controls that need no label.';
