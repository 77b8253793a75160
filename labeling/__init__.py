"""From a dictionary to labels: sources, corpora, sampling, contexts, explainers, the store. Imports none of the other packages."""
