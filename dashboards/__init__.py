"""Read-only views of a workspace: named queries, charts, the report. Imports `labeling` only."""
