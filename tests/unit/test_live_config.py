"""The configuration of a command that runs for long, and secrets that change meanwhile."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from assetbatch.cli import live_config
from assetbatch.cli.context import Options
from assetbatch.cli.live_config import LiveConfig
from assetbatch.config.secret_commands import AGAIN_SECONDS
from assetbatch.errors import DatabaseError, RedisError, UnreachableError

CONFIG = "priority_assets: [{symbol: XAUUSD}]\nredis: {url: 'redis://127.0.0.1:1/0'}\n"


@pytest.mark.parametrize("kind", [RedisError, DatabaseError])
def test_a_secret_is_asked_for_again_after_a_refused_login(
    kind: type[UnreachableError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a minute at most: whoever gives the secret may count the questions."""
    (tmp_path / "config.yml").write_text(CONFIG)
    monkeypatch.setenv("REDIS_PASSWORD_COMMAND", f"cat {tmp_path}/secret")
    now = [100.0]
    monkeypatch.setattr(live_config, "monotonic", lambda: now[0])
    refused = kind("the server refuses the login")
    refused.is_login_refused = True

    def password(live: LiveConfig) -> bool:
        return "new" in live.current().require_redis().reveal()

    def ask(live: LiveConfig, error: UnreachableError) -> None:
        with suppress(RedisError), live.services() as services:
            if isinstance(error, DatabaseError):  # which a document reports, and goes on
                services._store_error = error
            else:
                raise error

    (tmp_path / "secret").write_text("old")
    with LiveConfig(Options(config=tmp_path / "config.yml")) as live:
        assert not password(live)
        (tmp_path / "secret").write_text("new")
        for error, seconds, is_new in (
            (kind("nothing listens there"), 2 * AGAIN_SECONDS, False),
            (refused, 0, True),
        ):
            ask(live, error)
            now[0] += seconds
            assert password(live) is is_new
        (tmp_path / "secret").write_text("old")
        ask(live, refused)
        now[0] += AGAIN_SECONDS - 1
        assert password(live)
        now[0] += 2
        assert not password(live)
