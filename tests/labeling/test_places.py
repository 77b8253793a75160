from pathlib import Path

import pytest

from flows.sources import group_feature_sets
from labeling.config import Config
from labeling.config_files import load_config
from labeling.errors import FeatlasError
from labeling.sources._models import outline
from labeling.sources._places import folder, origin

SET = '[[features]]\nname = "{name}"\nmodel = "m"\ndictionary = "d"\n{more}\n'


def read(tmp_path: Path, *more: str) -> Config:
    file = tmp_path / "featlas.toml"
    file.write_text("".join(SET.format(name=f"set{i}", more=line) for i, line in enumerate(more)))
    return load_config(file, environment={}, overrides={})


@pytest.mark.parametrize(
    ("model", "repository", "where"),
    [
        ("owner/name", "owner/name", {}),
        ("owner/name@v1.0", "owner/name", {"revision": "v1.0"}),
        ("hf://owner/name@0a1b2c", "owner/name", {"revision": "0a1b2c"}),
    ],
)
def test_a_hub_id_may_name_a_revision(model: str, repository: str, where: dict[str, str]) -> None:
    assert (folder(model), origin(model)) == (repository, where)


def test_a_folder_is_read_from_disk_alone_whatever_its_name(tmp_path: Path) -> None:
    place = tmp_path / "name@home"
    place.mkdir()
    assert (folder(str(place)), origin(str(place))) == (str(place), {"local_files_only": True})
    with pytest.raises(FeatlasError, match=r"name@home' can't be loaded.*config\.json"):
        outline(str(place))


def test_feature_sets_share_a_pass_only_if_it_is_the_same(tmp_path: Path) -> None:
    config = read(tmp_path, 'hook = "h.1"', 'hook = "h.2"', 'dtype = "bfloat16"', "prepend_bos = true", "force = true")
    groups = [[one.name for one in group.feature_sets] for group in group_feature_sets(config, threads=1)]
    assert groups == [["set0", "set1", "set4"], ["set2"], ["set3"]]


def test_a_set_without_a_hook_is_named_by_model_and_dictionary(tmp_path: Path) -> None:
    file = tmp_path / "featlas.toml"
    file.write_text('[[features]]\nmodel = "owner/name"\ndictionary = "path/d"\n')
    assert load_config(file, environment={}, overrides={}).features[0].name == "name-d"
