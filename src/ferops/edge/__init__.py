"""`ferops convert`: a model as a file for phones, browsers, boards and other runtimes (docs/edge.md)."""
