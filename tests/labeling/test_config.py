"""The config: what it accepts, what it refuses, and what the refusal says."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Protocol

import pytest

from labeling.config import ALL_SECTIONS, Config, config_text, default_config_text
from labeling.config_files import demo_config, load_config
from labeling.errors import UsageError

FEATURES = '[[features]]\nmodel = "m"\nhook = "layers.2"\ndictionary = "d"\n'


class Read(Protocol):
    def __call__(self, text: str, environment: dict[str, str] | None = None, **overrides: object) -> Config: ...


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str, environment: dict[str, str] | None = None, **overrides: object) -> Config:
        path = tmp_path / "featlas.toml"
        path.write_text(text)
        options = {key.replace("__", "."): value for key, value in overrides.items()}
        return load_config(path, environment=environment or {}, overrides=options)

    return read


def test_a_file_with_one_feature_set_gets_defaults_for_the_rest(read: Read) -> None:
    config = read(FEATURES)
    assert config.features[0].name == "m-layers.2-d"
    assert (config.sample.window, config.sample.sequence, config.sample.top, config.sample.reservoir) == (
        32,
        256,
        20,
        100,
    )
    assert config.cluster.resolution == (0.5, 1.0, 2.0)


def test_the_command_line_stands_over_the_environment_over_the_file_over_the_default(read: Read) -> None:
    text = FEATURES + "[sample]\nseed = 1\ntop = 5\npanel = 7\n"
    config = read(text, {"FEATLAS_SAMPLE_SEED": "2", "FEATLAS_SAMPLE_TOP": "6"}, sample__seed="3")
    assert (config.sample.seed, config.sample.top, config.sample.panel, config.sample.reservoir) == (3, 6, 7, 100)


def test_values_of_the_environment_are_read_as_the_keys_type(read: Read) -> None:
    environment = {
        "FEATLAS_SCORE_SCORERS": "pattern,detection",
        "FEATLAS_SCORE_CONTROLS": "false",
        "FEATLAS_CLUSTER_RESOLUTION": "0.5, 4",
        "FEATLAS_LLM_MAX_COST": "2.5",
        "FEATLAS_FEATURES_DEVICE": "cpu",
        "FEATLAS_WORKSPACE": "not a key",
    }
    config = read(FEATURES, environment)
    assert (config.score.scorers, config.score.controls) == (("pattern", "detection"), False)
    assert (config.cluster.resolution, config.llm.max_cost, config.features[0].device) == ((0.5, 4.0), 2.5, "cpu")


def test_one_explainer_may_stand_without_brackets(read: Read) -> None:
    assert read(FEATURES + '[label]\nexplainer = "top_and_random"\n').label.explainer == ("top_and_random",)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (FEATURES + "[sampel]\n", ["featlas.toml", "'sampel'", "Did you mean 'sample'?", "cluster"]),
        (FEATURES + "[sample]\nwindows = 32\n", ["featlas.toml", "[sample]", "'windows'", "'window'", "reservoir"]),
        (FEATURES.replace("hook", "hok"), ["number 1", "'hok'", "'hook'"]),
        (FEATURES + '[sample]\nseed = "1"\n', ["[sample]", "seed", "'1'", "a whole number"]),
        (FEATURES + "[sample]\nseed = true\n", ["seed", "True", "a whole number"]),
        (FEATURES + "[sample]\ntop = 0\n", ["top", "0", "at least 1"]),
        (FEATURES + "[sample]\nwindow = 30\n", ["30", "256", "whole windows"]),
        (FEATURES + "[llm]\nmax_cost = nan\n", ["max_cost", "nan", "above 0"]),
        (FEATURES + "[llm]\nmax_cost = 0\n", ["max_cost", "0", "above 0"]),
        (FEATURES + '[llm]\nmode = "fast"\n', ["mode", "'fast'", "'interactive'"]),
        (FEATURES + '[label]\nmodel = "claude"\n', ["label.model", "'claude'", "provider/model"]),
        (FEATURES + '[label]\nfeatures = "9-3"\n', ["features", "'9-3'", "0-199", "sql:"]),
        (FEATURES + "[label]\nfeatures = [-1]\n", ["features", "[-1]", "[3, 17]"]),
        (FEATURES + "[score]\nscorers = []\n", ["scorers", "[]", "a list"]),
        (FEATURES + '[score]\nscorers = ["a", "a"]\n', ["scorers", "without repeats"]),
        (FEATURES + '[corpus]\nsource = "files"\n', ["corpus.path", "'files'"]),
        (FEATURES + '[corpus]\npath = "x"\n', ["corpus.path", "'x'", "embedded"]),
        (FEATURES + '[corpus]\ncolumn = "x"\n', ["corpus.column", "'x'", "'embedded' does not take it"]),
        (
            FEATURES + '[corpus]\nsource = "jsonl"\npath = "x"\nsplit = "y"\n',
            ["corpus.split", "'y'", "it takes: column."],
        ),
        (FEATURES + '[corpus]\nsource = "parquet"\n', ["corpus.path", "'parquet'"]),
        (FEATURES + '[corpus]\nsource = "json"\n', ["'json'", "Did you mean 'jsonl'?", "huggingface"]),
        (FEATURES + 'path = "t"\n', ["number 1", "'t'", "table"]),
        (FEATURES + 'name = "../x"\n', ["'../x'", "letters"]),
        (FEATURES + 'control_for = "b"\n', ["'m-layers.2-d'", "'b'", "control_for"]),
        (FEATURES + FEATURES, ["'m-layers.2-d'", "two"]),
        ('[[features]]\nsource = "table"\n', ["table", "'path'"]),
        ('[[features]]\nmodel = "m"\n', ["'dictionary'"]),
        ('[features]\nmodel = "m"\n', ["[[features]]"]),
        ("", ["[[features]]", "featlas init"]),
        ("sample = 3\n" + FEATURES, ["[sample]", "3"]),
        ("not toml", ["featlas.toml", "TOML", "line 1"]),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_the_value_and_what_is_allowed(
    read: Read, text: str, named: list[str]
) -> None:
    with pytest.raises(UsageError) as refused:
        read(text)
    for word in named:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_corpus_is_made_with_its_path_and_the_keys_that_are_given(read: Read) -> None:
    assert read(FEATURES).corpus.place == {"path": None}
    text = FEATURES + '[corpus]\nsource = "huggingface"\npath = "a/b"\ncolumn = "body"\nsplit = "test"\n'
    assert read(text).corpus.place == {"path": "a/b", "column": "body", "split": "test"}


def test_a_feature_set_can_not_be_the_control_of_a_control(read: Read) -> None:
    first = FEATURES + 'name = "a"\n'
    second = FEATURES + 'name = "b"\ncontrol_for = "a"\n'
    assert read(first + second).features[1].control_for == "a"
    with pytest.raises(UsageError, match="is no control itself"):
        read(first + second + FEATURES + 'name = "c"\ncontrol_for = "b"\n')


@pytest.mark.parametrize("variable", ["FEATLAS_SAMPLE_SEEDS", "FEATLAS_SAMPEL_SEED"])
def test_a_misspelled_variable_is_refused_with_its_name(read: Read, variable: str) -> None:
    with pytest.raises(UsageError, match=rf"{variable}.*Did you mean"):
        read(FEATURES, {variable: "1"})


def test_a_wrong_variable_or_option_is_named_as_the_place(read: Read) -> None:
    with pytest.raises(
        UsageError, match=r"environment variable FEATLAS_SAMPLE_TOP: sample.top is 'many'; allowed: a whole"
    ):
        read(FEATURES, {"FEATLAS_SAMPLE_TOP": "many"})
    with pytest.raises(UsageError, match=r"the command line: sample.top is '0'"):
        read(FEATURES, sample__top="0")


@pytest.mark.parametrize(
    "text",
    [
        '[llm]\nbase_url = "https://me:hunter2@host/v1"\n',
        '[llm]\nbase_url = "https://host/v1?api_key=hunter2"\n',
        '[llm]\nbase_url = "http://[hunter2@x"\n',
        '[llm]\napi_key = "hunter2"\n',
        '[hunter]\nkey = "hunter2"\n',
        '[llm]\nmode = "https://me:hunter2@host/v1"\n',
    ],
)
def test_a_secret_is_refused_and_not_repeated(read: Read, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(FEATURES + text)
    assert "hunter2" not in str(refused.value)


def test_only_batches_can_be_left_to_a_later_run(read: Read) -> None:
    with pytest.raises(UsageError, match=r"llm.wait is false \(--no-wait\), llm.mode is 'interactive'"):
        read(FEATURES, llm__wait=False)
    assert not read(FEATURES, llm__wait=False, llm__mode="batch").llm.wait


def test_a_plain_base_url_is_accepted_and_another_scheme_is_not(read: Read) -> None:
    assert read(FEATURES + '[llm]\nbase_url = "http://localhost:8000/v1"\n').llm.base_url == "http://localhost:8000/v1"
    with pytest.raises(UsageError, match="ftp://host"):
        read(FEATURES + '[llm]\nbase_url = "ftp://host"\n')


def test_the_hash_follows_the_values_and_not_where_they_come_from(read: Read) -> None:
    from_file = read(FEATURES + "[sample]\nseed = 5\n")
    assert from_file.hash == read(FEATURES, {"FEATLAS_SAMPLE_SEED": "5"}).hash == read(FEATURES, sample__seed=5).hash
    assert from_file.hash != read(FEATURES).hash


def test_the_resolved_config_is_json_and_reads_back_to_the_same(read: Read) -> None:
    config = read(FEATURES + "[label]\nfeatures = [3, 4, 5, 17]\n[llm]\nmax_cost = 2\n")
    stored = json.loads(json.dumps(config.as_json()))
    assert stored["label"]["features"] == "3-5,17"
    lines = ["[[features]]", *_lines(stored["features"][0])]
    for section in stored:
        lines += [] if section == "features" else [f"[{section}]", *_lines(stored[section])]
    assert read("\n".join(lines)) == config


def _lines(section: dict[str, object]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in section.items() if value is not None]


def test_a_missing_file_is_told_with_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="featlas init"):
        load_config(tmp_path / "none.toml", environment={}, overrides={})


def test_the_starting_file_gives_the_defaults_and_shows_every_key(read: Read) -> None:
    text = default_config_text()
    config = read(text)
    assert config.features[0].dictionary == "embedded/minilm-l2-2048"
    assert {**config.as_json(), "features": []} == {**read(FEATURES).as_json(), "features": []}
    for section, shown in _sections(text).items():
        assert [key.name for key in fields(ALL_SECTIONS[section])] == shown


def _sections(text: str) -> dict[str, list[str]]:
    """Keys of each section, the commented ones included."""
    bodies = re.split(r"^\[+(\w+)\]+$", text, flags=re.MULTILINE)[1:]
    pairs = zip(bodies[::2], bodies[1::2], strict=True)
    return {name: re.findall(r"^(?:# )?(\w+) = ", body, flags=re.MULTILINE) for name, body in pairs}


def test_commented_lines_of_the_starting_file_are_values_the_config_accepts(read: Read) -> None:
    shown = re.sub(r"^# (\w+ = )", r"\1", default_config_text(), flags=re.MULTILINE)
    shown = re.sub(r"^(path|control_for|column|subset|split) = .*$", "", shown, flags=re.MULTILINE)
    assert tomllib.loads(shown)["llm"]["max_cost"] == read(shown).llm.max_cost == 5.0


def test_the_demo_is_a_model_and_its_random_weights_control() -> None:
    config = demo_config(environment={}, overrides={})
    real, control = config.features
    assert (real.name, real.model, real.hook, real.dictionary) == (
        "minilm-l2",
        "embedded/minilm",
        "encoder.layer.2",
        "embedded/minilm-l2-2048",
    )
    assert (control.control_for, control.dictionary) == ("minilm-l2", "embedded/minilm-random-l2-512")
    assert [config.max_tokens(feature_set) for feature_set in config.features] == [300_000, 150_000]
    assert (config.label.explainer, config.score.scorers) == (("token_pattern",), ("pattern", "embedding"))
    assert config.score.embedding_features == 300


def test_a_smaller_corpus_also_bounds_a_feature_set_with_its_own_limit() -> None:
    config = demo_config(environment={}, overrides={"corpus.max_tokens": 20_000})
    assert [config.max_tokens(feature_set) for feature_set in config.features] == [20_000, 20_000]


def test_a_config_that_a_run_stored_is_written_as_the_file_it_could_have_come_from(read: Read) -> None:
    prices = '[llm]\nmax_cost = 1.5\nprices = "p \\"1\\".json"\n[label]\nexplainer = ["ngram"]\n'
    for config in (read(FEATURES), demo_config(environment={}, overrides={}), read(FEATURES + prices)):
        assert read(config_text(json.dumps(config.as_json()))) == config
