"""The pictures in docs/ are those that README shows and `make screenshots` takes."""

import re

from dashboard.run import BASE_DIR


def named_in(path, pattern):
    return set(re.findall(pattern, (BASE_DIR / path).read_text(encoding="utf-8")))


def test_the_pictures_in_docs_are_those_that_are_shown_and_taken():
    kept = {str(path.relative_to(BASE_DIR / "docs")) for path in (BASE_DIR / "docs").rglob("*.png")}

    assert kept != set()
    assert named_in("README.md", r"\(docs/([^)]+\.png)\)") == kept
    assert named_in("tests/browser/screenshots.py", r'"([\w/-]+\.png)"') == kept
