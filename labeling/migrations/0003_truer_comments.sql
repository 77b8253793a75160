-- Descriptions of columns that said something else than what the columns hold.

COMMENT ON COLUMN score_groups.n_features IS 'Features with a value: those the mean is over.';
COMMENT ON COLUMN score_groups.n_unscored IS 'Further features, without a value.';
COMMENT ON COLUMN scoreboard.n_features IS 'Features with a value: those the mean is over.';
COMMENT ON COLUMN scoreboard.n_unscored IS 'Further features, without a value.';
COMMENT ON COLUMN explanations.prompt_version IS 'Version of the prompt, or of the rules of an offline explainer.';
COMMENT ON COLUMN explanations.raw IS 'Answer of the language model as it was given, where no label could be read from it; the others are in llm_requests.';
COMMENT ON COLUMN runs.state IS 'running, complete, partial (some items failed, or a limit was reached; running again resumes), failed, interrupted, or killed (it did not come to say how it ended).';
