"""The same requests in one batch, through the view of django-batch-requests, on the Django and the Python of ours.

It needs Python 2 and Django 1.8; here it is given what it misses, and nothing of its own is changed. It resolves and calls views itself, so no
middleware of the app is run for an item.
"""

import importlib
import json
import sys
from types import SimpleNamespace
from typing import Any

from .. import apps
from ..measure import Checked
from ..posting import Answer, poster
from ..work import Work

PACKAGES = ("django-batch-requests==0.1.1", "Django==5.2.19")


def prepare(app: Any, work: Work, **own: Any) -> Checked[Answer]:
    """One call of *app*, the one of :mod:`benchmarks.apps.django`, with a bare list of requests.

    :param own: settings of its own, which count for the first that is prepared in a process.
    :raises RuntimeError: when the batch or one of its items is not answered as it should be.
    """
    from django.urls import path

    patterns = apps.load("django").urlpatterns
    patterns.append(path(work.target.removeprefix("/"), _view({"MAX_LIMIT": sys.maxsize, **own})))
    return poster(app, app, work)


def _view(own: dict[str, Any]) -> Any:
    """Its view, in a world with what is gone."""
    import django.urls
    from django.conf import settings
    from django.http import HttpResponse

    settings.BATCH_REQUESTS = own
    sys.modules.setdefault("django.utils.importlib", importlib)
    sys.modules.setdefault("django.core.urlresolvers", django.urls)
    HttpResponse._headers = property(lambda response: {name.lower(): (name, value) for name, value in response.items()})
    from batch_requests import views

    # In Python 2 bytes are a str.
    views.json = SimpleNamespace(loads=json.loads, dumps=lambda answers: json.dumps(answers, default=bytes.decode))
    return views.handle_batch_requests
