-- Names that came with the activations of a table, beside the labels that Featlas writes.

CREATE TABLE feature_names (
    sample_id TEXT,
    feature INTEGER,
    name TEXT,
    PRIMARY KEY (sample_id, feature)
);
COMMENT ON TABLE feature_names IS 'Names of features that came with an activation table; they are never judged.';
COMMENT ON COLUMN feature_names.sample_id IS 'Sample of the activation table.';
COMMENT ON COLUMN feature_names.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN feature_names.name IS 'Name as the table gives it.';
