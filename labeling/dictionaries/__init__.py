"""Dictionaries: from files on disk to an encoder. One file a format; `load` finds the format by looking at the folder."""
