"""The model that comes with ferops, which `ferops serve` starts with until a version is champion (docs/starter.md)."""
