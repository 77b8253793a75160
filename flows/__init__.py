"""The stages in order, the command line, and Prefect: the only package that imports prefect."""
