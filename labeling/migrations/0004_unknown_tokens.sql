-- Servers that do not say how many tokens a request took.

COMMENT ON COLUMN explanations.input_tokens IS 'Tokens of the prompts, cached ones included; NULL where the server did not say.';
COMMENT ON COLUMN explanations.output_tokens IS 'Tokens of the answers; NULL where the server did not say.';
COMMENT ON COLUMN explanations.cost_usd IS 'Price in US dollars; NULL where the price of the model or the tokens are not known.';
COMMENT ON COLUMN score_groups.input_tokens IS 'Tokens of the prompts, of all metrics of the group together; NULL where a server did not say.';
COMMENT ON COLUMN score_groups.output_tokens IS 'Tokens of the answers, of all metrics of the group together; NULL where a server did not say.';
COMMENT ON COLUMN scoreboard.input_tokens IS 'Tokens of the prompts, of all metrics of the group together; NULL where a server did not say.';
COMMENT ON COLUMN scoreboard.output_tokens IS 'Tokens of the answers, of all metrics of the group together; NULL where a server did not say.';
