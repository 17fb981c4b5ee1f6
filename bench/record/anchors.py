"""The anchors of the measurements: Django's admin over the same rows, bare loops, the database's own copy.

None is optimised and none is slowed down: each is the obvious code without this product.
"""

import csv
import hashlib
import io
import time

from django.contrib import admin
from django.db import connection, models
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import include, path

from purchasing.audit.chain import columns as hashed_columns
from purchasing.audit.export import _sql
from purchasing.models import AuditEvent

BATCH = 1000  # rows read at once, as in our export


# --- Django's admin over the same rows ----------------------------------------------------------------------------


class Plain(admin.ModelAdmin):
    """A usual admin: a page of 50, the usual columns, search and filters."""

    list_display = ["seq", "at", "actor_name", "action", "phone_number", "request", "team", "note"]
    list_select_related = ["request", "team"]
    list_filter = ["action", "team"]
    search_fields = ["phone_number", "actor_name", "note"]
    list_per_page = 50
    ordering = ["-seq"]


class Site(admin.AdminSite):
    def has_permission(self, request):
        return True


site = Site(name="plain")
site.register(AuditEvent, Plain)
COLUMNS = [field.attname for field in AuditEvent._meta.concrete_fields]


def naive_csv(request):
    """The naive export: all rows, then the file."""
    response = HttpResponse(content_type="text/csv")
    writer = csv.writer(response)
    for event in AuditEvent.objects.order_by("-seq"):
        writer.writerow([getattr(event, name) for name in COLUMNS])
    return response


class Echo:
    def write(self, value):
        return value


def streaming_csv(request):
    """The export of Django's documentation, with `iterator()`."""
    writer = csv.writer(Echo())
    events = AuditEvent.objects.order_by("-seq").iterator(chunk_size=2000)
    return StreamingHttpResponse(
        (writer.writerow([getattr(event, name) for name in COLUMNS]) for event in events),
        content_type="text/csv",
    )


urlpatterns = [path("plain/", site.urls), path("", include("dashboard.urls"))]


# --- Limits ---------------------------------------------------------------------------------------------------------


def bare_csv():
    """The same rows and columns from a raw cursor in keyset batches, by Python's csv: `(first byte, all)` in s."""
    began, first = time.perf_counter(), None
    for _ in StreamingHttpResponse(_bare_pieces(), content_type="text/csv"):
        first = first or time.perf_counter() - began
    return first, time.perf_counter() - began


def _bare_pieces():
    sql = f"SELECT {_sql(True)} FROM {AuditEvent._meta.db_table} e WHERE e.seq < %s ORDER BY e.seq DESC LIMIT {BATCH}"
    text, bound = io.StringIO(), 2**62
    writer = csv.writer(text)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(sql, [bound])
            rows = cursor.fetchall()
        if not rows:
            return
        text.seek(0)
        text.truncate()
        writer.writerows(rows)
        yield text.getvalue()
        bound = rows[-1][0]


def copied():
    """PostgreSQL's own COPY of the table through psycopg, in s; None on SQLite."""
    if connection.vendor != "postgresql":
        return None
    began = time.perf_counter()
    sql = f"COPY (SELECT * FROM {AuditEvent._meta.db_table} ORDER BY seq DESC) TO STDOUT WITH CSV"
    with connection.cursor() as cursor, cursor.copy(sql) as copy:
        for _ in copy:
            pass
    return time.perf_counter() - began


def bare_hashing():
    """Reading what is hashed, and hashing as many bytes, in a bare loop, in s."""
    began, seq = time.perf_counter(), 0
    sql = f"SELECT {', '.join(hashed_columns(connection.vendor))} FROM {AuditEvent._meta.db_table} "
    place = hashed_columns(connection.vendor).index("seq")
    while True:
        with connection.cursor() as cursor:
            cursor.execute(f"{sql} WHERE seq > %s ORDER BY seq LIMIT {BATCH}", [seq])
            rows = cursor.fetchall()
        if not rows:
            return time.perf_counter() - began
        for row in rows:
            hashlib.sha256(",".join([str(value) for value in row]).encode()).hexdigest()
        seq = rows[-1][place]


def bare_page():
    """The raw keyset query of a deep page."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT * FROM {AuditEvent._meta.db_table} WHERE seq < %s ORDER BY seq DESC LIMIT 50", [500_000]
        )
        return cursor.fetchall()


# --- A bare insert --------------------------------------------------------------------------------------------------


def _bare(field):
    """A column like that of `field`, without an index or a foreign key."""
    if field.primary_key:
        return models.BigIntegerField(primary_key=True)
    if isinstance(field, models.ForeignKey):
        return models.BigIntegerField(null=True, db_column=field.column)
    if isinstance(field, models.CharField):
        return models.CharField(max_length=field.max_length)
    return type(field)()


BareEvent = type(
    "BareEvent",
    (models.Model,),
    {
        "__module__": __name__,
        "__doc__": "The columns of an event, in a table with nothing but its primary key.",
        "Meta": type("Meta", (), {"app_label": "bench", "db_table": "bench_event"}),
        **{field.attname: _bare(field) for field in AuditEvent._meta.concrete_fields},
    },
)


def make_bare_table():
    """The table for `BareEvent`, empty."""
    with connection.schema_editor() as editor:
        if BareEvent._meta.db_table in connection.introspection.table_names():
            editor.delete_model(BareEvent)
        editor.create_model(BareEvent)
