"""Which files `setup` writes: from nothing, and into what a person has written."""

from __future__ import annotations

from pathlib import Path

import pytest

from assetbatch.config import Config, DatabaseUrl, RedisUrl, load
from assetbatch.config.dotenv import parse_dotenv
from assetbatch.config.loading import Unwritten
from assetbatch.config.reading import ConfigFile
from assetbatch.config.settings import SECTIONS
from assetbatch.errors import ConfigError
from assetbatch.secret import Secret
from assetbatch.setup.files import (
    Answers,
    Planned,
    Present,
    built_in_text,
    least_of,
    plan,
    with_variables,
)
from assetbatch.setup.given import Given, answers_of, without_shell

FILE = Path("/made/up/config.yml")
WITH_PASSWORD = DatabaseUrl.parse("postgresql://me:made-up-password@host:5432/name")
ALL = Answers(
    api_key=Secret("made-up-key"),
    tier="starter",
    database=WITH_PASSWORD,
    redis=RedisUrl.parse("redis://host:6379/0"),
    base_url="http://127.0.0.1:8300",
    priority=("BTCUSD", "XAUUSD"),
    secondary=("GBPUSD", "GOLD=C:XAUEUR"),
)


def loaded(planned: Planned) -> Config:
    file = ConfigFile(FILE, str(FILE), planned.config.encode())
    return load(FILE, {}, cwd=FILE.parent, unwritten=Unwritten(file, planned.variables))


def texts(planned: Planned) -> dict[str, str]:
    return {file.path.name: file.text for file in planned.files}


class TestFromNothing:
    def test_means_what_was_answered(self) -> None:
        config = loaded(plan(FILE, ALL, Present()))
        assert config.require_api_key().reveal() == "made-up-key"
        assert config.require_database().reveal() == WITH_PASSWORD.reveal()
        assert config.require_redis().reveal() == "redis://host:6379/0"
        assert (config.rate_limiting.tier, config.provider.base_url) == ("starter", "http://127.0.0.1:8300")
        assert [asset.symbol for asset in config.priority_assets] == ["BTCUSD", "XAUUSD"]
        assert [(asset.symbol, asset.polygon_ticker) for asset in config.secondary_assets] == [
            ("GBPUSD", "C:GBPUSD"),
            ("GOLD", "C:XAUEUR"),
        ]

    def test_takes_the_three_priority_assets_and_no_others(self) -> None:
        config = loaded(plan(FILE, Answers(), Present()))
        assert [asset.symbol for asset in config.assets] == ["XAUUSD", "EURUSD", "BTCUSD"]

    def test_keeps_the_comments_of_the_shipped_file(self) -> None:
        comments = [line for line in built_in_text().splitlines() if line.lstrip().startswith("#")]
        assert set(comments) <= set(plan(FILE, ALL, Present()).config.splitlines())

    def test_writes_the_configuration_last(self) -> None:
        assert [file.path.name for file in plan(FILE, ALL, Present()).files] == [
            "api_key",
            "db_password",
            ".env",
            "config.yml",
        ]

    def test_keeps_secrets_in_files_that_only_the_owner_can_read(self) -> None:
        for file in plan(FILE, ALL, Present()).files:
            has_secret = "made-up-key" in file.text or "made-up-password" in file.text
            assert has_secret == file.is_secret, file.path
            assert file.mode == (0o644 if file.path == FILE else 0o600)

    def test_names_the_secrets_in_the_dotenv(self) -> None:
        assert parse_dotenv(texts(plan(FILE, ALL, Present()))[".env"]) == {
            "POLYGON_API_KEY_FILE": "api_key",
            "DB_PASSWORD_FILE": "db_password",
        }

    @pytest.mark.parametrize(
        ("url", "in_the_open", "password"),
        [
            ("postgresql://me:a%40b@h/x?sslmode=require", "postgresql://me@h/x?sslmode=require", "a@b"),
            ("redis://:pw@h:1/0", "redis://h:1/0", "pw"),
            ("redis+sentinel://me:pw@a,b/m?sentinel_username=x", None, None),
            ("redis://pw@h", None, None),
            ("postgresql://me@h/x?password=pw", None, None),
            ("postgresql://me:pw@h/x?sslpassword=pw", None, None),
            ("postgresql://me@h/x", "postgresql://me@h/x", ""),
            ("embedded", "embedded", ""),
        ],
    )
    def test_a_url_stands_in_the_open_without_its_password(
        self, url: str, in_the_open: str | None, password: str | None
    ) -> None:
        if url.startswith("postgresql"):
            section, answers = "database", Answers(database=DatabaseUrl.parse(url))
        else:
            section, answers = "redis", Answers(redis=RedisUrl.parse(url))
        planned = plan(FILE, answers, Present())
        config = loaded(planned)
        assert getattr(config, section).url.reveal() == url
        if in_the_open is None:
            assert texts(planned)[f"{section}_url"] == f"{url}\n"
            assert "pw" not in planned.config
        elif password is not None:
            assert in_the_open in planned.config
            assert (f"{password}\n" in texts(planned).values()) == bool(password)

    def test_a_command_that_prints_a_secret_is_kept_and_not_run(self) -> None:
        command = "sh -c 'echo \"it is\" >&2; exit 1'"
        env = {"POLYGON_API_KEY_COMMAND": command, "DATABASE_URL_COMMAND": command}
        answers, _ = answers_of(Given(), env, Path("/"))
        assert (answers.api_key, answers.database) == (None, None)
        dotenv = texts(plan(FILE, answers, Present("", "POLYGON_API_KEY=old\n")))[".env"]
        assert parse_dotenv(dotenv) == env


class TestRepeated:
    def test_with_no_answers_it_writes_nothing(self) -> None:
        present = Present("priority_assets: [{symbol: XAUUSD}] # mine\n", "QUEUE_MAX_SIZE=2 # mine\n")
        assert plan(FILE, Answers(), present).files == ()

    def test_with_the_same_answers_it_changes_no_text(self) -> None:
        first = texts(plan(FILE, ALL, Present()))
        again = texts(plan(FILE, ALL, Present(first["config.yml"], first[".env"])))
        assert set(again) == {"api_key", "db_password"}  # which are not looked at

    def test_it_changes_what_is_asked_and_keeps_what_a_person_wrote(self) -> None:
        mine = "# mine\nqueue: {max_size: 7}   # mine too\nrate_limiting:\n  tier: free\n"
        files = texts(plan(FILE, Answers(tier="starter"), Present(mine)))
        assert files == {"config.yml": mine.replace("tier: free", "tier: starter")}

    def test_it_adds_assets_that_are_not_there(self) -> None:
        mine = "priority_assets: [{symbol: XAUUSD}]\n"
        answers = Answers(priority=("XAUUSD", "EURUSD"), secondary=("XAUUSD", "ETHUSD"))
        config = loaded(plan(FILE, answers, Present(mine)))
        assert [asset.symbol for asset in config.priority_assets] == ["XAUUSD", "EURUSD"]
        assert [(asset.symbol, asset.name) for asset in config.secondary_assets] == [
            ("ETHUSD", "Ether / US Dollar")
        ]

    @pytest.mark.parametrize(
        "dotenv",
        [
            "POLYGON_API_KEY=old\n",
            "export MASSIVE_API_KEY='old' # mine\nMASSIVE_API_KEY_FILE=\n",
            "POLYGON_API_KEY_FILE=elsewhere\n",
        ],
    )
    def test_a_new_key_takes_the_place_of_the_old_one_however_it_was_written(self, dotenv: str) -> None:
        mine = f"# mine\n{dotenv}QUEUE_MAX_SIZE=2"
        planned = plan(FILE, Answers(api_key=Secret("new")), Present("", mine))
        assert loaded(planned).require_api_key().reveal() == "new"
        assert "old" not in planned.variables.values()
        named = "elsewhere" if "elsewhere" in dotenv else "api_key"
        assert texts(planned)[named] == "new\n"
        kept = texts(planned).get(".env", mine)
        assert kept.startswith("# mine\n")
        assert parse_dotenv(kept) == {"QUEUE_MAX_SIZE": "2", "POLYGON_API_KEY_FILE": named}

    @pytest.mark.parametrize("shared", ["/run/secrets/key", "../key", "/made/upper/key"])
    def test_a_secret_in_another_folder_is_left_and_gets_a_file_here(self, shared: str) -> None:
        present = Present("", f"POLYGON_API_KEY_FILE={shared}\n")
        planned = plan(FILE, Answers(api_key=Secret("new")), present)
        assert [file.path for file in planned.files] == [FILE.parent / "api_key", FILE.parent / ".env"]
        assert texts(planned)[".env"] == "POLYGON_API_KEY_FILE=api_key\n"
        assert loaded(planned).require_api_key().reveal() == "new"

    def test_another_database_takes_the_place_of_its_parts(self) -> None:
        parts = "DB_HOST=old\nDB_NAME=x\nDB_PASSWORD_FILE=pw\n"
        answers = Answers(database=DatabaseUrl.parse("postgresql://me@new/x"))
        planned = plan(FILE, answers, Present("", parts))
        assert loaded(planned).require_database().reveal() == "postgresql://me@new/x"
        assert texts(planned)[".env"] == ""

    def test_a_dotenv_that_cannot_be_changed_line_by_line_is_refused(self) -> None:
        dotenv = "NOTE='one\nPOLYGON_API_KEY=two\n'\nPOLYGON_API_KEY=old\n"
        with pytest.raises(ConfigError, match="does not change by itself") as raised:
            with_variables(dotenv, {"POLYGON_API_KEY": None})
        assert raised.value.hint
        assert "POLYGON_API_KEY" in raised.value.hint


class TestSymbols:
    @pytest.mark.parametrize("text", ["EUR/USD", "EURUSD=X", "btc-usd", "XPTUSD"])
    def test_of_known_pairs_need_no_ticker(self, text: str) -> None:
        assert least_of([text]) == [{"symbol": text}]

    def test_may_bring_their_ticker(self) -> None:
        assert least_of(["AAPL=stocks"]) == [{"symbol": "AAPL", "asset_type": "stocks"}]
        assert least_of(["NDX=indices"]) == [{"symbol": "NDX", "asset_type": "indices"}]
        assert least_of(["NASDAQ=I:COMP"]) == [{"symbol": "NASDAQ", "polygon_ticker": "I:COMP"}]
        assert least_of(["GOLD=X=C:XAUUSD"]) == [{"symbol": "GOLD=X", "polygon_ticker": "C:XAUUSD"}]

    def test_all_that_are_unknown_are_named_at_once(self) -> None:
        with pytest.raises(ConfigError) as caught:
            least_of(["EURUSD", "AAPL", "SPY=stocks", "BAR=shares"])
        assert caught.value.message == "'AAPL' and 'BAR=shares' are no pairs of known names"

    def test_of_no_known_pair_say_how_to_name_the_ticker(self) -> None:
        with pytest.raises(ConfigError, match="GOLD=C:XAUUSD"):
            least_of(["GOLD"])

    @pytest.mark.parametrize("text", ["AAPL", "aapl=stocks", "BTCUSD=forex", "EURUSD=bonds"])
    def test_a_stock_needs_its_type_and_a_type_its_symbol(self, text: str) -> None:
        with pytest.raises(ConfigError, match="AAPL=stocks"):
            least_of([text])

    def test_all_are_those_of_the_shipped_file(self) -> None:
        answers, _ = answers_of(Given(assets="all"), {}, Path("/"))
        config = loaded(plan(FILE, answers, Present()))
        assert len(config.secondary_assets) > 12
        assert len({asset.priority for asset in config.secondary_assets}) == 3


class TestGiven:
    @pytest.mark.parametrize(
        "given",
        [
            Given(database="postgresql://me:made-up@host/name"),
            Given(database="postgresql://host/name?password=made-up"),
            Given(redis="redis://made-up@host"),
            Given(redis="redis://:made-up@host"),
        ],
    )
    def test_secrets_on_the_command_line_are_refused_and_not_repeated(self, given: Given) -> None:
        with pytest.raises(ConfigError, match="on the command line") as raised:
            answers_of(given, {}, Path("/"))
        assert "made-up" not in str(raised.value)

    def test_options_go_before_the_environment(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("from-a-file\n")
        env = {"MASSIVE_API_KEY": "from-env", "DB_HOST": "old", "DB_NAME": "x", "POLYGON_TIER": "starter"}
        given = Given(key_file="key", database="postgresql://me@new/x", plan="free")
        answers, unseen = answers_of(given, env, tmp_path)
        assert answers.api_key == Secret("from-a-file")
        assert answers.database == DatabaseUrl.parse("postgresql://me@new/x")
        assert (answers.tier, unseen) == ("free", [])

    def test_the_environment_gives_answers_too(self) -> None:
        env = {"DB_HOST": "db", "DB_NAME": "x", "DB_PASSWORD": "made-up", "POLYGON_API_KEY": "key"}
        answers, _ = answers_of(Given(), env, Path("/"))
        assert answers.database == DatabaseUrl.parse("postgresql://:made-up@db/x")
        assert answers.redis is None

    @pytest.mark.parametrize(
        ("env", "hint"),
        [
            ({"DATABASE_URL": "postgresql://other@db/theirs"}, "--database"),
            ({"DB_HOST": "db", "DB_NAME": "theirs", "DB_PASSWORD": "made-up"}, "--database"),
            ({"REDIS_URL": "redis://theirs"}, "--redis"),
            ({"POLYGON_API_KEY": "theirs"}, "--key-file"),
            ({"POLYGON_API_KEY_COMMAND": "theirs"}, ".env"),
            ({"POLYGON_TIER": "advanced"}, "--plan"),
            ({"ASSETBATCH_NOTIFY_URLS": "json://theirs"}, "where it is configured"),
            ({"POLYGON_BASE_URL": "https://theirs.example"}, "--base-url"),
        ],
    )
    def test_the_environment_changes_nothing_that_is_configured(self, env: dict[str, str], hint: str) -> None:
        answers, _ = answers_of(Given(), env, Path("/"))
        configured = [
            "api_key",
            "rate_limiting.tier",
            "database.url",
            "redis.url",
            "provider.base_url",
            "notify",
        ]
        kept, left = without_shell(answers, Given(), env, configured, {})
        assert plan(FILE, kept, Present("")).files == ()
        assert [one.names for one in left] == [tuple(env)]
        assert hint in left[0].hint
        assert without_shell(answers, Given(), env, [], {}) == (answers, [])

    def test_an_option_changes_what_is_configured(self) -> None:
        given = Given(database="postgresql://me@new/x")
        env = {"DB_PASSWORD": "made-up"}
        answers, _ = answers_of(given, env, Path("/"))
        assert without_shell(answers, given, env, ["database.url"], {}) == (answers, [])

    def test_whom_to_notify_is_kept_in_a_file_like_the_key(self) -> None:
        env = {"ASSETBATCH_NOTIFY_URLS": "ntfy://made-up, json://user:made-up@host/a,b"}
        answers, unseen = answers_of(Given(), env, Path("/"))
        planned = plan(FILE, answers, Present())
        assert unseen == []
        assert texts(planned)["notify_urls"] == "ntfy://made-up\njson://user:made-up@host/a,b\n"
        assert texts(planned)[".env"] == "ASSETBATCH_NOTIFY_URLS_FILE=notify_urls\n"
        assert [file.mode for file in planned.files if "made-up" in file.text] == [0o600]
        assert loaded(planned).notify == answers.notify

    def test_a_command_that_the_dotenv_has_already_is_not_told(self) -> None:
        env = {"POLYGON_API_KEY_COMMAND": "mine"}
        answers, _ = answers_of(Given(), env, Path("/"))
        assert without_shell(answers, Given(), env, ["api_key"], env) == (Answers(), [])

    def test_variables_that_no_question_is_about_are_named(self) -> None:
        assert answers_of(Given(), {"QUEUE_MAX_SIZE": "5"}, Path("/"))[1] == ["QUEUE_MAX_SIZE"]

    @pytest.mark.parametrize(
        ("given", "option"),
        [
            (Given(key_file="made-up-key-by-mistake"), "--key-file: "),
            (Given(database="host/x"), "--database: "),
            (Given(redis_file="nowhere"), "--redis-file: "),
            (Given(base_url="ftp://x"), "--base-url: "),
        ],
    )
    def test_what_is_wrong_is_told_by_its_option_and_not_repeated(self, given: Given, option: str) -> None:
        with pytest.raises(ConfigError) as raised:
            answers_of(given, {}, Path("/nowhere"))
        assert raised.value.message.startswith(option)
        assert "mistake" not in str(raised.value)

    def test_only_one_secret_comes_from_stdin(self) -> None:
        with pytest.raises(ConfigError, match="only one"):
            answers_of(Given(key_file="-", redis_file="-"), {}, Path("/"))


def test_the_shipped_file_shows_every_setting() -> None:
    """What `config generate` prints cannot go stale."""
    section = ""
    shown = set()
    for line in built_in_text().splitlines():
        text = line.removeprefix("# ") if line.startswith("# ") else line
        if not text.startswith((" ", "#", "-")) and text.rstrip().endswith(":"):
            section = text.rstrip().removesuffix(":")
        elif text.startswith("  ") and ":" in text:
            shown.add((section, text.strip().removeprefix("# ").partition(":")[0]))
    wanted = {(name, key) for name, kind in SECTIONS.items() for key in kind.__struct_fields__}
    assert wanted - shown == set()
