"""How long the server takes for a whole paste, up to the page with its verdicts: `python -m bench.pasting`.

Sends a form with the largest texts allowed to the real view on a SQLite file. Then it fetches, as a browser does, the
page that it leads to and the next page of verdicts. The bound is 2 seconds of server time for each of the three. The
anchor is the time to read the text alone.
"""

import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import django
from cryptography.fernet import Fernet

BOUND = 2.0  # seconds
LINES = 10_000


def main():
    """Print a line per text; the exit status is 0 if all are within the bound."""
    with tempfile.TemporaryDirectory(prefix="number-desk-bench-") as folder:
        os.environ |= {
            "ENV_FILE": os.devnull,
            "SECRET_KEY": "a secret of the benchmark alone",
            "API_KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "IDENTITYCALL_API_URL": "http://127.0.0.1:9/api/v1/public",
            "DATABASE_URL": f"sqlite:///{Path(folder) / 'bench.sqlite3'}",
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
            "ALLOWED_HOSTS": "testserver",
            "LOG_LEVEL": "ERROR",
        }
        django.setup()
        return _measure()


def _measure():
    from django.core.management import call_command
    from django.test import Client

    from purchasing import audit
    from purchasing.teams import members, teams

    call_command("migrate", verbosity=0)
    actor = audit.system("bench")
    team = teams.create_team("Support", actor=actor)
    sam = members.set_member(
        "sam", role="requester", password="a password of the benchmark", team=team, actor=actor
    )
    client = Client()
    client.force_login(sam)
    client.get("/paste/")  # loads what is loaded only once
    slowest = 0.0
    print("   paste   verdicts   next page   reading alone")
    for name, fields, alone in texts():
        taken = []
        sent, seconds = timed(lambda fields=fields: client.post("/paste/", fields))
        taken.append(seconds)
        assert sent.status_code == 302, (name, sent.status_code)
        for address in (sent["Location"], f"{sent['Location']}?page=2"):
            page, seconds = timed(lambda address=address: client.get(address))
            taken.append(seconds)
            assert page.status_code == 200
        slowest = max(slowest, *taken)
        print("{:7.3f} s {:7.3f} s {:8.3f} s {:12.3f} s   {}".format(*taken, alone, name))
    verdict = "within" if slowest < BOUND else "BEYOND"
    print(f"{verdict} the bound of {BOUND} s: the slowest answer took {slowest:.3f} s")
    return 0 if slowest < BOUND else 1


def timed(work):
    """The result of `work()`, and the seconds of CPU time that it took in this process."""
    began = time.process_time()
    result = work()
    return result, time.process_time() - began


def texts():
    """The name, the form fields and the bare reading time of each text."""
    from django.core.files.uploadedfile import SimpleUploadedFile

    from bench.candidates import offers
    from purchasing import pasting
    from purchasing.pasting import files

    plain = "\n".join(f"+4930{1230000 + place}" for place in range(LINES))
    national = "\n".join(f"030 {1230000 + place}" for place in range(LINES))
    answer = json.dumps({"data": offers(4000)})
    cells = "number\tcountry\ttype\n" + "\n".join(
        f"+1202{5550000 + place}\tUS\tlocal" for place in range(LINES - 1)
    )
    for name, text, country in (
        ("10,000 lines", plain, ""),
        ("10,000 lines, national", national, "DE"),
        ("10,000 rows of cells", cells, ""),
        ("4,000 offers, JSON of 1 MB", answer, ""),
    ):
        _, alone = timed(lambda text=text, country=country: pasting.read(text, default_country=country))
        yield name, {"text": text, "country_code": country}, alone
    book = workbook(cells)
    _, alone = timed(lambda: pasting.read(files.text_of(io.BytesIO(book))))
    yield "10,000 rows, .xlsx", {"text": "", "file": SimpleUploadedFile("numbers.xlsx", book)}, alone


def workbook(cells):
    """A workbook with these cells."""
    from openpyxl import Workbook

    book = Workbook()
    for line in cells.split("\n"):
        book.active.append(line.split("\t"))
    held = io.BytesIO()
    book.save(held)
    return held.getvalue()


if __name__ == "__main__":
    sys.exit(main())
