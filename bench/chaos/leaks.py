"""Searches for API keys where none may be: in the database, in logs and on pages."""

import re
from urllib.parse import urljoin, urlsplit

from django.db import connection

from purchasing.redaction import holds_secret

LINK = re.compile(r'href="(/[^"#]*)"')
NOT_FOLLOWED = ("/accounts/logout/", "/static/")


class Search:
    """Knows the secrets of the campaign, with and without their prefix, and the pattern of a key."""

    def __init__(self, secrets):
        self.parts = [part for secret in secrets for part in (secret, secret.partition("_")[2])]

    def finds_in(self, text):
        return holds_secret(text) or any(part in text for part in self.parts)

    def in_database(self):
        """`table.column` of every stored value that contains a secret."""
        found = set()
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                columns = [column[0] for column in cursor.description]
                for row in cursor:
                    found.update(
                        f"{table}.{column}"
                        for column, value in zip(columns, row, strict=True)
                        if value is not None and self.finds_in(str(value))
                    )
        return sorted(found)

    def in_files(self, paths):
        """Files that contain a secret in plain bytes."""
        return sorted(path.name for path in paths if self.finds_in(path.read_text(errors="replace")))


def crawl(window, *, most):
    """Open every page that this person can reach by links, and some that do not exist; returns how many."""
    seen, waiting = set(), ["/", "/admin/", "/nowhere/", "/requests/999999999/", "/purchases/999999999/"]
    while waiting and len(seen) < most:
        path = waiting.pop(0)
        if path in seen:
            continue
        seen.add(path)
        page = window.get(path)
        for link in LINK.findall(page.text):
            address = urljoin(page.url, link.replace("&amp;", "&"))
            parts = urlsplit(address)
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            if target not in seen and not target.startswith(NOT_FOLLOWED):
                waiting.append(target)
    return len(seen)
