"""The addresses of the services to notify: what is accepted, and what of them is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from assetbatch.config import NotifyUrls, load
from assetbatch.config.display import effective
from assetbatch.errors import ConfigError

MARK = "m4rkedT0ken9"


def revealed(urls: NotifyUrls | None) -> list[str]:
    return [url.reveal() for url in urls or ()]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ntfy://topic", ["ntfy://topic"]),
        (["ntfy://topic", "slack://a/b/c/#x"], ["ntfy://topic", "slack://a/b/c/#x"]),
        ("ntfy://a, slack://b/c", ["ntfy://a", "slack://b/c"]),
        ("ntfy://a\nmailtos://u:p@h?to=a@b,c@d\n", ["ntfy://a", "mailtos://u:p@h?to=a@b,c@d"]),
        ("json://a?x=http://b,", ["json://a?x=http://b"]),
        ([], []),
    ],
)
def test_one_url_or_several_are_taken(value: object, expected: list[str]) -> None:
    assert revealed(NotifyUrls.parse(value)) == expected


@pytest.mark.parametrize(
    "value", [MARK, f"{MARK}:/x", f"ntfy://{MARK} x", "", 5, None, {"a": 1}, [5], [MARK]]
)
def test_anything_else_is_refused_without_being_shown(value: object) -> None:
    with pytest.raises(ValueError, match="expected a URL of apprise") as refused:
        NotifyUrls.parse(value)
    assert MARK not in str(refused.value)


def test_a_wrong_url_of_several_is_named_by_its_place() -> None:
    with pytest.raises(ValueError, match=r"\(URL 2 of 3\)"):
        NotifyUrls.parse(["ntfy://a", "b", "ntfy://c"])


def test_only_the_service_is_shown() -> None:
    urls = NotifyUrls.parse([f"slack://{MARK}/b", f"{MARK}://x", f"NTFY://{MARK}"])
    assert str(urls) == "slack://***, ***://***, ntfy://***"
    assert MARK not in repr(urls) + repr(list(urls))
    assert urls.names() == ["slack (URL 1 of 3)", "*** (URL 2 of 3)", "ntfy (URL 3 of 3)"]
    assert NotifyUrls.parse("ntfy://a").names() == ["ntfy"]


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("notify: ntfy://file\n")
    assert revealed(load(None, {}, cwd=tmp_path).notify) == ["ntfy://file"]
    config = load(None, {"ASSETBATCH_NOTIFY_URLS": "ntfy://env slack://b/c"}, cwd=tmp_path)
    assert revealed(config.notify) == ["ntfy://env", "slack://b/c"]
    (line,) = [line for line in effective(config) if line.path == "notify"]
    assert (line.value, line.origin) == ("ntfy://***, slack://***", "env ASSETBATCH_NOTIFY_URLS")


def test_a_sandbox_notifies_nobody(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("notify: ntfy://file\n")
    env = {"ASSETBATCH_NOTIFY_URLS": "ntfy://env"}
    assert load(None, env, cwd=tmp_path, sandbox=True).notify is None


@pytest.mark.parametrize(
    "text", ["queue: 5\nnotify: ntfy://file\n", "notify: ntfy://file\nqueue: {max_size: 0}\n"]
)
def test_a_mistake_elsewhere_leaves_whom_to_notify_of_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(None, {}, cwd=tmp_path)
    assert revealed(raised.value.notify) == ["ntfy://file"]


def test_a_file_that_cannot_be_read_leaves_whom_the_environment_names(tmp_path: Path) -> None:
    env = {"ASSETBATCH_NOTIFY_URLS": "ntfy://env"}
    for text in (None, "a: ["):
        if text:
            (tmp_path / "config.yml").write_text(text)
        with pytest.raises(ConfigError) as raised:
            load(tmp_path / "config.yml", env, cwd=tmp_path)
        assert revealed(raised.value.notify) == ["ntfy://env"]
