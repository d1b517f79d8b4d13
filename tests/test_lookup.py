import pytest

from wsgibatch import ConfigError, _lookup, dialects, executors
from wsgibatch.dialects.django import DjangoDialect
from wsgibatch.executors.threads import ThreadsExecutor


def test_members_are_the_files_of_a_family_without_its_machine_room() -> None:
    found = _lookup.members(dialects)

    assert {"auto", "django", "aggregator"} <= set(found)
    assert found == sorted(found)
    assert not [word for word in found if word.startswith("_")]


def test_a_word_stands_for_the_class_named_after_it_and_its_family() -> None:
    assert _lookup.member(dialects, "django") is DjangoDialect
    assert _lookup.member(executors, "threads") is ThreadsExecutor


@pytest.mark.parametrize("family", [dialects, executors])
def test_every_member_of_a_family_has_its_class(family: object) -> None:
    for word in _lookup.members(family):  # type: ignore[arg-type]
        assert isinstance(_lookup.member(family, word), type)  # type: ignore[arg-type]


def test_a_word_that_is_nearly_known_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'djano' is none of the dialects \(did you mean 'django'\?\)"):
        _lookup.member(dialects, "djano")


@pytest.mark.parametrize("word", ["xyz", "", "_json", "os", "..django", "django.DjangoDialect"])
def test_a_word_that_is_not_known_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="none of the dialects"):
        _lookup.member(dialects, word)


def test_a_reference_leads_to_an_object() -> None:
    assert _lookup.named("wsgibatch.dialects.django:DjangoDialect") is DjangoDialect
    assert _lookup.named("wsgibatch.dialects.django:DjangoDialect.decode") is DjangoDialect.decode


@pytest.mark.parametrize(
    "reference", ["", ":", "a:", ":a", "wsgibatch", "no.such.module:name", "wsgibatch:no_such_name", "wsgibatch:Settings.nothing"]
)
def test_a_reference_that_leads_nowhere_is_refused(reference: str) -> None:
    with pytest.raises(ConfigError, match="should be written|cannot be found"):
        _lookup.named(reference)
