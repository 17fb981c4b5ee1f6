"""A Chromium for the browser tests: one that is there, else one from apt, else one from playwright.

`python -m tests.browser.chromium` prints where it is, after getting one if need be.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SHELL = "chromium-headless-shell"  # Debian's Chromium without windows
NAMES = (SHELL, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APT = {"DEBIAN_FRONTEND": "noninteractive", **os.environ}


class NoChromium(RuntimeError):
    """There is none; the text says what to do."""

    def __init__(self):
        super().__init__(
            "The browser tests need Chromium, and none could be had. Install one (Debian: apt-get install chromium; "
            "anywhere: .venv/bin/python -m playwright install --with-deps chromium), or name one: "
            "make test CHROMIUM=/path/to/chromium. To leave these tests out: make test BROWSER=0"
        )


def find():
    """The path of a Chromium that starts, or None. If CHROMIUM names one, only that one is tried."""
    if named := os.environ.get("CHROMIUM"):
        return named if _starts(named) else None
    for name in NAMES:
        path = shutil.which(name)
        if path and _starts(path):
            return path
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if _starts(path) else None


def get():
    """The path of a Chromium that starts, installed if necessary. Raises `NoChromium`.

    In a container (as root, with apt) the one without windows is fetched, which takes a third of the time.
    """
    path, may_apt = find(), os.geteuid() == 0 and shutil.which("apt-get")
    if may_apt and not os.environ.get("CHROMIUM") and not (path and Path(path).name == SHELL):
        print("Getting Chromium from apt …", flush=True)
        for package in (SHELL, "chromium"):
            if path is None or package == SHELL:
                _run("apt-get", "-qq", "update", patience=60)
                _run("apt-get", "-qq", "install", "-y", "--no-install-recommends", package, patience=120)
                path = find()
    if path is None and not os.environ.get("CHROMIUM"):
        print("Getting Chromium from playwright …", flush=True)
        options = ["--with-deps"] if may_apt else []
        _run(sys.executable, "-m", "playwright", "install", *options, "chromium", patience=900)
        path = find()
    if path is None:
        raise NoChromium
    return path


def _starts(path):
    """False for a wrapper that only says 'install the snap'."""
    if not Path(path).is_file():
        return False
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.returncode == 0 and "Chrom" in told.stdout


def _run(*command, patience):
    """Run it; its output is shown only when it fails, which is not the end: there may be another way."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=APT, timeout=patience)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{' '.join(command)}: {error}", file=sys.stderr)
        return
    if done.returncode:
        print(f"{' '.join(command)}:\n{(done.stderr or done.stdout).strip()[-2000:]}", file=sys.stderr)


if __name__ == "__main__":
    try:
        print(get())
    except NoChromium as problem:
        sys.exit(str(problem))
