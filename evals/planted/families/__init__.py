"""Families of concepts, one file each (METHODS: lexicon, morphology, regular expressions, syntax, position, ...).

A file defines `create() -> Sequence[Concept]`: at least six concepts, in an order in which each is the sibling of the one
before. Lists of words and sentences are our own. The text between `{x}` and the rest of a sentence is what windows of
other concepts look like too, so that no sentence gives its concept away.
"""
