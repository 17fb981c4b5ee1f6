"""What `make test` and `make quick` run is there: a module that gets another name is not left out in silence."""

import re
from pathlib import Path

from tests import run
from tests.conftest import CORE

FOLDER = Path(__file__).parent


def test_every_module_that_is_core_exists_once():
    stems = [path.stem for path in FOLDER.rglob("test_*.py") if path.parent.name != "browser"]
    assert {stem: stems.count(stem) for stem in CORE} == dict.fromkeys(CORE, 1)


def test_every_path_that_the_checks_name_exists(tmp_path):
    arguments = [word for lane in run.lanes(tmp_path) for _, _, words in lane for word in words]
    named = {word.removeprefix("--ignore=") for word in arguments if "tests/" in word}
    assert run.CAMPAIGN in named and set(run.COVERED) <= named
    assert [path for path in named if not (run.BASE_DIR / path).exists()] == []


def test_every_module_whose_lines_are_counted_exists():
    for option in run.SPENDING:
        path = re.sub(r"^--cov=", "", option).replace(".", "/")
        assert (run.BASE_DIR / f"{path}.py").exists()
