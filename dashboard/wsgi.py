"""The WSGI application that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
application = get_wsgi_application()

from purchasing import startup  # noqa: E402 (needs the applications that the line above loads)

startup.limit_waiting()
startup.refuse_wrong_database()
startup.log_unreadable_keys()
