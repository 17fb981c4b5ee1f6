"""Secrets come from files: what stands on a command line can be read by everybody on the machine."""

from pathlib import Path

from django.core.management.base import CommandError


def read_secret(path):
    """The text of a file of one secret, without the blanks around it. Raises `CommandError`, never showing it."""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not text"
        raise CommandError(f"Cannot read {path}: {reason}") from None
    if not text:
        raise CommandError(f"{path} is empty.")
    return text
