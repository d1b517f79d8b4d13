"""The Django project that several modules of tests share."""

from collections.abc import Iterator

import pytest

PROJECT = "tests.integrations.django_project"


@pytest.fixture(scope="session")
def made_project(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment variables of the project, its database made and two users in it.

    Django is set up once per process and keeps the database that it had then, so all modules have this one.
    """
    variables = {"DJANGO_SETTINGS_MODULE": f"{PROJECT}.settings", "NOTES_DATABASE": str(tmp_path_factory.mktemp("django") / "notes.sqlite3")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        from django.contrib.auth.models import User
        from rest_framework.authtoken.models import Token

        call_command("migrate", run_syncdb=True, verbosity=0)
        for name in ("alice", "bob"):
            Token.objects.create(user=User.objects.create(username=name), key=f"token-of-{name}")
        connections.close_all()
    return variables


@pytest.fixture(scope="module")
def environment(made_project: dict[str, str]) -> Iterator[dict[str, str]]:
    """The variables of the project, set."""
    from django.db import connections

    with pytest.MonkeyPatch.context() as patch:
        for name, value in made_project.items():
            patch.setenv(name, value)
        yield made_project
    connections.close_all()
