"""The flows without a server: what they take, what they return, and what Prefect gets to know."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from flows.cluster_features import cluster_features
from flows.label_features import label_features
from flows.pipeline import STAGES, Outcome
from flows.prefect_tasks import ended, failed, join_outcomes, read_config, run_as_tasks
from flows.run_batch import run_batch
from flows.sample_contexts import sample_contexts
from flows.score_labels import score_labels
from flows.usage import Usage
from labeling.config_files import demo_config
from labeling.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
STAGE_FLOWS = (sample_contexts, label_features, score_labels, cluster_features)


@dataclass(frozen=True)
class Doubling:
    shard: int
    value: int


def double(job: Doubling) -> int:
    return 2 * job.value


def outcome_of(run_id: str, **seconds: float) -> Outcome:
    return Outcome(run_id, None, seconds, {"label: timeout": 1}, Usage(2, 30, 4, 0.5), 1, 0)


@pytest.mark.parametrize("flow", STAGE_FLOWS, ids=lambda flow: flow.name)
def test_a_stage_flow_runs_without_a_server_and_ends_as_failed_with_one_paragraph(flow: Any, tmp_path: Path) -> None:
    state = flow.fn(config=str(tmp_path / "no.toml"), workspace=str(tmp_path / "workspace"))
    assert state.is_failed()
    assert state.message.startswith("There is no config file at")
    assert isinstance(state.data, UsageError)


def test_scheduled_runs_need_no_parameters() -> None:
    for flow in (*STAGE_FLOWS, run_batch):
        defaults = {name: key.get("default") for name, key in flow.parameters.properties.items()}
        assert defaults.pop("stages", list(STAGES)) == list(STAGES)
        assert defaults == {"config": "featlas.toml", "workspace": "workspace"}
        assert flow.persist_result is False


def test_a_resolved_config_is_taken_as_it_is_and_a_file_meets_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = demo_config(environment={}, overrides={"sample.seed": 3})
    file = tmp_path / "featlas.toml"
    file.write_text('[[features]]\nmodel = "m"\nhook = "h"\ndictionary = "d"\n', encoding="utf-8")
    monkeypatch.setenv("FEATLAS_SAMPLE_SEED", "5")
    assert read_config(config.as_json()) == config
    assert read_config(str(file)).sample.seed == 5


@pytest.mark.parametrize("config", [{}, {"features": 1}, {"features": [1]}, {"features": [{}], "sample": 4}])
def test_a_parameter_that_is_no_config_is_answered_with_what_is_expected(config: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected the path of a config file"):
        read_config(config)


def test_items_that_failed_make_a_completed_run_partial_and_are_named() -> None:
    state = ended(outcome_of("a"))
    assert (state.is_completed(), state.name) == (True, "Partial")
    assert state.message is not None
    assert "1 label: timeout" in state.message
    assert ended(Outcome("a", None, {}, {}, Usage(), 0, 0)).name == "Completed"


def test_an_error_for_people_keeps_its_class_and_lets_go_of_its_frames() -> None:
    try:
        try:
            raise OSError("disk")
        except OSError as cause:
            raise UsageError("Mend it.") from cause
    except UsageError as error:
        state = failed(error)
    assert state.message == "Mend it."
    assert isinstance(state.data, UsageError)
    assert (state.data.__traceback__, state.data.__cause__, state.data.__context__) == (None, None, None)


def test_outcomes_of_several_flows_add_up() -> None:
    page = Outcome("", Path("report.html"), {"report": 1.0}, {}, Usage(), 0, 0)
    joined = join_outcomes([outcome_of("a", sample=1.0, label=2.0), outcome_of("b", sample=0.5), page])
    assert joined == Outcome(
        "b",
        Path("report.html"),
        {"sample": 1.5, "label": 2.0, "report": 1.0},
        {"label: timeout": 2},
        Usage(4, 60, 8, 1.0),
        2,
        0,
    )


def test_without_a_flow_run_shards_run_one_after_the_other() -> None:
    jobs = [Doubling(0, 4), Doubling(1, 5)]
    assert list(run_as_tasks(double, jobs, name="double")) == [(jobs[0], 8), (jobs[1], 10)]


def test_no_module_of_flows_hides_an_installed_package() -> None:
    """Prefect puts the folder of a flow in front of the import path."""
    own = {file.stem for file in (ROOT / "flows").glob("*.py")} | {
        folder.name for folder in (ROOT / "flows").iterdir() if (folder / "__init__.py").is_file()
    }
    assert (own - {"__init__"}) & (set(packages_distributions()) | set(sys.stdlib_module_names)) == set()


def test_the_deployment_names_a_flow_that_exists_and_no_place_on_this_machine() -> None:
    text = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    (entrypoint,) = re.findall(r"entrypoint: (\S+)", text)
    file, _, name = entrypoint.partition(":")
    assert (ROOT / file).is_file()
    assert name == run_batch.name
    assert re.findall(r"cron: (.+)", text)
    assert [line for line in text.splitlines() if re.search(r"(^|[\s\"'])(/|~|[A-Z]:\\)", line)] == []
