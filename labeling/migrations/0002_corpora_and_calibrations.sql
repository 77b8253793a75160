-- What a corpus was cut into, so that a second feature set on the same text reads it again instead of cutting it again;
-- and the curves that turn raw grades into probabilities, so that an auditor can see what a probability rests on.

CREATE TABLE corpora (
    corpus_id TEXT PRIMARY KEY,
    name TEXT,
    tokenizer_id TEXT,
    n_documents BIGINT,
    n_duplicates BIGINT,
    n_tokens BIGINT,
    n_windows BIGINT,
    n_shards INTEGER
);
COMMENT ON TABLE corpora IS 'Corpora as they were read: one row for each text, tokenizer and window length.';
COMMENT ON COLUMN corpora.corpus_id IS 'Identity: hash of the text, the tokenizer and how it was cut.';
COMMENT ON COLUMN corpora.name IS 'Name of the corpus, for people.';
COMMENT ON COLUMN corpora.tokenizer_id IS 'Tokenizer that cut it.';
COMMENT ON COLUMN corpora.n_documents IS 'Documents read, duplicates left out.';
COMMENT ON COLUMN corpora.n_duplicates IS 'Documents left out because the same text, or most of it, was read before.';
COMMENT ON COLUMN corpora.n_tokens IS 'Tokens read, special tokens not counted; those in windows are fewer.';
COMMENT ON COLUMN corpora.n_windows IS 'Windows.';
COMMENT ON COLUMN corpora.n_shards IS 'Shards of the windows table.';

CREATE TABLE calibrations (
    sample_id TEXT,
    explainer TEXT,
    explainer_model TEXT,
    scorer TEXT,
    thresholds DOUBLE[],
    probabilities DOUBLE[],
    n_items BIGINT,
    run_id TEXT,
    PRIMARY KEY (sample_id, explainer, explainer_model, scorer)
);
COMMENT ON TABLE calibrations IS 'Curves that turn the raw grades of an offline scorer into probabilities, fitted on the select split.';
COMMENT ON COLUMN calibrations.sample_id IS 'Sample whose select split the curve was fitted on.';
COMMENT ON COLUMN calibrations.explainer IS 'Explainer whose labels were graded.';
COMMENT ON COLUMN calibrations.explainer_model IS 'Language model of the explainer; empty for offline explainers.';
COMMENT ON COLUMN calibrations.scorer IS 'Scorer that graded.';
COMMENT ON COLUMN calibrations.thresholds IS 'Raw grades at the corners of the curve, ascending; between corners it is straight.';
COMMENT ON COLUMN calibrations.probabilities IS 'Probability at each corner, never falling.';
COMMENT ON COLUMN calibrations.n_items IS 'Judged windows that the curve was fitted on.';
COMMENT ON COLUMN calibrations.run_id IS 'Run that fitted it.';
