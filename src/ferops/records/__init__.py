"""The records that stages hand on and leave for people: frozen, typed, and with a JSON Schema each (docs/schemas/).

Every JSON file of ferops is read and written through one of them. Shares lie in 0-1; classes stand in the order of the
record's own `classes`.
"""

from ferops.records.base import Record
from ferops.records.provenance import Provenance

__all__ = ["Provenance", "Record"]
