"""Ask the OSV database whether a known vulnerability concerns a package that requirements.lock pins.

    make audit

Exit status 1: there is one that .ci/audit-ignore.txt does not list. Where the database cannot be reached nothing is
checked, and the only line says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
OSV_URL = "https://api.osv.dev/v1/query"
ANSWER_S = 10
LIMIT_S = 300


def main(url: str) -> int:
    if problem := unreachable(url):
        print(f"audit: skipped, nothing was checked: {url} cannot be reached ({problem})")
        return 0
    ignored = [f"--ignore-vuln={name}" for name in reasons(ROOT / ".ci" / "audit-ignore.txt")]
    lock = ["--requirement", str(ROOT / "requirements.lock"), "--disable-pip", "--require-hashes"]
    osv = ["--vulnerability-service", "osv", "--osv-url", url, "--progress-spinner", "off"]
    audit = [sys.executable, "-m", "pip_audit", *lock, *osv, *ignored]
    return subprocess.run(audit, check=False, timeout=LIMIT_S).returncode


def unreachable(url: str) -> str:
    """Return why the database does not answer, or nothing."""
    question = json.dumps({"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "26.3"}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, question), timeout=ANSWER_S) as answer:
            json.load(answer)
    except (OSError, ValueError) as error:  # URLError and HTTPError are OSErrors
        return str(getattr(error, "reason", error))
    return ""


def reasons(path: Path) -> dict[str, str]:
    """Return the reason for each vulnerability that is accepted: a line `ID reason`, and `#` for comments."""
    lines = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    entries = [words for words in lines if not words[0].startswith("#")]
    if short := [words[0] for words in entries if len(words) < 2]:
        raise SystemExit(f"{path} gives no reason for {', '.join(short)}. Write one after each ID")
    return dict(entries)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else OSV_URL))
