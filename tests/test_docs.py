"""Everything that code, tests and documents cite exists: pages, documents, links, modules and tests.

Whoever reads a code such as the name of a page finds it explained in `docs/`. Only files are read here.
"""

import os
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "manage.py").exists())
LEFT_OUT = {"var", "staticfiles", "__pycache__", "node_modules"}
READ = (".py", ".html", ".js", ".css", ".md", "Makefile")

# Pages of the provider's documentation, by the codes that docs/provider.md gives them, and what they contradict.
PAGE = re.compile(r"\b(?:(?:VN|OP|PR)-[A-Z]+|REF-[A-Z]|AUTH|ERR|PAG|[Cc]ontradiction \d+)\b")
DOCUMENT = re.compile(r"(?<![\w/.-])(?:[\w.-]+/)*[\w-]+\.md\b")
# Documents that were never part of the repository, which earlier code cited by these bare names.
OUTSIDE = "|".join(name.upper() for name in ("design", "faults", "style", "house", "tried"))
BARE_NAME = re.compile(rf"\b(?:{OUTSIDE})\b(?!\.md)")
IN_AN_ADDRESS = re.compile(r"\w+://\S*$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
MODULE = re.compile(r"(?<![\w./-])(?:purchasing(?:/\w+)+(?:\.py)?|(?:\w+/)*\w+\.py)(?![\w:])")
TEST = re.compile(r"\b(test_\w+\.py)::((?:Test\w+::)?test_\w+)")
DEFINITION = re.compile(r"^(class|def|    def) (\w+)", re.MULTILINE)


@cache
def files(root):
    """Every file that may cite something, with its text."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in LEFT_OUT and not name.startswith(".")]
        for name in names:
            if name.endswith(READ) and not name.endswith(".min.js"):
                path = Path(folder, name)
                found[path] = path.read_text(encoding="utf-8")
    return found


def documents(root):
    return {path: text for path, text in files(root).items() if path.suffix == ".md"}


def cited(root, texts, pattern, is_there):
    """Each citation that leads nowhere, as 'file:line: what'. `is_there` gets the path and the match."""
    return [
        f"{path.relative_to(root)}:{text.count(chr(10), 0, found.start()) + 1}: {found[0]}"
        for path, text in sorted(texts.items())
        for found in pattern.finditer(text)
        if not is_there(path, found)
        and not IN_AN_ADDRESS.search(text, text.rfind(chr(10), 0, found.start()) + 1, found.start())
    ]


# --- What is looked for -------------------------------------------------------------------------------------------


def pages_that_are_not_explained(root):
    """Codes of pages, and numbers of contradictions, that are in no heading and in no first cell of a table."""
    explained = set()
    for path, text in documents(root).items():
        if path.parent == root / "docs":
            entries = re.findall(r"^#+ .*|^\|[^|]*", text, re.MULTILINE)
            explained |= {code.lower() for entry in entries for code in PAGE.findall(entry)}
    return cited(root, files(root), PAGE, lambda path, found: found[0].lower() in explained)


def documents_that_do_not_exist(root):
    texts = {path: text for path, text in files(root).items() if ".md" in text}

    def is_there(path, found):
        return any((place / found[0]).is_file() for place in (root, root / "docs", path.parent))

    def is_a_document(path, found):
        return any((place / f"{found[0]}.md").is_file() for place in (root, root / "docs"))

    return cited(root, texts, DOCUMENT, is_there) + cited(root, files(root), BARE_NAME, is_a_document)


def links_that_lead_nowhere(root):
    def is_there(path, found):
        target, _, anchor = found[1].partition("#")
        if "://" in target or target.startswith("mailto:"):
            return True
        place = path.parent / target if target else path
        return place.exists() and (not anchor or anchor in anchors(place))

    texts = {path: CODE.sub(blanked, text) for path, text in documents(root).items()}
    return cited(root, texts, LINK, is_there)


def blanked(found):
    return re.sub(r"[^\n]", " ", found[0])


@cache
def anchors(path):
    """The anchors of a document's headings, as GitHub makes them."""
    made = []
    for heading in re.findall(r"^#+ +(.*)", path.read_text(encoding="utf-8"), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        made.append(f"{name}-{made.count(name)}" if name in made else name)
    return made


def modules_that_do_not_exist(root):
    """Paths of modules, from the top, from `purchasing/`, or beside the document; test modules in any folder."""
    tests = {path.name for path in files(root) if path.is_relative_to(root / "tests")}

    def is_there(path, found):
        places = (root, root / "purchasing", path.parent)
        return found[0] in tests or any(
            (place / name).exists() for place in places for name in (found[0], f"{found[0]}.py")
        )

    return cited(root, documents(root), MODULE, is_there)


def names_of_tests_that_do_not_exist(root):
    def is_there(path, found):
        return any(
            found[2] in names_of_tests(module)
            for module in files(root)
            if module.name == found[1] and module.is_relative_to(root / "tests")
        )

    return cited(root, documents(root), TEST, is_there)


@cache
def names_of_tests(module):
    """The tests of a module; those of a class with and without its name in front."""
    names, group = set(), ""
    for kind, name in DEFINITION.findall(module.read_text(encoding="utf-8")):
        if kind == "class":
            group = f"{name}::"
        elif kind == "def":
            group = ""
            names.add(name)
        else:
            names |= {name, group + name}
    return names


# --- The repository -----------------------------------------------------------------------------------------------


def test_every_page_that_is_cited_is_explained():
    assert pages_that_are_not_explained(ROOT) == []


def test_every_document_that_is_cited_exists():
    assert documents_that_do_not_exist(ROOT) == []


def test_every_link_leads_somewhere():
    assert links_that_lead_nowhere(ROOT) == []


def test_every_module_that_is_named_exists():
    assert modules_that_do_not_exist(ROOT) == []


def test_every_test_that_is_named_exists():
    assert names_of_tests_that_do_not_exist(ROOT) == []


# --- Each fault is found ------------------------------------------------------------------------------------------

SOUND = {
    "docs/provider.md": "| VN-BUY | a page |\n## Contradiction 2\n[this](#contradiction-2), [code](../buying.py)\n",
    "docs/faults.md": "`test_buying.py::test_once` `test_buying.py::TestTwice::test_it` `buying.py` provider.md\n",
    "buying.py": "# VN-BUY, contradiction 2: docs/provider.md, https://example.com/nowhere.md\n",
    "tests/deep/test_buying.py": "def test_once():\n    ...\n\n\nclass TestTwice:\n    def test_it(self): ...\n",
}
CHECKS = PAGES, DOCUMENTS, LINKS, MODULES, TESTS = [
    pages_that_are_not_explained,
    documents_that_do_not_exist,
    links_that_lead_nowhere,
    modules_that_do_not_exist,
    names_of_tests_that_do_not_exist,
]


def tree(folder, changed):
    for name, text in {**SOUND, **changed}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_sound_passes(tmp_path, check):
    assert check(tree(tmp_path, {})) == []


@pytest.mark.parametrize(
    ("check", "name", "line", "named"),
    [  # the marks ~ are taken out, which keep these from being citations of this file itself
        (PAGES, "a.py", "x = 1  # see VN~-NOWHERE", "VN~-NOWHERE"),
        (PAGES, "page.html", "{# REF~-Z #}", "REF~-Z"),
        (PAGES, "a.js", "// VN-BUY, con~tradiction 9", "con~tradiction 9"),
        (PAGES, "docs/faults.md", "PR~-NEW stands here, and not in a heading.", "PR~-NEW"),
        (DOCUMENTS, "a.css", "/* docs/nowhere.m~d */", "docs/nowhere.m~d"),
        (DOCUMENTS, "Makefile", f"# {OUTSIDE[:3]}~{OUTSIDE[3:6]} 4", OUTSIDE[:6]),
        (LINKS, "README.md", "[a](docs/nowhere)", "[a](docs/nowhere)"),
        (LINKS, "README.md", "[a](docs/provider.md#pages)", "[a](docs/provider.md#pages)"),
        (MODULES, "README.md", "in `purchasing/buying/look`", "purchasing/buying/look"),
        (MODULES, "README.md", "in `buying/look.py`", "buying/look.py"),
        (TESTS, "README.md", "`test_buying.py::test_twice`", "test_buying.py::test_twice"),
        (TESTS, "README.md", "`test_selling.py::test_once`", "test_selling.py::test_once"),
        (TESTS, "README.md", "`test_buying.py::TestOnce::test_it`", "test_buying.py::TestOnce::test_it"),
    ],
)
def test_what_leads_nowhere_is_named(tmp_path, check, name, line, named):
    written = {name: f"\n{line}\n".replace("~", "")}
    assert check(tree(tmp_path, written)) == [f"{name}:2: {named}".replace("~", "")]
