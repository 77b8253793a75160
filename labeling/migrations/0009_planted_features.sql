-- What benches measured in their workspace, and the planted features that scorers are compared on.

CREATE TABLE bench_rows (
    bench TEXT,
    name TEXT,
    value DOUBLE,
    unit TEXT,
    target TEXT,
    ok BOOLEAN,
    run_id TEXT,
    PRIMARY KEY (bench, name)
);
COMMENT ON TABLE bench_rows IS 'Numbers that a bench measured in this workspace, beside what was promised.';
COMMENT ON COLUMN bench_rows.bench IS 'Bench: scorers or explainers.';
COMMENT ON COLUMN bench_rows.name IS 'What was measured.';
COMMENT ON COLUMN bench_rows.value IS 'The number; NULL when there was nothing to measure.';
COMMENT ON COLUMN bench_rows.unit IS 'Unit; empty for shares and scores.';
COMMENT ON COLUMN bench_rows.target IS 'What it should be, such as >= 0.95; NULL when nothing is promised.';
COMMENT ON COLUMN bench_rows.ok IS 'Whether the target is met; true without one.';
COMMENT ON COLUMN bench_rows.run_id IS 'Run that sampled the features.';

CREATE TABLE planted_labels (
    sample_id TEXT,
    feature INTEGER,
    kind TEXT,
    wording INTEGER,
    family TEXT,
    concept TEXT,
    shape TEXT,
    label TEXT,
    compared BOOLEAN,
    f1 DOUBLE,
    mcc DOUBLE,
    average_precision DOUBLE,
    balanced_hard DOUBLE,
    balanced_random DOUBLE,
    PRIMARY KEY (sample_id, feature, kind, wording)
);
COMMENT ON TABLE planted_labels IS 'Labels of planted features with what each is really worth, counted over all windows of the split score.';
COMMENT ON COLUMN planted_labels.sample_id IS 'Sample of the planted feature set.';
COMMENT ON COLUMN planted_labels.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN planted_labels.kind IS 'What the label is to the concept: true, broad, narrow, sibling, trap, context_dropped, unrelated, generic, hedged or truncated.';
COMMENT ON COLUMN planted_labels.wording IS 'Number of the wording, from 0; only true labels have several.';
COMMENT ON COLUMN planted_labels.family IS 'Family of the concept.';
COMMENT ON COLUMN planted_labels.concept IS 'The concept that was planted.';
COMMENT ON COLUMN planted_labels.shape IS 'Shape of the activations: binary, graded, noisy, polysemantic, hole, delayed, dense or rare.';
COMMENT ON COLUMN planted_labels.label IS 'Text of the label.';
COMMENT ON COLUMN planted_labels.compared IS 'Whether it counts as another label than the true one: not when it holds in the same windows, or too few windows fire.';
COMMENT ON COLUMN planted_labels.f1 IS 'F1 of the windows where the label holds against those that fire; NULL for labels that are no predicate.';
COMMENT ON COLUMN planted_labels.mcc IS 'Matthews correlation of the same.';
COMMENT ON COLUMN planted_labels.average_precision IS 'Average precision of the same, at base rate.';
COMMENT ON COLUMN planted_labels.balanced_hard IS 'Graded balanced accuracy against all hard windows, for a judge who knows exactly where the label holds.';
COMMENT ON COLUMN planted_labels.balanced_random IS 'The same against all random windows.';

CREATE TABLE planted_scores (
    sample_id TEXT,
    feature INTEGER,
    kind TEXT,
    wording INTEGER,
    judge TEXT,
    method TEXT,
    value DOUBLE,
    PRIMARY KEY (sample_id, feature, kind, wording, judge, method)
);
COMMENT ON TABLE planted_scores IS 'Scores that labels of planted features get from scripted judges, by our scorer and by other protocols.';
COMMENT ON COLUMN planted_scores.sample_id IS 'Sample of the planted feature set.';
COMMENT ON COLUMN planted_scores.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN planted_scores.kind IS 'What the label is to the concept, as in planted_labels.';
COMMENT ON COLUMN planted_scores.wording IS 'Number of the wording, from 0.';
COMMENT ON COLUMN planted_scores.judge IS 'Scripted judge with known faults.';
COMMENT ON COLUMN planted_scores.method IS 'detection (its headline), min AUROC (of the same answers), delphi-like, SAEBench-like or top-and-random.';
COMMENT ON COLUMN planted_scores.value IS 'The score; NULL when it could not be computed.';
