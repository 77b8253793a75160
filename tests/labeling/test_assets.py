import pytest

from labeling.assets import asset
from labeling.errors import FeatlasError


def test_committed_data_are_found() -> None:
    assert asset("minilm-l2-2048.safetensors").is_file()


def test_a_missing_asset_names_the_places_looked_at() -> None:
    with pytest.raises(FeatlasError, match=r"'nothing\.txt'.*data and .*share/featlas"):
        asset("nothing.txt")
