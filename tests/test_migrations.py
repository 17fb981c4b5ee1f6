"""What migrations make of records that stand already."""

import os
import subprocess
import sys

SCRIPT = """
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

now = timezone.now()
call_command("migrate", "purchasing", "0010", verbosity=0)
old = MigrationExecutor(connection).loader.project_state(("purchasing", "0010_label_of_approved")).apps
Team, ApiKey, VirtualNumber, OwnedRead, OfferLook, Purchase, Request, User = (
    old.get_model("purchasing", name)
    for name in (
        "Team", "ApiKey", "VirtualNumber", "OwnedRead", "OfferLook", "Purchase", "PurchaseRequest", "User",
    )
)
def key_of(team, secret, **fields):
    return ApiKey.objects.create(team=team, secret=secret, last_four="1234", **fields)

first, second = (Team.objects.create(name=name, slug=name) for name in ("support", "sales"))
a = key_of(first, "idc_" + "a" * 32, refused_at=now, rate_per_minute=300)
b = key_of(second, "idc_" + "a" * 32)
wiped = key_of(first, None, retired_at=now)
for key, seq, gone in ((a, 5, now), (b, 3, None)):
    VirtualNumber.objects.create(
        key=key, provider_id=1, phone_number="+12125550101", first_seen_seq=seq, first_seen_at=now, gone_at=gone
    )
VirtualNumber.objects.create(
    key=a, provider_id=2, phone_number="+12125550102", first_seen_seq=5, first_seen_at=now, gone_at=now
)
OwnedRead.objects.create(key=a, began_after=7, began_at=now, ended_at=now, whole=True, well_formed=True)
OfferLook.objects.create(key=a, country_code="US", number_type="local")
asked = Request.objects.create(team=first, requester=User.objects.create(username="sam"), reason="x")
Purchase.objects.create(
    request=asked, phone_number="+12125550102", state="purchased", provider_id=2, released_at=now
)

call_command("migrate", verbosity=0)
from purchasing.models import ApiKey, Credential, OwnedRead, VirtualNumber

shared = ApiKey.objects.get(pk=a.pk).credential
assert ApiKey.objects.get(pk=b.pk).credential == shared != ApiKey.objects.get(pk=wiped.pk).credential
assert shared == Credential.objects.of("idc_" + "a" * 32)
assert ApiKey.objects.get(pk=a.pk).secret == "idc_" + "a" * 32
rows = {row.provider_id: row for row in VirtualNumber.objects.filter(credential=shared)}
assert (rows[1].first_seen_seq, rows[1].gone_at) == (3, None), rows[1].first_seen_seq
assert rows[2].confirmed_gone_at is not None
read = OwnedRead.objects.get()
assert (read.credential, read.complete, read.well_formed, read.seq) == (shared, False, True, 7)
print("whole")
"""


def test_keys_that_stand_already_are_given_the_credential_of_their_secret(tmp_path):
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{tmp_path}/old.sqlite3",
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "whole"), done.stderr
