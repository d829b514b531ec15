"""A version of the registry, or the starter, as a Bento that can be served."""
