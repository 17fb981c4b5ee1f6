"""The page for what no view expected."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.views import defaults

TRY_AGAIN = 30  # seconds


def server_error(request):
    """503 in words when the database is locked or does not answer, else the page of a 500; Django calls it for both."""
    if isinstance(sys.exception(), OperationalError | InterfaceError):
        return HttpResponse(render_to_string("503.html"), status=503, headers={"Retry-After": str(TRY_AGAIN)})
    return defaults.server_error(request)
