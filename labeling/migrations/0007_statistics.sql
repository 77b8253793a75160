-- What scores mean: against chance, without luck, and how far the judge can be relied on.

CREATE TABLE score_statistics (
    score_id TEXT,
    metric TEXT,
    tau DOUBLE,
    sample_id TEXT,
    feature INTEGER,
    p DOUBLE,
    q DOUBLE,
    n_null INTEGER,
    null_pool TEXT,
    null_95 DOUBLE,
    shrunk DOUBLE,
    shrunk_low DOUBLE,
    shrunk_high DOUBLE,
    run_id TEXT,
    PRIMARY KEY (score_id, metric, tau)
);
COMMENT ON TABLE score_statistics IS 'What the scores of features'' own labels mean: p- and q-values against the scores of wrong labels, and values shrunk toward the mean of their group.';
COMMENT ON COLUMN score_statistics.score_id IS 'Score it is about, in scores.';
COMMENT ON COLUMN score_statistics.metric IS 'Metric it is about: headline, its two parts, and metrics that only some scorers have.';
COMMENT ON COLUMN score_statistics.tau IS 'Threshold of firing as a share 0-1 of the largest activation.';
COMMENT ON COLUMN score_statistics.sample_id IS 'Sample the judged windows come from.';
COMMENT ON COLUMN score_statistics.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN score_statistics.p IS '(1 + null scores at least as high) / (1 + n_null); NULL where there is no score or no null.';
COMMENT ON COLUMN score_statistics.q IS 'p corrected for the number of features in the group (Benjamini and Hochberg): among labels with q < 0.05, about 1 in 20 is no better than a wrong one.';
COMMENT ON COLUMN score_statistics.n_null IS 'Null scores that p rests on: of labels of other features, in null_scores for offline scorers, else those of the control shuffled.';
COMMENT ON COLUMN score_statistics.null_pool IS 'tercile: null scores of features that fire about as often; all: of all features, because there were too few.';
COMMENT ON COLUMN score_statistics.null_95 IS '95th percentile of the null scores.';
COMMENT ON COLUMN score_statistics.shrunk IS 'Value shrunk toward the mean of the group by as much as it is noise; NULL in groups of fewer than five scored features.';
COMMENT ON COLUMN score_statistics.shrunk_low IS 'Lower end of the 95 % interval of the shrunk value.';
COMMENT ON COLUMN score_statistics.shrunk_high IS 'Upper end of the 95 % interval of the shrunk value.';
COMMENT ON COLUMN score_statistics.run_id IS 'Run that computed it.';

CREATE TABLE null_scores (
    group_id TEXT,
    feature INTEGER,
    explanation_id TEXT,
    metric TEXT,
    tau DOUBLE,
    sample_id TEXT,
    explainer TEXT,
    explainer_model TEXT,
    scorer TEXT,
    value DOUBLE,
    reason TEXT,
    run_id TEXT,
    PRIMARY KEY (group_id, feature, explanation_id, metric, tau)
);
COMMENT ON TABLE null_scores IS 'What wrong labels score: labels of other features that fire about as often, judged offline on a feature''s windows. Scorers that ask a language model have the control shuffled instead.';
COMMENT ON COLUMN null_scores.group_id IS 'Sample, explainer, scorer and judge together.';
COMMENT ON COLUMN null_scores.feature IS 'Feature whose windows were judged: 0-based row of the dictionary.';
COMMENT ON COLUMN null_scores.explanation_id IS 'Explanation of another feature whose label was judged.';
COMMENT ON COLUMN null_scores.metric IS 'Metric the value is of.';
COMMENT ON COLUMN null_scores.tau IS 'Threshold of firing as a share 0-1 of the largest activation.';
COMMENT ON COLUMN null_scores.sample_id IS 'Sample the judged windows come from.';
COMMENT ON COLUMN null_scores.explainer IS 'Explainer that wrote the label.';
COMMENT ON COLUMN null_scores.explainer_model IS 'Language model of the explainer; empty for offline explainers.';
COMMENT ON COLUMN null_scores.scorer IS 'Scorer that judged.';
COMMENT ON COLUMN null_scores.value IS 'Value of the metric; NULL where it is unscored.';
COMMENT ON COLUMN null_scores.reason IS 'Why there is no value; NULL where there is one.';
COMMENT ON COLUMN null_scores.run_id IS 'Run that judged it.';

CREATE TABLE group_statistics (
    sample_id TEXT,
    explainer TEXT,
    explainer_model TEXT,
    scorer TEXT,
    judge_model TEXT,
    metric TEXT,
    tau DOUBLE,
    epoch INTEGER,
    n_tested INTEGER,
    n_null INTEGER,
    share_significant DOUBLE,
    share_above_null DOUBLE,
    variance_feature DOUBLE,
    variance_item DOUBLE,
    variance_judge DOUBLE,
    reliability DOUBLE,
    share_same_label DOUBLE,
    run_id TEXT,
    PRIMARY KEY (sample_id, explainer, explainer_model, scorer, judge_model, metric, tau, epoch)
);
COMMENT ON TABLE group_statistics IS 'What the scores of a group mean together; the view scoreboard shows it beside the true labels. Key columns hold empty text, not NULL.';
COMMENT ON COLUMN group_statistics.sample_id IS 'Sample the judged windows come from.';
COMMENT ON COLUMN group_statistics.explainer IS 'Explainer that wrote the labels.';
COMMENT ON COLUMN group_statistics.explainer_model IS 'Language model of the explainer; empty for offline explainers.';
COMMENT ON COLUMN group_statistics.scorer IS 'Scorer that asked.';
COMMENT ON COLUMN group_statistics.judge_model IS 'Language model that judged; empty for offline scorers.';
COMMENT ON COLUMN group_statistics.metric IS 'Metric it is about.';
COMMENT ON COLUMN group_statistics.tau IS 'Threshold of firing as a share 0-1 of the largest activation.';
COMMENT ON COLUMN group_statistics.epoch IS 'Raised to ask the same judge again; 0 is the first time.';
COMMENT ON COLUMN group_statistics.n_tested IS 'Features with a p-value.';
COMMENT ON COLUMN group_statistics.n_null IS 'Null scores there are, of all features together.';
COMMENT ON COLUMN group_statistics.share_significant IS 'Share 0-1 of the tested features with q < 0.05; NULL without a null.';
COMMENT ON COLUMN group_statistics.share_above_null IS 'Share 0-1 of the tested features with p <= 0.05, above the 95th percentile of their null; 0.05 is expected of labels that say nothing.';
COMMENT ON COLUMN group_statistics.variance_feature IS 'Variance of true scores between features; NULL below five scored features.';
COMMENT ON COLUMN group_statistics.variance_item IS 'Variance of a score from drawing other windows, the mean over features.';
COMMENT ON COLUMN group_statistics.variance_judge IS 'Variance of a score from asking the judge again; NULL where nobody did, 0 for offline scorers.';
COMMENT ON COLUMN group_statistics.reliability IS 'Share 0-1 of the variance between scores that is not noise.';
COMMENT ON COLUMN group_statistics.share_same_label IS 'Share 0-1 of the features whose label another feature of the group has word for word: such collisions cost no window-based score anything.';
COMMENT ON COLUMN group_statistics.run_id IS 'Run that computed it.';

CREATE TABLE judge_reliability (
    sample_id TEXT,
    explainer TEXT,
    explainer_model TEXT,
    scorer TEXT,
    judge_model TEXT,
    metric TEXT,
    n_epochs INTEGER,
    n_features INTEGER,
    n_windows BIGINT,
    flip_rate DOUBLE,
    flip_rate_low DOUBLE,
    flip_rate_high DOUBLE,
    icc DOUBLE,
    icc_low DOUBLE,
    icc_high DOUBLE,
    kappa DOUBLE,
    kappa_low DOUBLE,
    kappa_high DOUBLE,
    pabak DOUBLE,
    pabak_low DOUBLE,
    pabak_high DOUBLE,
    variance_judge DOUBLE,
    run_id TEXT,
    PRIMARY KEY (sample_id, explainer, explainer_model, scorer, judge_model, metric)
);
COMMENT ON TABLE judge_reliability IS 'How much a judge agrees with itself: some features'' own labels judged again on the same windows, in other order and company. Key columns hold empty text, not NULL.';
COMMENT ON COLUMN judge_reliability.sample_id IS 'Sample the judged windows come from.';
COMMENT ON COLUMN judge_reliability.explainer IS 'Explainer that wrote the labels.';
COMMENT ON COLUMN judge_reliability.explainer_model IS 'Language model of the explainer; empty for offline explainers.';
COMMENT ON COLUMN judge_reliability.scorer IS 'Scorer that asked.';
COMMENT ON COLUMN judge_reliability.judge_model IS 'Language model that judged.';
COMMENT ON COLUMN judge_reliability.metric IS 'Metric whose feature scores icc and variance_judge are of, at tau 0.01.';
COMMENT ON COLUMN judge_reliability.n_epochs IS 'How often each window was judged.';
COMMENT ON COLUMN judge_reliability.n_features IS 'Features that were judged again and are scored every time.';
COMMENT ON COLUMN judge_reliability.n_windows IS 'Windows of features that were answered every time.';
COMMENT ON COLUMN judge_reliability.flip_rate IS 'Share 0-1 of these windows whose answer changed between yes and no, the mean over pairs of epochs.';
COMMENT ON COLUMN judge_reliability.flip_rate_low IS 'Lower end of its 95 % interval.';
COMMENT ON COLUMN judge_reliability.flip_rate_high IS 'Upper end of its 95 % interval.';
COMMENT ON COLUMN judge_reliability.icc IS 'Intraclass correlation ICC(2,1) of feature scores: share of the variance of one judging that is between features; NULL below three features.';
COMMENT ON COLUMN judge_reliability.icc_low IS 'Lower end of its 95 % interval.';
COMMENT ON COLUMN judge_reliability.icc_high IS 'Upper end of its 95 % interval.';
COMMENT ON COLUMN judge_reliability.kappa IS 'Cohen''s kappa of yes and no: agreement beyond chance; NULL when all answers are the same.';
COMMENT ON COLUMN judge_reliability.kappa_low IS 'Lower end of its 95 % interval, the shares of yes held fixed.';
COMMENT ON COLUMN judge_reliability.kappa_high IS 'Upper end of its 95 % interval, the shares of yes held fixed.';
COMMENT ON COLUMN judge_reliability.pabak IS 'Kappa adjusted for prevalence and bias, 1 - 2 x flip rate.';
COMMENT ON COLUMN judge_reliability.pabak_low IS 'Lower end of its 95 % interval.';
COMMENT ON COLUMN judge_reliability.pabak_high IS 'Upper end of its 95 % interval.';
COMMENT ON COLUMN judge_reliability.variance_judge IS 'Variance of a feature''s score between epochs.';
COMMENT ON COLUMN judge_reliability.run_id IS 'Run that computed it.';

CREATE TABLE reliability_curves (
    sample_id TEXT,
    explainer TEXT,
    explainer_model TEXT,
    scorer TEXT,
    judge_model TEXT,
    epoch INTEGER,
    bin INTEGER,
    bin_low DOUBLE,
    bin_high DOUBLE,
    probability DOUBLE,
    observed DOUBLE,
    low DOUBLE,
    high DOUBLE,
    weight DOUBLE,
    n_items BIGINT,
    brier_skill DOUBLE,
    run_id TEXT,
    PRIMARY KEY (sample_id, explainer, explainer_model, scorer, judge_model, epoch, bin)
);
COMMENT ON TABLE reliability_curves IS 'Reliability curve of each judge over the own labels of all features: how often windows fire among those with similar probabilities, when half of the windows fire, a quarter are hard negatives and a quarter random ones. Key columns hold empty text, not NULL.';
COMMENT ON COLUMN reliability_curves.sample_id IS 'Sample the judged windows come from.';
COMMENT ON COLUMN reliability_curves.explainer IS 'Explainer that wrote the labels.';
COMMENT ON COLUMN reliability_curves.explainer_model IS 'Language model of the explainer; empty for offline explainers.';
COMMENT ON COLUMN reliability_curves.scorer IS 'Scorer that asked.';
COMMENT ON COLUMN reliability_curves.judge_model IS 'Language model that judged; empty for offline scorers.';
COMMENT ON COLUMN reliability_curves.epoch IS 'Raised to ask the same judge again; 0 is the first time.';
COMMENT ON COLUMN reliability_curves.bin IS 'Number of the bin, 0-based.';
COMMENT ON COLUMN reliability_curves.bin_low IS 'Least probability 0-1 in the bin.';
COMMENT ON COLUMN reliability_curves.bin_high IS 'Largest probability 0-1 in the bin.';
COMMENT ON COLUMN reliability_curves.probability IS 'Mean probability the judge gave in the bin; NULL where it is empty.';
COMMENT ON COLUMN reliability_curves.observed IS 'Share 0-1 of the windows in the bin that fire; NULL where it is empty.';
COMMENT ON COLUMN reliability_curves.low IS 'Lower end of the 95 % interval of observed (Jeffreys, with the effective number of windows).';
COMMENT ON COLUMN reliability_curves.high IS 'Upper end of the 95 % interval of observed.';
COMMENT ON COLUMN reliability_curves.weight IS 'Share 0-1 of all windows that is in the bin.';
COMMENT ON COLUMN reliability_curves.n_items IS 'Judged windows in the bin.';
COMMENT ON COLUMN reliability_curves.brier_skill IS '1 - Brier score / 0.25 of the whole judge, the same in all its bins: 1 is perfect, 0 is no better than always saying one half.';
COMMENT ON COLUMN reliability_curves.run_id IS 'Run that computed it.';

ALTER TABLE calibrations ADD COLUMN inputs TEXT;
ALTER TABLE calibrations ADD COLUMN n_features INTEGER;
COMMENT ON COLUMN calibrations.inputs IS 'Hash of the labels, windows and scorer the curve was fitted on: while they are the same, the curve is used again.';
COMMENT ON COLUMN calibrations.n_features IS 'Features whose labels were graded: of all labeled ones a sample that does not depend on which are scored.';

ALTER TABLE labels ADD COLUMN p DOUBLE;
ALTER TABLE labels ADD COLUMN q DOUBLE;
ALTER TABLE labels ADD COLUMN score_shrunk DOUBLE;
ALTER TABLE labels ADD COLUMN score_shrunk_low DOUBLE;
ALTER TABLE labels ADD COLUMN score_shrunk_high DOUBLE;
COMMENT ON COLUMN labels.p IS 'Chance that a wrong label scores as high: (1 + null scores at least as high) / (1 + null scores); NULL without controls.';
COMMENT ON COLUMN labels.q IS 'p corrected for the number of features: of labels with q < 0.05, about 1 in 20 is no better than a wrong one.';
COMMENT ON COLUMN labels.score_shrunk IS 'Score shrunk toward the mean of its group by as much as it is noise: what it would be again on other windows, by best guess.';
COMMENT ON COLUMN labels.score_shrunk_low IS 'Lower end of the 95 % interval of the shrunk score.';
COMMENT ON COLUMN labels.score_shrunk_high IS 'Upper end of the 95 % interval of the shrunk score.';
COMMENT ON COLUMN labels.explainer IS 'Explainer that wrote the label: of the group of explainer and scorer whose mean headline score has the highest lower end of its interval, so that no feature picks its own luckiest label.';
COMMENT ON COLUMN labels.scorer IS 'Scorer of that group; the next one in the same order where it has no score for the feature.';

COMMENT ON COLUMN scores.control IS 'NULL for the own label of the feature, else shuffled, other_feature, neighbor, generic, over_broad, no_label or permuted.';
COMMENT ON COLUMN scores.explanation_id IS 'Explanation that was judged; NULL for the controls no_label, generic and over_broad.';

CREATE OR REPLACE VIEW scoreboard AS
WITH placed AS (
    SELECT
        g.*,
        s.feature_set,
        s.control_for,
        s.architecture,
        s.created_at,
        max(g.n_features) OVER (
            PARTITION BY g.sample_id, g.explainer, g.explainer_model, g.scorer, g.judge_model, g.epoch
        ) AS breadth
    FROM score_groups AS g
    JOIN (
        SELECT samples.sample_id, samples.feature_set, samples.created_at, feature_sets.control_for, feature_sets.architecture
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
    j.icc
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
COMMENT ON COLUMN scoreboard.explainer IS 'Explainer that wrote the labels.';
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
