"""Package a version of the registry, or the starter model, as a Bento."""
