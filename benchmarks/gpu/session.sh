#!/usr/bin/env bash
# Run benchmarks/gpu/session.py on a bare machine: Python 3.12 with PyTorch, torchvision, safetensors and NumPy, no
# network. Call it anywhere; $OUT (or --out) takes figures.json, table.md, log.txt and weights. $PACKED is what pack.py
# wrote, $PYTHON the interpreter. Options: --help.
#
#     OUT=/tmp/out bash benchmarks/gpu/session.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
packed=${PACKED:-$here/packed}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
for wheel in "$packed"/wheels/*.whl; do
    if [ -e "$wheel" ]; then "$python" -m zipfile -e "$wheel" "$site"; fi
done
export PYTHONPATH="$site:$root/src:$root/benchmarks:$here${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
"$python" "$here/session.py" --pack "$packed" ${OUT:+--out "$OUT"} "$@"
