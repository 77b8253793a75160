-- The text of labels stands uncompressed: looking up one, or fifty, costs a third of the time and searching all of them two
-- thirds, for 26 bytes a feature.

ALTER TABLE labels RENAME TO labels_before;
CREATE TABLE labels (
    feature_set TEXT,
    sample_id TEXT,
    run_id TEXT,
    feature INTEGER,
    label TEXT USING COMPRESSION uncompressed,
    explainer TEXT,
    explainer_model TEXT,
    scorer TEXT,
    judge_model TEXT,
    metric TEXT,
    score DOUBLE,
    score_low DOUBLE,
    score_high DOUBLE,
    firing_rate DOUBLE,
    max_activation DOUBLE,
    status TEXT,
    cluster INTEGER,
    cluster_name TEXT,
    neighbor_labels TEXT[],
    p DOUBLE,
    q DOUBLE,
    score_shrunk DOUBLE,
    score_shrunk_low DOUBLE,
    score_shrunk_high DOUBLE
);
INSERT INTO labels SELECT * FROM labels_before;
DROP TABLE labels_before;
COMMENT ON TABLE labels IS 'One row for each feature of each sample: its label with the headline score. Filled when a snapshot is published.';
COMMENT ON COLUMN labels.feature_set IS 'Feature set the feature belongs to.';
COMMENT ON COLUMN labels.sample_id IS 'Sample the label was written and scored on.';
COMMENT ON COLUMN labels.run_id IS 'Run that wrote the label; where there is no label, the run that wrote the sample.';
COMMENT ON COLUMN labels.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN labels.label IS 'The label; NULL where there is none, and status or explanations say why.';
COMMENT ON COLUMN labels.explainer IS 'Explainer that wrote the label: of the group of explainer and scorer whose mean headline score has the highest lower end, so that no feature picks its own luckiest label. Scorers that ask in trials decide only where no other has scored.';
COMMENT ON COLUMN labels.explainer_model IS 'Language model of the explainer, as provider/model; NULL for offline explainers.';
COMMENT ON COLUMN labels.scorer IS 'Scorer of that group; the next one in the same order where it has no score for the feature.';
COMMENT ON COLUMN labels.judge_model IS 'Language model that judged, as provider/model; NULL for offline scorers.';
COMMENT ON COLUMN labels.metric IS 'Metric of the score: headline, or the metric that stands for it where the scorer asks in trials.';
COMMENT ON COLUMN labels.score IS 'Headline score, about 0.5 for a label that says nothing, 1 for a perfect one; NULL where it is unscored.';
COMMENT ON COLUMN labels.score_low IS 'Lower end of the 95 % interval of the score.';
COMMENT ON COLUMN labels.score_high IS 'Upper end of the 95 % interval of the score.';
COMMENT ON COLUMN labels.firing_rate IS 'Share 0-1 of tokens above tau.';
COMMENT ON COLUMN labels.max_activation IS 'Largest raw activation.';
COMMENT ON COLUMN labels.status IS 'ok, weak, dense or dead.';
COMMENT ON COLUMN labels.cluster IS 'Cluster of the feature in the default clustering; NULL where there is none.';
COMMENT ON COLUMN labels.cluster_name IS 'Name of that cluster.';
COMMENT ON COLUMN labels.neighbor_labels IS 'Labels of the nearest features, the nearest first; unlabeled ones are left out.';
COMMENT ON COLUMN labels.p IS 'Chance that a wrong label scores as high: (1 + null scores at least as high) / (1 + null scores); NULL without controls.';
COMMENT ON COLUMN labels.q IS 'p corrected for the number of features: of labels with q < 0.05, about 1 in 20 is no better than a wrong one.';
COMMENT ON COLUMN labels.score_shrunk IS 'Score shrunk toward the mean of its group by as much as it is noise: what it would be again on other windows, by best guess.';
COMMENT ON COLUMN labels.score_shrunk_low IS 'Lower end of the 95 % interval of the shrunk score.';
COMMENT ON COLUMN labels.score_shrunk_high IS 'Upper end of the 95 % interval of the shrunk score.';
