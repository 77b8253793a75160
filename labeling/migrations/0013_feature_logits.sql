-- The place of output tokens: what a feature's direction adds to the logits of the model, where somebody has computed it.

CREATE TABLE feature_logits (
    sample_id TEXT,
    feature INTEGER,
    side TEXT,
    rank INTEGER,
    token TEXT,
    logit DOUBLE,
    PRIMARY KEY (sample_id, feature, side, rank)
);
COMMENT ON TABLE feature_logits IS 'Tokens whose logits a feature''s decoder direction raises and lowers most. No stage fills it yet; pages show what is there.';
COMMENT ON COLUMN feature_logits.sample_id IS 'Sample of the feature set.';
COMMENT ON COLUMN feature_logits.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN feature_logits.side IS 'top: raised; bottom: lowered.';
COMMENT ON COLUMN feature_logits.rank IS 'Place of the token on its side, 0-based, the strongest first.';
COMMENT ON COLUMN feature_logits.token IS 'Token as the tokenizer writes it.';
COMMENT ON COLUMN feature_logits.logit IS 'Product of the decoder direction with the token''s row of the unembedding.';
