-- Labels that were chosen among several keep what they were chosen by; labels from files keep what was wrong with the file.

ALTER TABLE explanations ADD COLUMN select_score DOUBLE;
ALTER TABLE explanations ADD COLUMN candidates TEXT;
COMMENT ON COLUMN explanations.explainer_model IS 'Language model of the explainer, as provider/model; of imported labels, who wrote them; NULL for other offline explainers.';
COMMENT ON COLUMN explanations.request_keys IS 'Requests that asked, in llm_requests, those of all rounds and of the judge; empty for offline explainers.';
COMMENT ON COLUMN explanations.select_score IS 'Headline on contexts of the select split by which the label was chosen among several: too high on average, never a reported score. NULL for explainers that do not choose.';
COMMENT ON COLUMN explanations.candidates IS 'Labels that were tried, and samples that were lost, as a JSON list of text, select_score, reason; NULL for explainers that do not choose.';

CREATE TABLE label_file_problems (
    sample_id TEXT,
    file TEXT,
    author TEXT,
    problem TEXT,
    n BIGINT,
    features BIGINT[],
    example TEXT,
    PRIMARY KEY (sample_id, file, author, problem)
);
COMMENT ON TABLE label_file_problems IS 'What could not be taken from a file of labels, by kind.';
COMMENT ON COLUMN label_file_problems.sample_id IS 'Sample the labels were meant for; empty for what concerns no sample.';
COMMENT ON COLUMN label_file_problems.file IS 'File or folder as it was named.';
COMMENT ON COLUMN label_file_problems.author IS 'Who wrote the labels; empty where it is not known.';
COMMENT ON COLUMN label_file_problems.problem IS 'no such feature; not selected (the feature has a label in the file, but is dead or not among those to label); other feature set; no feature number; no text; empty; too long; duplicate (the same text for the same feature by the same author); placeholder (what a tool writes where it failed); damaged (bytes or lines that can''t be read).';
COMMENT ON COLUMN label_file_problems.n IS 'Labels left out.';
COMMENT ON COLUMN label_file_problems.features IS 'Their features, ascending, the first 1,000; empty where no number could be read.';
COMMENT ON COLUMN label_file_problems.example IS 'The first one: where it stands, and what was there.';

CREATE VIEW select_gaps AS
SELECT
    e.sample_id,
    e.feature,
    e.explanation_id,
    e.explainer,
    e.explainer_model,
    s.scorer,
    s.judge_model,
    s.epoch,
    e.repeat,
    e.select_score,
    s.value AS score,
    e.select_score - s.value AS gap,
    s.scorer = json_extract_string(e.parameters, '$.judge.scorer')
        AND s.judge_model = json_extract_string(e.parameters, '$.judge.model') AS comparable
FROM explanations AS e
LEFT JOIN scores AS s
    ON s.explanation_id = e.explanation_id AND s.metric = 'headline' AND s.tau = 0.01 AND s.control IS NULL
WHERE e.select_score IS NOT NULL;
COMMENT ON VIEW select_gaps IS 'Labels that were chosen among several: the score they were chosen by, the reported one, and the gap between them (the winner''s curse). One row an explanation, scorer and epoch.';
COMMENT ON COLUMN select_gaps.sample_id IS 'Sample of the feature.';
COMMENT ON COLUMN select_gaps.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN select_gaps.explanation_id IS 'Explanation that was kept.';
COMMENT ON COLUMN select_gaps.explainer IS 'Explainer that chose the label.';
COMMENT ON COLUMN select_gaps.explainer_model IS 'Language model of the explainer, as provider/model.';
COMMENT ON COLUMN select_gaps.scorer IS 'Scorer of the reported score; NULL while there is none.';
COMMENT ON COLUMN select_gaps.judge_model IS 'Language model that judged for it; NULL for offline scorers.';
COMMENT ON COLUMN select_gaps.epoch IS 'Epoch of the reported score.';
COMMENT ON COLUMN select_gaps.repeat IS 'Which label of the explainer for the feature, 0-based; the first stands in means.';
COMMENT ON COLUMN select_gaps.select_score IS 'Headline on the select split, by the judge who chose.';
COMMENT ON COLUMN select_gaps.score IS 'Reported headline, on the score split.';
COMMENT ON COLUMN select_gaps.gap IS 'select_score less score; above 0 on average, because the best of several is partly luck.';
COMMENT ON COLUMN select_gaps.comparable IS 'Whether scorer and judge of the reported score are those that chose: else the gap holds their difference too.';
