"""The commands of `featlas`, a few to a file. They read options, call stages or readers, and say what came out."""
