"""A small project as people have them: sessions, CSRF, users, Django REST Framework with two ways to authenticate, and SQLite in a file."""

import os

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
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["NOTES_DATABASE"],
        "CONN_MAX_AGE": int(os.environ.get("NOTES_CONN_MAX_AGE", "0")),
    }
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "rest_framework.authentication.TokenAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
WSGIBATCH = {"executor": os.environ.get("NOTES_EXECUTOR", "sequential"), "workers": 4}
