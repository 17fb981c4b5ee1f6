"""Secrets come from files, because everyone on the machine can read command lines."""

from pathlib import Path

from django.core.management.base import CommandError


def read_secret(path):
    """The secret in a file, without surrounding white space. Raises `CommandError`, which never shows the secret."""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not text"
        raise CommandError(f"Cannot read {path}: {reason}") from None
    if not text:
        raise CommandError(f"{path} is empty.")
    return text
