"""From labels to scores: scorers, metrics with intervals, controls. Imports `labeling` only."""
