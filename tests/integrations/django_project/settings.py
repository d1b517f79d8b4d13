"""A small project as people have them: sessions, CSRF, users, Django REST Framework with two ways to authenticate, and a database or two.

``NOTES_DATABASE`` is a file for SQLite, or the url of a PostgreSQL; ``NOTES_OTHER_DATABASE`` likewise.
"""

import os
from pathlib import PosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit


class _File(PosixPath):
    """The file that an environment variable names whenever a connection is made: test modules that share a process have a database each."""

    def __fspath__(self) -> str:
        return os.environ[str(self)]


def database(variable: str) -> dict[str, Any]:
    """The database that an environment variable names."""
    url = urlsplit(os.environ[variable])
    made = {
        "CONN_MAX_AGE": int(os.environ.get("NOTES_CONN_MAX_AGE", "0")),
        "ATOMIC_REQUESTS": os.environ.get("NOTES_ATOMIC_REQUESTS") == "yes",
    }
    if url.scheme.startswith("postgresql"):
        [host] = parse_qs(url.query)["host"]
        return {**made, "ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username, "HOST": host}
    # Writers that wait for each other are no failure, however slow the machine is.
    return {**made, "ENGINE": "django.db.backends.sqlite3", "NAME": _File(variable), "OPTIONS": {"timeout": 30}}


SECRET_KEY = "of no worth outside the tests"
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "tests.integrations.django_project.urls"
WSGI_APPLICATION = "tests.integrations.django_project.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
# The logging of the process that runs the tests stays as it is.
LOGGING_CONFIG = None
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "rest_framework",
    "rest_framework.authtoken",
    "wsgibatch.integrations.django.BatchConfig",
    "tests.integrations.django_project",
]
MIDDLEWARE = [
    "tests.integrations.django_project.views.stamp",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
DATABASES = {
    alias: database(variable) for alias, variable in {"default": "NOTES_DATABASE", "other": "NOTES_OTHER_DATABASE"}.items() if variable in os.environ
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "rest_framework.authentication.TokenAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
WSGIBATCH = {
    "executor": os.environ.get("NOTES_EXECUTOR", "sequential"),
    "workers": 4,
    "atomic": "wsgibatch.integrations.django:atomic",
}
