"""Events are sorted once, whatever the order of batches."""

from __future__ import annotations

import torch

from labeling.events import EventCollector


def test_events_come_by_feature_split_window_and_position_whatever_the_batches() -> None:
    window, split = torch.tensor([40, 41, 42]), torch.tensor([2, 0, 2])
    collector = EventCollector(window, split=split, width=8)
    events = [(5, 42, 1, 0.5), (5, 41, 7, 1.5), (5, 40, 3, 2.5), (5, 40, 0, 3.5), (2, 42, 0, 4.5)]
    for feature, at, position, value in reversed(events):
        one = [torch.tensor([x]) for x in (feature, at, position)]
        collector.add(one[0], window=one[1], position=one[2], value=torch.tensor([value]))
    found = collector.sorted()
    assert found.feature.tolist() == [2, 5, 5, 5, 5]
    assert found.split.tolist() == [2, 0, 2, 2, 2]
    assert found.window.tolist() == [42, 41, 40, 40, 42]
    assert found.position.tolist() == [0, 7, 0, 3, 1]
    assert found.value.tolist() == [4.5, 1.5, 3.5, 2.5, 0.5]
    assert found.begins_window.tolist() == [True, True, True, False, True]


def test_a_block_without_events_is_empty() -> None:
    assert len(EventCollector(torch.arange(3), split=torch.zeros(3), width=4).sorted()) == 0
