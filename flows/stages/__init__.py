"""The stages as plain functions: read tables, do the work, write tables; what is complete is skipped.

Each takes a Session (workspace, store, config, run) and a ShardRunner, and knows neither Prefect nor the command line.
"""
