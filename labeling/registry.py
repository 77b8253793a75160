"""Find variants by file name: `labeling/explainers/token_pattern.py` is the explainer `token_pattern`.

A variant is one file in its folder with a function `create`. The folder's `__init__` says what `create` takes and
returns. Nothing is registered; a file that stands there is known.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from inspect import signature
from types import ModuleType
from typing import Any

from labeling.errors import unknown_name


def names(package: ModuleType) -> tuple[str, ...]:
    """Known variants of a folder, sorted. Files that start with an underscore are helpers."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")))


def settings_of(package: ModuleType, name: str, *, kind: str) -> tuple[str, ...]:
    """Settings that `create` of the variant `name` takes. Raise UsageError like `create`."""
    if name not in names(package):
        raise unknown_name(kind, name, names(package))
    return tuple(signature(import_module(f"{package.__name__}.{name}").create).parameters)


def create(package: ModuleType, name: str, *, kind: str, **settings: Any) -> Any:
    """Make the variant `name`. Raise UsageError that lists the known names when there is none."""
    if name not in names(package):
        raise unknown_name(kind, name, names(package))
    return import_module(f"{package.__name__}.{name}").create(**settings)
