"""Great Expectations' Data Docs, made readable without a network, and safe to open.

The pages insert values as they are, so `checkpoints` escapes them before; and no page may run a script.

As generated, each page loads 15 scripts and stylesheets from the web and is blank without them. Its tables are plain
HTML, so a small stylesheet is all they need; only the index is drawn by a script, and gets a page of its own here.
"""

from __future__ import annotations

import re
import shutil
from html import escape
from pathlib import Path

STYLE = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 0 auto; padding: 24px 20px; color: #1b1f24; }
nav ol, nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 16px; }
table { border-collapse: collapse; width: 100%; margin: 8px 0 16px; }
th, td { text-align: left; vertical-align: top; padding: 5px 10px; border-bottom: 1px solid #dfe3e8; }
thead[hidden] { display: none; }
.alert, .card-header { background: #f6f7f9; padding: 8px 12px; margin: 16px 0 4px; border-radius: 4px; }
h4, h5, h6 { font-size: 16px; margin: 0; }
.fa-check-circle::before { content: "\\2713"; color: #17734b; font-weight: bold; }
.fa-times::before, .fa-exclamation-triangle::before { content: "\\2717"; color: #b3261e; font-weight: bold; }
.cooltip .top, .modal, .btn-group, footer { display: none; }
@media screen and (prefers-color-scheme: dark) {
  body { background: #14171a; color: #e8eaed; } a { color: #6ea3d8; }
  th, td { border-color: #333a42; } .alert, .card-header { background: #1d2126; }
}
</style>"""

_DROPPED = (
    re.compile(r"<script\b.*?</script>", re.DOTALL),
    re.compile(r"<style\b.*?</style>", re.DOTALL),
    re.compile(r"<link\b[^>]*>"),
    re.compile(r"<img\b[^>]*>"),
    re.compile(r'<div[^>]*class="[^"]*card mb-3[^"]*">.*?Failed Only.*?</div>\s*</div>\s*</div>', re.DOTALL),
    re.compile(r"<footer\b.*?</footer>", re.DOTALL),
    re.compile(r' onclick="[^"]*"'),
)

_OF_THIS_RUN = (
    re.compile(r" / \d{4}-\d\d-\d\dT[\d:]+Z(?=</li>)"),
    re.compile(r"(?<=>)(\d{4}-\d\d-\d\dT[\d:]+Z|\d{8}T\d{6}\.\d{6}Z)(?=<)"),
    re.compile(r"(?<=-collapse-body)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
)
"""Times and random names: a stage that runs twice on the same data writes the same bytes."""


def make_readable_offline(site: Path) -> None:
    """Rewrite every page below `site` so that it loads nothing: scripts, images, fonts and web styles go.

    Nothing in them says when they were made.
    """
    for page in sorted(page for page in site.rglob("*.html") if page.parent != site):
        text = page.read_text(encoding="utf-8")
        for pattern in (*_DROPPED, *_OF_THIS_RUN):
            text = pattern.sub("", text)
        text = text.replace("<head>", f"<head>\n{STYLE}", 1).replace('href="../../../../', 'href="../')
        page.unlink()
        # Great Expectations has a folder for each run; this site is of one
        _place(site, page).write_text(text, encoding="utf-8")
    for folder in (site / "validations").glob("*/"):
        shutil.rmtree(folder)
    pages = sorted(page for page in site.rglob("*.html") if page.parent != site)
    (site / "index.html").write_text(_index(site, pages), encoding="utf-8")
    shutil.rmtree(site / "static", ignore_errors=True)


def _place(site: Path, page: Path) -> Path:
    """Return where a page goes: validations/<suite>/__none__/<time>/<name>.html to validations/<suite>.html."""
    parts = page.relative_to(site).parts
    return site / "validations" / f"{parts[1]}.html" if parts[0] == "validations" else page


def _index(site: Path, pages: list[Path]) -> str:
    def links(folder: str) -> str:
        paths = [page.relative_to(site) for page in pages if page.is_relative_to(site / folder)]
        return "".join(f'<li><a href="{path}">{escape(Path(path.parts[1]).stem)}</a></li>' for path in paths)

    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Data Docs</title>\n'
        f"{STYLE}\n</head>\n<body>\n<h1>Data Docs</h1>\n<h2>Validation results</h2>\n"
        f"<ul>{links('validations')}</ul>\n"
        f"<h2>Expectation suites</h2>\n<ul>{links('expectations')}</ul>\n</body>\n</html>\n"
    )
