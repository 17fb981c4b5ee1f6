"""All settings of Number Desk. The only place that reads the environment; `.env.example` lists every name."""

import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(env.path("ENV_FILE", default=str(BASE_DIR / ".env")))  # the environment itself wins


def is_loopback(url):
    """Whether `url` is an address of this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- What is bought, and where ------------------------------------------------------------------------------------

SANDBOX = env.bool("SANDBOX", default=False)
IDENTITYCALL_API_URL = env(
    "IDENTITYCALL_API_URL", default="https://api.identitycall.ai/api/v1/public"
).rstrip("/")
IDENTITYCALL_DASHBOARD_URL = "https://app.identitycall.ai"
if not is_loopback(IDENTITYCALL_API_URL):
    if SANDBOX:
        raise ImproperlyConfigured(
            "SANDBOX is on, but IDENTITYCALL_API_URL is not an address of this machine. "
            "Nothing real may be bought in the sandbox: set SANDBOX=off or IDENTITYCALL_API_URL=http://127.0.0.1:…"
        )
    if urlsplit(IDENTITYCALL_API_URL).scheme != "https":
        raise ImproperlyConfigured(
            "IDENTITYCALL_API_URL must begin with https://, because requests carry the API key."
        )

IDENTITYCALL_CONNECT_TIMEOUT = env.float("IDENTITYCALL_CONNECT_TIMEOUT", default=5)  # all in seconds
IDENTITYCALL_READ_TIMEOUT = env.float("IDENTITYCALL_READ_TIMEOUT", default=25)
IDENTITYCALL_DEADLINE = env.float("IDENTITYCALL_DEADLINE", default=30)
EVIDENCE_CHECK_DELAYS = env.list("EVIDENCE_CHECK_DELAYS", cast=float, default=[10, 30, 60, 60])
SETTLE_WINDOW = env.float("SETTLE_WINDOW", default=900)
RATE_LIMIT_PER_MINUTE = env.int("RATE_LIMIT_PER_MINUTE", default=60)
REQUEST_EXPIRY_DAYS = env.float("REQUEST_EXPIRY_DAYS", default=14)
REMIND_APPROVERS_AFTER_HOURS = env.float("REMIND_APPROVERS_AFTER_HOURS", default=24)
REMIND_ADMINS_AFTER_HOURS = env.float("REMIND_ADMINS_AFTER_HOURS", default=72)
CURRENCY = env("CURRENCY", default="USD")
if min(IDENTITYCALL_CONNECT_TIMEOUT, IDENTITYCALL_READ_TIMEOUT, IDENTITYCALL_DEADLINE, SETTLE_WINDOW) <= 0:
    raise ImproperlyConfigured("The IDENTITYCALL_… times and SETTLE_WINDOW must be above 0 seconds.")
if not EVIDENCE_CHECK_DELAYS or min(EVIDENCE_CHECK_DELAYS) <= 0 or RATE_LIMIT_PER_MINUTE < 1:
    raise ImproperlyConfigured("EVIDENCE_CHECK_DELAYS and RATE_LIMIT_PER_MINUTE must be above 0.")

# Seconds by which tests shift the clock of a process; ignored with the real IdentityCall.
TEST_CLOCK_OFFSET = env.float("TEST_CLOCK_OFFSET", default=0) if is_loopback(IDENTITYCALL_API_URL) else 0

# --- Secrets: no defaults -----------------------------------------------------------------------------------------

SECRET_KEY = env("SECRET_KEY")
API_KEY_ENCRYPTION_KEYS = [key.strip() for key in env.list("API_KEY_ENCRYPTION_KEYS") if key.strip()]
try:
    [Fernet(key) for key in API_KEY_ENCRYPTION_KEYS]
except ValueError:
    raise ImproperlyConfigured(
        "API_KEY_ENCRYPTION_KEYS has an entry that is not a Fernet key. Create a key with: python -c "
        "'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
    ) from None
if not API_KEY_ENCRYPTION_KEYS:
    raise ImproperlyConfigured("API_KEY_ENCRYPTION_KEYS is empty. Without it no API key can be stored.")

# The keys that sign the seals of the record, newest first; SECRET_KEY by default. If you replace SECRET_KEY, put the
# old one here.
AUDIT_SEAL_KEYS = [key.strip() for key in env.list("AUDIT_SEAL_KEYS", default=[]) if key.strip()] or [
    SECRET_KEY
]

# --- Django -------------------------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
SITE_URL = env("SITE_URL", default="http://127.0.0.1:8000").rstrip("/")
HTTPS = SITE_URL.startswith("https://")

INSTALLED_APPS = [
    "purchasing.apps.DeskAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.forms",
    "csp",
    "django_htmx",
    "django_tasks",
    "django_tasks_db",
    "purchasing",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "purchasing.middleware.SecretsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "purchasing.middleware.SessionMiddleware",
    "purchasing.middleware.LoginRequiredMiddleware",
    "purchasing.middleware.ActorMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "dashboard.urls"
WSGI_APPLICATION = "dashboard.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "purchasing.context_processors.desk",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"  # our widgets have templates in templates/
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# --- People and sessions ------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "purchasing.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "purchasing:home"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_AGE = SESSION_LIFE = 8 * 60 * 60  # seconds after which a session expires, even in use
SESSION_IDLE = 30 * 60  # seconds without a click after which a session expires
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# --- Browser security ---------------------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
    }
}
X_FRAME_OPTIONS = "DENY"
# How many proxies in front add to X-Forwarded-For. With 0, only the address of the connection counts; with https:// in
# SITE_URL that is always the proxy's, so logins are then limited by account only.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
ADDRESS_IS_OF_PROXY = HTTPS and not TRUSTED_PROXIES
if TRUSTED_PROXIES < 0:
    raise ImproperlyConfigured("TRUSTED_PROXIES must be the number of proxies: 0 or more.")
SECURE_REFERRER_POLICY = "same-origin"
if HTTPS:  # a proxy in front terminates TLS and sets X-Forwarded-Proto (README)
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
    SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 6 * 1024 * 1024  # bytes: fits 1 MB of pasted text in any form encoding

# --- Database -----------------------------------------------------------------------------------------------------

_default_file = BASE_DIR / "var" / ("sandbox.sqlite3" if SANDBOX else "db.sqlite3")
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{_default_file}")}
_database = DATABASES["default"]
_options = _database.get("OPTIONS", {})  # those of the URL
try:
    # Seconds without an answer of PostgreSQL after which web and worker close the connection.
    DATABASE_ANSWER_TIMEOUT = float(_options.pop("answer_timeout", 60))
    _turn_timeout = float(_options.pop("timeout", 20))  # seconds that a writer on SQLite waits for others
except ValueError:
    DATABASE_ANSWER_TIMEOUT = _turn_timeout = 0
if not (0 < DATABASE_ANSWER_TIMEOUT < 1e6 and 0 < _turn_timeout < 1e6):
    raise ImproperlyConfigured(
        "timeout (SQLite) and answer_timeout (PostgreSQL) in DATABASE_URL must be seconds above 0."
    )
if _database["ENGINE"] == "django.db.backends.sqlite3":
    _database["ENGINE"] = "dashboard.sqlite"
    _database["NAME"] = str(BASE_DIR / _database["NAME"])  # a relative path is below the project
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": _turn_timeout,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
    _database["TEST"] = {"NAME": str(Path(_database["NAME"]).with_suffix(".test.sqlite3"))}
else:
    _database["ENGINE"] = "dashboard.postgresql"
    _database["CONN_MAX_AGE"] = 60  # seconds
    _database["CONN_HEALTH_CHECKS"] = True
    _database["OPTIONS"] = {
        "connect_timeout": 10,  # seconds; libpq takes at least 2
        # Over TCP a server that is gone without a word is noticed within a minute, also by who only listens.
        "keepalives_idle": 30,  # seconds
        "keepalives_interval": 10,  # seconds
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,  # milliseconds
    } | _options
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The folder in which this host notes the newest event that it has seen, outside the volume of the database, so that a
# database that went back in time is noticed; None for `off`.
_state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
_mark = env("RESTORE_MARK", default="") or os.path.join(_state, "number-desk")
RESTORE_MARK = None if _mark.strip().lower() == "off" else str(BASE_DIR / os.path.expanduser(_mark))
START_STOPPED = env.bool("START_STOPPED", default=False)  # `work` stops all buying whenever it starts

# --- Queue --------------------------------------------------------------------------------------------------------

TASKS = {
    "default": {
        "BACKEND": "django_tasks_db.DatabaseBackend",
        "QUEUES": ["purchases", "evidence", "default"],
    }
}

# --- Language, time, static files, mail, logs -----------------------------------------------------------------------

LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = env("TIME_ZONE", default="UTC")
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = PLAIN_STATIC = DEBUG or SANDBOX or not HTTPS  # without collectstatic
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if PLAIN_STATIC
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))  # EMAIL_BACKEND, EMAIL_HOST and the like
EMAIL_TIMEOUT = 10  # seconds
_mail_host = urlsplit(SITE_URL).hostname or "localhost"
if is_loopback(SITE_URL) or ":" in _mail_host or _mail_host.replace(".", "").isdigit():
    _mail_host = "localhost"  # an IP address is not a mail domain
DEFAULT_FROM_EMAIL = env("MAIL_FROM", default=f"Number Desk <number-desk@{_mail_host}>")
if "@" not in DEFAULT_FROM_EMAIL or len(DEFAULT_FROM_EMAIL.splitlines()) != 1:
    raise ImproperlyConfigured("MAIL_FROM must be an address: number-desk@example.com, or Name <…>.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"no_secrets": {"()": "purchasing.redaction.RedactingFilter"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "filters": ["no_secrets"], "formatter": "line"},
    },
    "root": {"handlers": ["console"], "level": env("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django_tasks_db": {"level": "WARNING"},  # otherwise it logs every poll that finds no task
        "django.server": {"handlers": ["console"], "propagate": False},
    },
}
