"""Plant sentences in real text: from documents to documents with sentences of the concepts on lines of their own.

Every sentence goes to a random line of a random document, more often to longer ones; which concepts stand near each
other is chance. Predicates run on the result, so what the text held already counts too. Pure: documents in and out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from evals.planted.concepts import Concept
from labeling.identity import text_id
from labeling.types import Document


def plant_sentences(
    documents: Sequence[Document],
    concepts: Sequence[Concept],
    *,
    planted: int,
    decoys: int,
    generator: np.random.Generator,
) -> list[Document]:
    """Documents with `planted` sentences of each concept, `decoys` near-misses and as many lures, at random lines."""
    sentences = [
        frames.write(generator)
        for concept in concepts
        for frames, n in ((concept.planted, planted), (concept.decoys, decoys), (concept.lures, decoys))
        for _ in range(n if frames is not None else 0)
        if frames is not None
    ]
    lines = [document.text.split("\n") for document in documents]
    places = np.repeat(np.arange(len(lines)), [len(some) + 1 for some in lines])
    chosen = generator.permutation(len(places))
    # every line gets one sentence before any line gets a second one
    rounds = np.tile(chosen, -(-len(sentences) // max(len(places), 1)))[: len(sentences)]
    first = np.cumsum([0, *(len(some) + 1 for some in lines)])
    added: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for place, i in zip(rounds, generator.permutation(len(sentences)), strict=True):
        document = int(places[place])
        added[document][int(place - first[document])].append(sentences[i])
    return [_with(document, some, added[i]) for i, (document, some) in enumerate(zip(documents, lines, strict=True))]


def _with(document: Document, lines: Sequence[str], added: dict[int, list[str]]) -> Document:
    """The document with sentences before the lines that they are for; those of its last place go to the end."""
    if not added:
        return document
    result: list[str] = []
    for number in range(len(lines) + 1):
        result += added.get(number, [])
        result += lines[number : number + 1]
    text = "\n".join(result)
    return Document(text_id(text), document.name, text)
