"""Pages of the dashboard, one file each: a file defines `router`, and nothing else has to be registered.

A page asks named queries for small frames and hands them to the template of its name. Files that begin with `_` are
helpers.
"""
