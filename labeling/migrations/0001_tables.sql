-- The small tables. Keys are natural, so saving twice changes nothing; no foreign keys, which are slow and block migrations.

CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY,
    applied_at TIMESTAMP,
    name TEXT
);
COMMENT ON TABLE schema_version IS 'Schema changes that were applied to this database, in order.';
COMMENT ON COLUMN schema_version.version IS 'Number of the schema change.';
COMMENT ON COLUMN schema_version.applied_at IS 'When it was applied, UTC.';
COMMENT ON COLUMN schema_version.name IS 'What it is called.';

CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    command TEXT,
    started_at TIMESTAMP,
    finished_at TIMESTAMP,
    state TEXT,
    config TEXT,
    config_hash TEXT,
    version TEXT,
    message TEXT
);
COMMENT ON TABLE runs IS 'Runs: one row for every time a command wrote to the workspace. History only; nothing depends on it.';
COMMENT ON COLUMN runs.run_id IS 'Identity of the run.';
COMMENT ON COLUMN runs.command IS 'Command that was run.';
COMMENT ON COLUMN runs.started_at IS 'Start, UTC.';
COMMENT ON COLUMN runs.finished_at IS 'End, UTC; NULL while it runs or when it was killed.';
COMMENT ON COLUMN runs.state IS 'running, complete, partial (some items failed; running again resumes), failed or interrupted.';
COMMENT ON COLUMN runs.config IS 'Resolved configuration as JSON, without secrets.';
COMMENT ON COLUMN runs.config_hash IS 'Hash of the resolved configuration.';
COMMENT ON COLUMN runs.version IS 'Version of Featlas.';
COMMENT ON COLUMN runs.message IS 'How the run ended, for people; NULL when there is nothing to say.';

CREATE TABLE shards (
    stage TEXT,
    key TEXT,
    shard INTEGER,
    rows BIGINT,
    seconds DOUBLE,
    file TEXT,
    finished_at TIMESTAMP,
    PRIMARY KEY (stage, key, shard)
);
COMMENT ON TABLE shards IS 'Finished shards of the stages: a row here says that the shard is complete and is skipped from now on.';
COMMENT ON COLUMN shards.stage IS 'Stage, or the large table that the shard is a file of.';
COMMENT ON COLUMN shards.key IS 'What the stage works on, such as a sample.';
COMMENT ON COLUMN shards.shard IS 'Number of the shard, 0-based.';
COMMENT ON COLUMN shards.rows IS 'Rows the shard wrote.';
COMMENT ON COLUMN shards.seconds IS 'Wall-clock seconds the shard took; NULL when not measured.';
COMMENT ON COLUMN shards.file IS 'Evidence file, relative to the workspace; NULL when the shard wrote small tables only.';
COMMENT ON COLUMN shards.finished_at IS 'When the shard was complete, UTC.';

CREATE TABLE feature_sets (
    feature_set TEXT PRIMARY KEY,
    source TEXT,
    model TEXT,
    hook TEXT,
    dictionary TEXT,
    architecture TEXT,
    n_features INTEGER,
    d_model INTEGER,
    fingerprint TEXT,
    control_for TEXT
);
COMMENT ON TABLE feature_sets IS 'Feature sets: all features of one dictionary at one place of one model.';
COMMENT ON COLUMN feature_sets.feature_set IS 'Name of the feature set.';
COMMENT ON COLUMN feature_sets.source IS 'Kind of source the activations come from: torch or table.';
COMMENT ON COLUMN feature_sets.model IS 'Language model whose activations the dictionary decomposes.';
COMMENT ON COLUMN feature_sets.hook IS 'Module of the model whose output is decomposed.';
COMMENT ON COLUMN feature_sets.dictionary IS 'Folder or hub name of the dictionary.';
COMMENT ON COLUMN feature_sets.architecture IS 'Architecture of the dictionary.';
COMMENT ON COLUMN feature_sets.n_features IS 'Features in the dictionary.';
COMMENT ON COLUMN feature_sets.d_model IS 'Width of the decomposed activations.';
COMMENT ON COLUMN feature_sets.fingerprint IS 'Hash of the weights.';
COMMENT ON COLUMN feature_sets.control_for IS 'Feature set that this one is a random-weights control for; NULL for real feature sets.';

CREATE TABLE samples (
    sample_id TEXT PRIMARY KEY,
    feature_set TEXT,
    corpus_id TEXT,
    corpus TEXT,
    tokenizer_id TEXT,
    sequence INTEGER,
    window_tokens INTEGER,
    tau_share DOUBLE,
    seed BIGINT,
    n_documents BIGINT,
    n_duplicates BIGINT,
    n_tokens BIGINT,
    n_windows BIGINT,
    run_id TEXT,
    created_at TIMESTAMP
);
COMMENT ON TABLE samples IS 'Samples: one pass of a feature set over a corpus.';
COMMENT ON COLUMN samples.sample_id IS 'Identity of the sample: hash of feature set, corpus, sequence, window, tau and seed.';
COMMENT ON COLUMN samples.feature_set IS 'Feature set that was sampled.';
COMMENT ON COLUMN samples.corpus_id IS 'Corpus and tokenization the windows come from.';
COMMENT ON COLUMN samples.corpus IS 'Name of the corpus, for people.';
COMMENT ON COLUMN samples.tokenizer_id IS 'Identity of the tokenizer.';
COMMENT ON COLUMN samples.sequence IS 'Tokens the model reads at once.';
COMMENT ON COLUMN samples.window_tokens IS 'Tokens in a window.';
COMMENT ON COLUMN samples.tau_share IS 'Tau as a share 0-1 of the largest activation of a feature.';
COMMENT ON COLUMN samples.seed IS 'Seed of everything that was drawn.';
COMMENT ON COLUMN samples.n_documents IS 'Documents that were read.';
COMMENT ON COLUMN samples.n_duplicates IS 'Documents left out because another one has nearly the same text.';
COMMENT ON COLUMN samples.n_tokens IS 'Tokens that were read, special tokens not counted.';
COMMENT ON COLUMN samples.n_windows IS 'Windows that were read.';
COMMENT ON COLUMN samples.run_id IS 'Run that wrote the sample.';
COMMENT ON COLUMN samples.created_at IS 'When the sample was written, UTC.';

CREATE TABLE documents (
    corpus_id TEXT,
    document_id TEXT,
    name TEXT,
    split TEXT,
    n_characters BIGINT,
    n_tokens BIGINT,
    PRIMARY KEY (corpus_id, document_id)
);
COMMENT ON TABLE documents IS 'Documents of the corpora, near-duplicates left out.';
COMMENT ON COLUMN documents.corpus_id IS 'Corpus the document belongs to.';
COMMENT ON COLUMN documents.document_id IS 'Hash of the text.';
COMMENT ON COLUMN documents.name IS 'Name of the document, such as a path or a title.';
COMMENT ON COLUMN documents.split IS 'What the document may be used for: explain, select or score.';
COMMENT ON COLUMN documents.n_characters IS 'Length of the text in characters.';
COMMENT ON COLUMN documents.n_tokens IS 'Length of the text in tokens.';

CREATE TABLE features (
    sample_id TEXT,
    feature INTEGER,
    status TEXT,
    tau DOUBLE,
    tau25 DOUBLE,
    max_activation DOUBLE,
    firing_tokens BIGINT,
    firing_rate DOUBLE,
    n_tokens BIGINT,
    PRIMARY KEY (sample_id, feature)
);
COMMENT ON TABLE features IS 'Features of a sample: how strongly and how often each one fires.';
COMMENT ON COLUMN features.sample_id IS 'Sample the statistics come from.';
COMMENT ON COLUMN features.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN features.status IS 'ok, weak (low maximum or too few firing windows), dense (fires on too many tokens) or dead.';
COMMENT ON COLUMN features.tau IS 'Raw activation above which a window fires.';
COMMENT ON COLUMN features.tau25 IS 'The stricter threshold: edge of the histogram at or below 25 % of the largest activation.';
COMMENT ON COLUMN features.max_activation IS 'Largest raw activation over all splits.';
COMMENT ON COLUMN features.firing_tokens IS 'Tokens above tau.';
COMMENT ON COLUMN features.firing_rate IS 'Share 0-1 of tokens above tau.';
COMMENT ON COLUMN features.n_tokens IS 'Tokens that were read.';

CREATE TABLE feature_splits (
    sample_id TEXT,
    feature INTEGER,
    split TEXT,
    firing_tokens BIGINT,
    firing_windows BIGINT,
    firing_windows25 BIGINT,
    grey_windows BIGINT,
    silent_windows BIGINT,
    sum DOUBLE,
    max DOUBLE,
    token_histogram INTEGER[],
    window_histogram INTEGER[],
    histogram_start INTEGER,
    PRIMARY KEY (sample_id, feature, split)
);
COMMENT ON TABLE feature_splits IS 'Exact counts of a feature in each split.';
COMMENT ON COLUMN feature_splits.sample_id IS 'Sample the counts come from.';
COMMENT ON COLUMN feature_splits.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN feature_splits.split IS 'explain, select or score.';
COMMENT ON COLUMN feature_splits.firing_tokens IS 'Tokens above tau.';
COMMENT ON COLUMN feature_splits.firing_windows IS 'Windows above tau.';
COMMENT ON COLUMN feature_splits.firing_windows25 IS 'Windows above tau25.';
COMMENT ON COLUMN feature_splits.grey_windows IS 'Windows that are active but not above tau.';
COMMENT ON COLUMN feature_splits.silent_windows IS 'Windows without any activation.';
COMMENT ON COLUMN feature_splits.sum IS 'Sum of raw activations over all tokens.';
COMMENT ON COLUMN feature_splits.max IS 'Largest raw activation; 0 where the feature is silent.';
COMMENT ON COLUMN feature_splits.token_histogram IS 'Tokens by activation, in 8 bins an octave of the raw activation.';
COMMENT ON COLUMN feature_splits.window_histogram IS 'Windows by their largest activation, in the same bins.';
COMMENT ON COLUMN feature_splits.histogram_start IS 'Bin of the first entry of both histograms: bin b starts at 2^(b/8).';

CREATE TABLE feature_tokens (
    sample_id TEXT,
    feature INTEGER,
    rank INTEGER,
    token TEXT,
    mean_activation DOUBLE,
    occurrences BIGINT,
    PRIMARY KEY (sample_id, feature, rank)
);
COMMENT ON TABLE feature_tokens IS 'Tokens a feature fires on most, for search in activating text.';
COMMENT ON COLUMN feature_tokens.sample_id IS 'Sample the tokens come from.';
COMMENT ON COLUMN feature_tokens.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN feature_tokens.rank IS 'Place of the token, 0-based.';
COMMENT ON COLUMN feature_tokens.token IS 'Token as the tokenizer writes it.';
COMMENT ON COLUMN feature_tokens.mean_activation IS 'Mean raw activation where the feature is active on the token.';
COMMENT ON COLUMN feature_tokens.occurrences IS 'How often the feature is active on the token in the sampled windows.';

CREATE TABLE token_counts (
    corpus_id TEXT,
    split TEXT,
    token TEXT,
    occurrences BIGINT,
    PRIMARY KEY (corpus_id, split, token)
);
COMMENT ON TABLE token_counts IS 'How often each token stands in each split of a corpus: the base rate of a word.';
COMMENT ON COLUMN token_counts.corpus_id IS 'Corpus the tokens were counted in.';
COMMENT ON COLUMN token_counts.split IS 'explain, select or score.';
COMMENT ON COLUMN token_counts.token IS 'Token as the tokenizer writes it.';
COMMENT ON COLUMN token_counts.occurrences IS 'How often the token stands in the split.';

CREATE TABLE explanations (
    explanation_id TEXT PRIMARY KEY,
    sample_id TEXT,
    feature INTEGER,
    explainer TEXT,
    explainer_model TEXT,
    parameters TEXT,
    prompt_version TEXT,
    repeat INTEGER,
    state TEXT,
    reason TEXT,
    text TEXT,
    pattern TEXT,
    rationale TEXT,
    raw TEXT,
    evidence BIGINT[],
    request_keys TEXT[],
    input_tokens BIGINT,
    output_tokens BIGINT,
    cost_usd DOUBLE,
    run_id TEXT,
    created_at TIMESTAMP
);
COMMENT ON TABLE explanations IS 'Explanations: what explainers wrote about features, with the evidence they were shown.';
COMMENT ON COLUMN explanations.explanation_id IS 'Identity: hash of feature, sample, explainer and its parameters, model, prompt version and repeat.';
COMMENT ON COLUMN explanations.sample_id IS 'Sample the evidence comes from.';
COMMENT ON COLUMN explanations.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN explanations.explainer IS 'Explainer that wrote the label.';
COMMENT ON COLUMN explanations.explainer_model IS 'Language model of the explainer, as provider/model; NULL for offline explainers.';
COMMENT ON COLUMN explanations.parameters IS 'Parameters of the explainer as JSON.';
COMMENT ON COLUMN explanations.prompt_version IS 'Version of the prompt; NULL for offline explainers.';
COMMENT ON COLUMN explanations.repeat IS 'Raised to ask for another label of the same feature; 0 is the first.';
COMMENT ON COLUMN explanations.state IS 'labeled or failed.';
COMMENT ON COLUMN explanations.reason IS 'Why there is no label; NULL where there is one.';
COMMENT ON COLUMN explanations.text IS 'The label; NULL where the explanation failed.';
COMMENT ON COLUMN explanations.pattern IS 'Executable form of the label as JSON; NULL where the explainer has none.';
COMMENT ON COLUMN explanations.rationale IS 'Why the explainer chose the label; NULL where it does not say.';
COMMENT ON COLUMN explanations.raw IS 'Answer of the language model as it was given; NULL for offline explainers.';
COMMENT ON COLUMN explanations.evidence IS 'Windows that were shown to the explainer, all of the explain split.';
COMMENT ON COLUMN explanations.request_keys IS 'Requests that asked, in llm_requests; empty for offline explainers.';
COMMENT ON COLUMN explanations.input_tokens IS 'Tokens of the prompts, cached ones included.';
COMMENT ON COLUMN explanations.output_tokens IS 'Tokens of the answers.';
COMMENT ON COLUMN explanations.cost_usd IS 'Price in US dollars; NULL where the price of the model is not known.';
COMMENT ON COLUMN explanations.run_id IS 'Run that wrote the explanation.';
COMMENT ON COLUMN explanations.created_at IS 'When the explanation was written, UTC.';

CREATE TABLE scores (
    score_id TEXT,
    metric TEXT,
    tau DOUBLE,
    sample_id TEXT,
    feature INTEGER,
    explanation_id TEXT,
    explainer TEXT,
    explainer_model TEXT,
    scorer TEXT,
    scorer_parameters TEXT,
    judge_model TEXT,
    epoch INTEGER,
    control TEXT,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    n_items INTEGER,
    n_lost INTEGER,
    reason TEXT,
    run_id TEXT,
    PRIMARY KEY (score_id, metric, tau)
);
COMMENT ON TABLE scores IS 'Scores: how well a label predicts where its feature fires, by scorer and metric, controls included.';
COMMENT ON COLUMN scores.score_id IS 'Identity: hash of explanation, scorer and its parameters, judge, item set and epoch.';
COMMENT ON COLUMN scores.metric IS 'Metric the value is of, such as headline.';
COMMENT ON COLUMN scores.tau IS 'Threshold of firing as a share 0-1 of the largest activation.';
COMMENT ON COLUMN scores.sample_id IS 'Sample the judged windows come from.';
COMMENT ON COLUMN scores.feature IS 'Feature whose activations were predicted: 0-based row of the dictionary.';
COMMENT ON COLUMN scores.explanation_id IS 'Explanation that was judged; NULL for the controls no_label and generic.';
COMMENT ON COLUMN scores.explainer IS 'Explainer that wrote the label.';
COMMENT ON COLUMN scores.explainer_model IS 'Language model of the explainer, as provider/model; NULL for offline explainers.';
COMMENT ON COLUMN scores.scorer IS 'Scorer that asked.';
COMMENT ON COLUMN scores.scorer_parameters IS 'Parameters of the scorer as JSON.';
COMMENT ON COLUMN scores.judge_model IS 'Language model that judged, as provider/model; NULL for offline scorers.';
COMMENT ON COLUMN scores.epoch IS 'Raised to ask the same judge again; 0 is the first time.';
COMMENT ON COLUMN scores.control IS 'NULL for the own label of the feature, else shuffled, other_feature, neighbor, generic or no_label.';
COMMENT ON COLUMN scores.value IS 'Value of the metric; NULL where it is unscored.';
COMMENT ON COLUMN scores.low IS 'Lower end of the 95 % interval; NULL where there is none.';
COMMENT ON COLUMN scores.high IS 'Upper end of the 95 % interval; NULL where there is none.';
COMMENT ON COLUMN scores.n_items IS 'Judgments the value was computed from.';
COMMENT ON COLUMN scores.n_lost IS 'Judgments that were asked for and lost.';
COMMENT ON COLUMN scores.reason IS 'Why there is no value; NULL where there is one.';
COMMENT ON COLUMN scores.run_id IS 'Run that wrote the score.';

CREATE TABLE score_groups (
    sample_id TEXT,
    explainer TEXT,
    explainer_model TEXT,
    scorer TEXT,
    judge_model TEXT,
    metric TEXT,
    tau DOUBLE,
    control TEXT,
    epoch INTEGER,
    n_features INTEGER,
    n_unscored INTEGER,
    mean DOUBLE,
    low DOUBLE,
    high DOUBLE,
    requests BIGINT,
    input_tokens BIGINT,
    output_tokens BIGINT,
    cost_usd DOUBLE,
    priority INTEGER,
    run_id TEXT,
    PRIMARY KEY (sample_id, explainer, explainer_model, scorer, judge_model, metric, tau, control, epoch)
);
COMMENT ON TABLE score_groups IS 'Means of scores over the features of a sample; the view scoreboard shows them. Key columns hold empty text, not NULL.';
COMMENT ON COLUMN score_groups.sample_id IS 'Sample the judged windows come from.';
COMMENT ON COLUMN score_groups.explainer IS 'Explainer that wrote the labels.';
COMMENT ON COLUMN score_groups.explainer_model IS 'Language model of the explainer; empty for offline explainers.';
COMMENT ON COLUMN score_groups.scorer IS 'Scorer that asked.';
COMMENT ON COLUMN score_groups.judge_model IS 'Language model that judged; empty for offline scorers.';
COMMENT ON COLUMN score_groups.metric IS 'Metric the mean is of.';
COMMENT ON COLUMN score_groups.tau IS 'Threshold of firing as a share 0-1 of the largest activation.';
COMMENT ON COLUMN score_groups.control IS 'Empty for the own labels of the features, else which control.';
COMMENT ON COLUMN score_groups.epoch IS 'Raised to ask the same judge again; 0 is the first time.';
COMMENT ON COLUMN score_groups.n_features IS 'Features that were to be scored.';
COMMENT ON COLUMN score_groups.n_unscored IS 'Features among them without a value.';
COMMENT ON COLUMN score_groups.mean IS 'Mean over the scored features; NULL where there is none.';
COMMENT ON COLUMN score_groups.low IS 'Lower end of the 95 % interval of the mean.';
COMMENT ON COLUMN score_groups.high IS 'Upper end of the 95 % interval of the mean.';
COMMENT ON COLUMN score_groups.requests IS 'Requests to the judge, of all metrics of the group together; 0 for offline scorers.';
COMMENT ON COLUMN score_groups.input_tokens IS 'Tokens of the prompts, of all metrics of the group together.';
COMMENT ON COLUMN score_groups.output_tokens IS 'Tokens of the answers, of all metrics of the group together.';
COMMENT ON COLUMN score_groups.cost_usd IS 'Price in US dollars, of all metrics of the group together; NULL where it is not known.';
COMMENT ON COLUMN score_groups.priority IS 'Position of the scorer in the configuration, 0-based.';
COMMENT ON COLUMN score_groups.run_id IS 'Run that wrote the group.';

CREATE TABLE neighbors (
    feature_set TEXT,
    method TEXT,
    feature INTEGER,
    rank INTEGER,
    neighbor INTEGER,
    similarity DOUBLE,
    PRIMARY KEY (feature_set, method, feature, rank)
);
COMMENT ON TABLE neighbors IS 'Nearest features of each feature.';
COMMENT ON COLUMN neighbors.feature_set IS 'Feature set both features belong to.';
COMMENT ON COLUMN neighbors.method IS 'How similarity is measured, such as decoder_cosine.';
COMMENT ON COLUMN neighbors.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN neighbors.rank IS 'Place of the neighbor, 0-based, the nearest first.';
COMMENT ON COLUMN neighbors.neighbor IS 'The neighboring feature.';
COMMENT ON COLUMN neighbors.similarity IS 'Similarity of the two features; for decoder_cosine -1 to 1.';

CREATE TABLE clusterings (
    clustering_id TEXT PRIMARY KEY,
    feature_set TEXT,
    method TEXT,
    parameters TEXT,
    resolution DOUBLE,
    modularity DOUBLE,
    n_clusters INTEGER,
    seed BIGINT,
    is_default BOOLEAN
);
COMMENT ON TABLE clusterings IS 'Clusterings: ways a feature set was cut into clusters.';
COMMENT ON COLUMN clusterings.clustering_id IS 'Identity: hash of feature set, method, parameters and seed.';
COMMENT ON COLUMN clusterings.feature_set IS 'Feature set that was clustered.';
COMMENT ON COLUMN clusterings.method IS 'How clusters were found.';
COMMENT ON COLUMN clusterings.parameters IS 'Parameters of the method as JSON.';
COMMENT ON COLUMN clusterings.resolution IS 'Resolution: higher gives more and smaller clusters.';
COMMENT ON COLUMN clusterings.modularity IS 'Modularity of the clustering on the neighbor graph.';
COMMENT ON COLUMN clusterings.n_clusters IS 'Clusters that were found.';
COMMENT ON COLUMN clusterings.seed IS 'Seed of the search.';
COMMENT ON COLUMN clusterings.is_default IS 'Whether labels and reports show this clustering.';

CREATE TABLE clusters (
    clustering_id TEXT,
    cluster INTEGER,
    name TEXT,
    name_source TEXT,
    size INTEGER,
    PRIMARY KEY (clustering_id, cluster)
);
COMMENT ON TABLE clusters IS 'Clusters of features with similar directions.';
COMMENT ON COLUMN clusters.clustering_id IS 'Clustering the cluster belongs to.';
COMMENT ON COLUMN clusters.cluster IS 'Number of the cluster, 0-based.';
COMMENT ON COLUMN clusters.name IS 'Name made from the labels of the members; NULL where there is none.';
COMMENT ON COLUMN clusters.name_source IS 'What made the name.';
COMMENT ON COLUMN clusters.size IS 'Features in the cluster.';

CREATE TABLE cluster_members (
    clustering_id TEXT,
    feature INTEGER,
    cluster INTEGER,
    PRIMARY KEY (clustering_id, feature)
);
COMMENT ON TABLE cluster_members IS 'Which cluster each feature belongs to.';
COMMENT ON COLUMN cluster_members.clustering_id IS 'Clustering the cluster belongs to.';
COMMENT ON COLUMN cluster_members.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN cluster_members.cluster IS 'Cluster of the feature.';

CREATE TABLE map_points (
    feature_set TEXT,
    feature INTEGER,
    x DOUBLE,
    y DOUBLE,
    PRIMARY KEY (feature_set, feature)
);
COMMENT ON TABLE map_points IS 'The map: a place in two dimensions for each feature, near its neighbors.';
COMMENT ON COLUMN map_points.feature_set IS 'Feature set the feature belongs to.';
COMMENT ON COLUMN map_points.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN map_points.x IS 'Horizontal place; the unit has no meaning.';
COMMENT ON COLUMN map_points.y IS 'Vertical place; the unit has no meaning.';

CREATE TABLE tags (
    sample_id TEXT,
    feature INTEGER,
    tag TEXT,
    tagger TEXT,
    stance TEXT,
    state TEXT,
    evidence BIGINT[],
    created_at TIMESTAMP,
    PRIMARY KEY (sample_id, feature, tag, tagger)
);
COMMENT ON TABLE tags IS 'Tags that people or programs put on features.';
COMMENT ON COLUMN tags.sample_id IS 'Sample the tag was given on.';
COMMENT ON COLUMN tags.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN tags.tag IS 'The tag.';
COMMENT ON COLUMN tags.tagger IS 'Who or what gave it.';
COMMENT ON COLUMN tags.stance IS 'Whether the tagger asserts the tag or denies it.';
COMMENT ON COLUMN tags.state IS 'Whether the tag is settled.';
COMMENT ON COLUMN tags.evidence IS 'Windows the tag rests on.';
COMMENT ON COLUMN tags.created_at IS 'When the tag was given, UTC.';

CREATE TABLE labels (
    feature_set TEXT,
    sample_id TEXT,
    run_id TEXT,
    feature INTEGER,
    label TEXT,
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
    neighbor_labels TEXT[]
);
COMMENT ON TABLE labels IS 'One row for each feature of each sample: its label with the headline score. Filled when a snapshot is published.';
COMMENT ON COLUMN labels.feature_set IS 'Feature set the feature belongs to.';
COMMENT ON COLUMN labels.sample_id IS 'Sample the label was written and scored on.';
COMMENT ON COLUMN labels.run_id IS 'Run that wrote the label; where there is no label, the run that wrote the sample.';
COMMENT ON COLUMN labels.feature IS 'Feature: 0-based row of the dictionary.';
COMMENT ON COLUMN labels.label IS 'The label; NULL where there is none, and status or explanations say why.';
COMMENT ON COLUMN labels.explainer IS 'Explainer that wrote the label: of the group of explainer and scorer with the highest mean headline score, so that no feature picks its own luckiest label.';
COMMENT ON COLUMN labels.explainer_model IS 'Language model of the explainer, as provider/model; NULL for offline explainers.';
COMMENT ON COLUMN labels.scorer IS 'Scorer of that group; the next one in order of mean where it has no score for the feature.';
COMMENT ON COLUMN labels.judge_model IS 'Language model that judged, as provider/model; NULL for offline scorers.';
COMMENT ON COLUMN labels.metric IS 'Metric of the score: headline.';
COMMENT ON COLUMN labels.score IS 'Headline score, about 0.5 for a label that says nothing, 1 for a perfect one; NULL where it is unscored.';
COMMENT ON COLUMN labels.score_low IS 'Lower end of the 95 % interval of the score.';
COMMENT ON COLUMN labels.score_high IS 'Upper end of the 95 % interval of the score.';
COMMENT ON COLUMN labels.firing_rate IS 'Share 0-1 of tokens above tau.';
COMMENT ON COLUMN labels.max_activation IS 'Largest raw activation.';
COMMENT ON COLUMN labels.status IS 'ok, weak, dense or dead.';
COMMENT ON COLUMN labels.cluster IS 'Cluster of the feature in the default clustering; NULL where there is none.';
COMMENT ON COLUMN labels.cluster_name IS 'Name of that cluster.';
COMMENT ON COLUMN labels.neighbor_labels IS 'Labels of the nearest features, the nearest first; unlabeled ones are left out.';

-- Each group of the newest sample of its feature set, in the epoch that covers most features: repeats on a few features
-- measure the judge and do not replace the group. Random-weights feature sets stand under the one they are a control for.
CREATE VIEW scoreboard AS
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
    cost_usd
FROM shown
ORDER BY ALL NULLS FIRST;
COMMENT ON VIEW scoreboard IS 'Explainers x scorers x judges: mean scores over the features of the newest sample, with controls, cost and counts of what is missing.';
COMMENT ON COLUMN scoreboard.feature_set IS 'Feature set; random-weights feature sets stand under the one they are a control for.';
COMMENT ON COLUMN scoreboard.explainer IS 'Explainer that wrote the labels.';
COMMENT ON COLUMN scoreboard.explainer_model IS 'Language model of the explainer, as provider/model; NULL for offline explainers.';
COMMENT ON COLUMN scoreboard.scorer IS 'Scorer that asked.';
COMMENT ON COLUMN scoreboard.judge_model IS 'Language model that judged, as provider/model; NULL for offline scorers.';
COMMENT ON COLUMN scoreboard.metric IS 'Metric the mean is of.';
COMMENT ON COLUMN scoreboard.tau IS 'Threshold of firing as a share 0-1 of the largest activation.';
COMMENT ON COLUMN scoreboard.control IS 'NULL for real labels, else shuffled, other_feature, neighbor, generic, no_label or random_weights.';
COMMENT ON COLUMN scoreboard.n_features IS 'Features that were to be scored.';
COMMENT ON COLUMN scoreboard.n_unscored IS 'Features among them without a value.';
COMMENT ON COLUMN scoreboard.mean IS 'Mean over the scored features; NULL where there is none.';
COMMENT ON COLUMN scoreboard.low IS 'Lower end of the 95 % interval of the mean.';
COMMENT ON COLUMN scoreboard.high IS 'Upper end of the 95 % interval of the mean.';
COMMENT ON COLUMN scoreboard.requests IS 'Requests to the judge, of all metrics of the group together; 0 for offline scorers.';
COMMENT ON COLUMN scoreboard.input_tokens IS 'Tokens of the prompts, of all metrics of the group together.';
COMMENT ON COLUMN scoreboard.output_tokens IS 'Tokens of the answers, of all metrics of the group together.';
COMMENT ON COLUMN scoreboard.cost_usd IS 'Price in US dollars, of all metrics of the group together; NULL where it is not known.';
