-- What could not be taken from a corpus as it stands, by kind, so that nobody has to guess what a sample rests on.

CREATE TABLE corpus_problems (
    corpus_id TEXT,
    problem TEXT,
    n BIGINT,
    example TEXT,
    PRIMARY KEY (corpus_id, problem)
);
COMMENT ON TABLE corpus_problems IS 'What was left out of a corpus or mended while it was read, by kind.';
COMMENT ON COLUMN corpus_problems.corpus_id IS 'Corpus it was found in.';
COMMENT ON COLUMN corpus_problems.problem IS 'exact duplicates, near-duplicates, too short (for one window); not JSON, not an object, no text (column missing or null), not text (of another type), empty, too long (a line), damaged (bytes that can''t be read): documents left out; characters replaced: bytes that were not UTF-8, their documents are kept.';
COMMENT ON COLUMN corpus_problems.n IS 'How many: documents, lines or rows; of characters replaced, characters; of damaged, places.';
COMMENT ON COLUMN corpus_problems.example IS 'The first one: the document''s name, or file and line with what was there.';
