from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from wsgibatch import ConfigError, Settings


def hook(*arguments: object) -> None:
    """A hook that a reference can lead to."""


def test_the_defaults_are_these() -> None:
    settings = Settings()

    assert settings.path == ("/batch",)
    assert (settings.dialect, settings.executor, settings.order) == ("auto", "sequential", "barrier")
    assert (settings.max_requests, settings.max_body, settings.max_item_body, settings.max_response) == (None, None, None, 10 << 20)
    assert settings.methods == ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
    assert settings.workers >= 4
    assert (settings.durations, settings.item_cookies) == (True, False)


def test_every_setting_has_one_sentence() -> None:
    for info in fields(Settings):
        [meta] = [part for part in info.type.__metadata__ if getattr(part, "description", None)]
        assert meta.description[-1] in ".?", info.name


def test_a_lone_word_stands_for_a_list_of_one() -> None:
    settings = Settings(path="/a", methods="MERGE", deny_paths="/x")  # type: ignore[arg-type]

    assert (settings.path, settings.methods, settings.deny_paths) == (("/a",), ("MERGE",), ("/x",))


def test_a_list_of_any_kind_is_taken() -> None:
    assert Settings(path=["/a", "/b"]).path == ("/a", "/b")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": ()},
        {"path": "batch"},
        {"path": ""},
        {"path": 5},
        {"path": "*"},
        {"path": "/\ud800"},
        {"deny_paths": "/\ud800"},
        {"workers": 0},
        {"workers": -1},
        {"workers": "4"},
        {"workers": 2.5},
        {"order": "random"},
        {"max_requests": 0},
        {"max_body": -1},
        {"max_response": None},
        {"max_response": 0},
        {"methods": ["get"]},
        {"methods": ["TRACE"]},
        {"methods": ["CONNECT"]},
        {"methods": ["GET", "BAD METHOD"]},
        {"methods": ["GÉT"]},
        {"durations": "yes"},
        {"durations": False, "duration_header": "X"},
        {"allow_paths": ["admin"]},
        {"deny_paths": [""]},
        {"strip_prefix": "v1"},
        {"strip_prefix": "/v1/"},
        {"add_prefix": "v1"},
        {"add_prefix": "/"},
        {"before_item": "print"},
        {"after_item": 5},
        {"item_cookies": None},
        {"duration_header": "not a name"},
        {"duration_header": "a\r\nb"},
    ],
    ids=str,
)
def test_a_value_that_cannot_work_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="|".join(wrong)):
        Settings(**wrong)


def test_another_value_makes_another_record() -> None:
    settings = Settings(path=("/a",))

    changed = settings.replace(path="/b", workers=2)

    assert (settings.path, changed.path, changed.workers) == (("/a",), ("/b",), 2)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().workers = 5  # type: ignore[misc]


@pytest.mark.parametrize(("name", "nearest"), [("max_request", "max_requests"), ("deny_path", "deny_paths"), ("worker", "workers")])
def test_an_unknown_name_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{nearest}'"):
        Settings().replace(**{name: 5})
    with pytest.raises(ConfigError, match=f"did you mean '{nearest}'"):
        Settings.from_strings({name: "5"})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("path", "/a", ("/a",)),
        ("path", " /a, /b\n/c ", ("/a", "/b", "/c")),
        ("path", "*?comp=batch", ("*?comp=batch",)),
        ("dialect", "django", "django"),
        ("executor", " threads ", "threads"),
        ("workers", "3", 3),
        ("order", "free", "free"),
        ("max_requests", "100", 100),
        ("max_body", "10 MiB", 10 << 20),
        ("max_body", "64KiB", 64 << 10),
        ("max_response", "1GiB", 1 << 30),
        ("durations", "off", False),
        ("durations", "TRUE", True),
        ("item_cookies", "yes", True),
        ("item_cookies", "0", False),
        ("duration_header", "X-Took", "X-Took"),
        ("methods", "GET, POST MERGE", ("GET", "POST", "MERGE")),
        ("deny_paths", "", ()),
        ("strip_prefix", "", ""),
        ("strip_prefix", "/v1", "/v1"),
        ("before_item", "tests.test_settings:hook", hook),
    ],
)
def test_text_is_read_in_the_type_of_its_setting(name: str, text: str, value: object) -> None:
    assert getattr(Settings.from_strings({name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("workers", "four"),
        ("workers", ""),
        ("workers", "-4"),
        ("workers", "4.0"),
        ("workers", "\u0664"),
        ("max_body", "1 MB"),
        ("max_body", "MiB"),
        ("max_body", "1e6"),
        ("max_body", "1_000"),
        ("durations", "maybe"),
        ("durations", ""),
        ("order", "any"),
        ("path", ""),
        ("before_item", "hook"),
        ("before_item", "tests.test_settings:no_such_hook"),
    ],
)
def test_text_that_says_nothing_sensible_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigError):
        Settings.from_strings({name: text})


def test_the_environment_is_read_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSGIBATCH_MAX_REQUESTS", "7")
    monkeypatch.setenv("WSGIBATCH_DENY_PATHS", "/admin,/internal")

    settings = Settings.from_environment()

    assert (settings.max_requests, settings.deny_paths) == (7, ("/admin", "/internal"))
    assert Settings().max_requests is None


def test_another_environment_and_prefix_may_be_given() -> None:
    assert Settings.from_environment({"X_WORKERS": "3", "WSGIBATCH_WORKERS": "9"}, "X_").workers == 3


def test_an_unknown_variable_with_the_prefix_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'workers'"):
        Settings.from_environment({"WSGIBATCH_WORKER": "3"})


@given(st.sampled_from([info.name for info in fields(Settings)]), st.text(max_size=20))
def test_any_text_is_a_setting_or_is_refused(name: str, text: str) -> None:
    try:
        settings = Settings.from_strings({name: text})
    except ConfigError:
        return
    assert isinstance(settings, Settings)


def test_the_profile_and_what_makes_groups_atomic_can_be_told_as_text() -> None:
    found = Settings.from_strings({"profile": "azure-blob", "atomic": "package.module:name"})

    assert (found.profile, found.atomic) == ("azure-blob", "package.module:name")
