"""Where a WSGI server finds the project."""

import os

from django.core.wsgi import get_wsgi_application

from wsgibatch.integrations.django import batch

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.integrations.django_project.settings")
application = batch(get_wsgi_application())
