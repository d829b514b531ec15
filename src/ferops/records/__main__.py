"""`python -m ferops.records docs`: write the JSON Schemas of all records and the page that lists them."""

import sys
from pathlib import Path

from ferops.records.schemas import write

if len(sys.argv) != 2:
    sys.exit("usage: python -m ferops.records FOLDER  (docs, in the repository)")
for path in write(Path(sys.argv[1])):
    print(path)
