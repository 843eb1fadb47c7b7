"""Which file is read, which layer wins, where each value came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from assetbatch.config import TIERS, Config, built_in_config, load
from assetbatch.config.display import effective
from assetbatch.domain.asset_classes import Product
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.queueing import CallLimit
from assetbatch.errors import ConfigError

from .config_folder import cwd
from .config_folder import read_config as read

__all__ = ["cwd"]

REPOSITORY = Path(__file__).resolve().parents[2]
without_system_file = pytest.mark.skipif(
    Path("/etc/assetbatch/config.yml").exists(), reason="this machine has a configuration of its own"
)
OWNER_SECTIONS = """
batch:
  interval_minutes: 5
  max_cycle_seconds: 60
  priority_assets_enabled: true
priority_assets:
  - symbol: XAUUSD
    polygon_ticker: C:XAUUSD
    asset_type: forex
    name: Gold
    priority: CRITICAL
    update_frequency_seconds: 300
    enabled: true
secondary_assets:
  - symbol: ETHUSD
    polygon_ticker: X:ETHUSD
    asset_type: crypto
    priority: HIGH
rate_limiting:
  tier: free
  calls_per_minute: 5
  window_seconds: 60
  upgrade_url: https://massive.com/pricing
queue:
  max_size: 1000
  retry_max_attempts: 3
  retry_delay_seconds: 60
"""


class TestFiles:
    """--config, ASSETBATCH_CONFIG, ./config.yml, the user's, the system's."""

    @staticmethod
    def size(number: int) -> str:
        return f"queue: {{max_size: {number}}}"

    def test_the_places_are_tried_in_their_order(self, cwd: Path, tmp_path: Path) -> None:
        (tmp_path / "option.yml").write_text(self.size(1))
        (tmp_path / "variable.yml").write_text(self.size(2))
        (cwd / "config.yml").write_text(self.size(3))
        user = tmp_path / "xdg" / "assetbatch"
        user.mkdir(parents=True)
        (user / "config.yml").write_text(self.size(4))
        env = {"ASSETBATCH_CONFIG": str(tmp_path / "variable.yml"), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}

        assert load(tmp_path / "option.yml", env, cwd=cwd).queue.max_size == 1
        assert load(None, env, cwd=cwd).queue.max_size == 2
        del env["ASSETBATCH_CONFIG"]
        assert load(None, env, cwd=cwd).queue.max_size == 3
        (cwd / "config.yml").unlink()
        config = load(None, env, cwd=cwd)
        assert config.queue.max_size == 4
        assert config.file == user / "config.yml"
        assert config.origins["queue.max_size"] == f"{user / 'config.yml'} queue.max_size"

    def test_the_shipped_file_in_the_current_folder_hides_no_installation(self, cwd: Path) -> None:
        here, env = cwd / "config.yml", {"HOME": str(cwd / "home"), "XDG_CONFIG_HOME": str(cwd / "xdg")}
        here.write_bytes(built_in_config())
        assert load(None, env, cwd=cwd).file == here
        user = cwd / "xdg" / "assetbatch" / "config.yml"
        user.parent.mkdir(parents=True)
        user.write_text(self.size(4))
        assert load(None, env, cwd=cwd).file == user
        assert load(Path("config.yml"), env, cwd=cwd).file == here
        assert load(None, env, cwd=cwd, sandbox=True).file == here
        (cwd / ".env").write_text("")  # an installation of its own
        assert load(None, env, cwd=cwd).file == here
        (cwd / ".env").unlink()
        here.write_text(self.size(3))
        assert load(None, env, cwd=cwd).file == here

    @pytest.mark.parametrize("xdg", [{}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "relative"}])
    def test_without_xdg_config_home_the_users_place_is_dot_config(
        self, cwd: Path, tmp_path: Path, xdg: dict[str, str]
    ) -> None:
        user = tmp_path / ".config" / "assetbatch"
        user.mkdir(parents=True)
        (user / "config.yml").write_text(self.size(4))
        assert load(None, {"HOME": str(tmp_path), **xdg}, cwd=cwd).queue.max_size == 4

    def test_a_named_path_starts_from_the_current_folder(self, cwd: Path) -> None:
        (cwd / "other.yml").write_text(self.size(7))
        config = load(Path("other.yml"), {}, cwd=cwd)
        assert config.file == cwd / "other.yml"
        assert config.origins["queue.max_size"] == "other.yml queue.max_size"

    def test_a_file_named_by_option_must_be_there(self, cwd: Path) -> None:
        (cwd / "config.yml").write_text(self.size(3))
        with pytest.raises(ConfigError) as caught:
            load(Path("gone.yml"), {}, cwd=cwd)
        assert str(caught.value) == "--config: 'gone.yml' cannot be read: no such file or directory"
        assert caught.value.exit_code == 2

    def test_a_file_named_by_variable_must_be_a_file(self, cwd: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            load(None, {"ASSETBATCH_CONFIG": str(cwd)}, cwd=cwd)
        assert str(caught.value) == f"env ASSETBATCH_CONFIG: '{cwd}' cannot be read: is a directory"

    def test_a_file_in_a_usual_place_that_cannot_be_read_is_not_passed_over(self, cwd: Path) -> None:
        (cwd / "config.yml").symlink_to("config.yml")
        with pytest.raises(ConfigError) as caught:
            load(None, {"HOME": str(cwd)}, cwd=cwd)
        assert str(caught.value) == "config.yml: cannot be read: too many levels of symbolic links"

    @without_system_file
    def test_no_file_at_all_is_a_mistake_that_says_where_it_looked(self, cwd: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            load(None, {"HOME": "/nowhere"}, cwd=cwd)
        assert caught.value.message == (
            f"no configuration found: looked for {cwd}/config.yml, /nowhere/.config/assetbatch/config.yml, "
            "/etc/assetbatch/config.yml"
        )
        assert caught.value.hint is not None
        assert "--sandbox" in caught.value.hint

    def test_an_empty_file_has_the_defaults_and_no_assets(self, cwd: Path) -> None:
        config = read(cwd, "# nothing\n")
        assert config.assets == ()
        assert (config.batch.interval_minutes, config.batch.max_cycle_seconds) == (5, 60)
        assert config.batch.priority_assets_enabled
        assert (config.queue.max_size, config.queue.retry_max_attempts) == (1000, 3)
        assert (config.queue.retry_delay_seconds, config.queue.max_concurrency) == (60, 1)
        assert config.redis.prefix == "{assetbatch}"
        assert config.provider.base_url == "https://api.massive.com"
        assert config.alerts.success_rate_min_percent == 90
        assert config.alerts.priority_latency_max_ms == 30_000
        assert config.alerts.queue_size_max == 500
        assert config.alerts.rate_limit_waits_per_hour_max == 10

    def test_a_section_without_lines_has_the_defaults(self, cwd: Path) -> None:
        config = read(cwd, "queue:\nsecondary_assets:\nping_url:\npriority_assets: []\n")
        assert config.queue.max_size == 1000
        assert config.assets == ()

    def test_a_file_with_only_the_owners_sections_is_valid(self, cwd: Path) -> None:
        config = read(cwd, OWNER_SECTIONS)
        assert [asset.symbol for asset in config.assets] == ["XAUUSD", "ETHUSD"]
        assert config.call_limit == CallLimit(limit=5, window_ms=60_000)


class TestAssets:
    def test_priority_assets_are_critical_and_secondary_medium_unless_they_say_otherwise(
        self, cwd: Path
    ) -> None:
        config = read(
            cwd,
            "priority_assets: [{symbol: A, polygon_ticker: 'C:A', asset_type: forex}]\n"
            "secondary_assets:\n"
            "- {symbol: B, polygon_ticker: 'X:B', asset_type: crypto}\n"
            "- {symbol: C, polygon_ticker: 'X:C', asset_type: crypto, priority: LOW}\n",
        )
        assert [str(asset.priority) for asset in config.assets] == ["CRITICAL", "MEDIUM", "LOW"]
        first = config.assets[0]
        assert (first.update_frequency_seconds, first.enabled, first.bars, first.name) == (
            300,
            True,
            BarSize.FIVE_MINUTES,
            None,
        )

    def test_switched_off_assets_are_left_out(self, cwd: Path) -> None:
        text = (
            "priority_assets: [{symbol: A, polygon_ticker: 'C:A', asset_type: forex}]\n"
            "secondary_assets: [{symbol: B, polygon_ticker: 'X:B', asset_type: crypto, enabled: false}]\n"
        )
        config = read(cwd, text)
        assert [asset.symbol for asset in config.assets] == ["A"]
        assert [asset.symbol for asset in config.secondary_assets] == ["B"]
        off = read(cwd, text, PRIORITY_ASSETS_ENABLED="no")
        assert off.enabled_priority_assets == ()
        assert off.assets == ()

    def test_yaml_anchors_and_merges_may_be_used(self, cwd: Path) -> None:
        config = read(
            cwd,
            "secondary_assets:\n"
            "- &base {symbol: A, polygon_ticker: 'C:A', asset_type: forex, update_frequency_seconds: 900}\n"
            "- &next {<<: *base, symbol: B, polygon_ticker: 'C:B'}\n"
            "- {<<: *next, symbol: D, polygon_ticker: 'C:D'}\n",
        )
        assert [(asset.symbol, asset.update_frequency_seconds) for asset in config.assets] == [
            ("A", 900),
            ("B", 900),
            ("D", 900),
        ]

    def test_the_repositorys_file_starts_with_gold_euro_and_bitcoin(self) -> None:
        config = load(REPOSITORY / "config.yml", {}, cwd=REPOSITORY)
        assert [
            (asset.symbol, asset.polygon_ticker, str(asset.asset_type), asset.update_frequency_seconds)
            for asset in config.priority_assets
        ] == [
            ("XAUUSD", "C:XAUUSD", "forex", 300),
            ("EURUSD", "C:EURUSD", "forex", 300),
            ("BTCUSD", "X:BTCUSD", "crypto", 300),
        ]
        secondary = [asset.symbol for asset in config.secondary_assets]
        assert secondary[:4] == ["ETHUSD", "GBPUSD", "USDJPY", "XAGUSD"]
        assert len(secondary) >= 12
        assert config.require_database().embedded
        assert config.require_redis().embedded

    def test_the_repositorys_file_fits_the_free_plan(self) -> None:
        config = load(REPOSITORY / "config.yml", {}, cwd=REPOSITORY)
        calls_a_minute = sum(60 / asset.update_frequency_seconds for asset in config.assets)
        assert calls_a_minute < config.call_limit.limit / 2

    def test_the_repositorys_file_writes_out_the_defaults(self) -> None:
        config = load(REPOSITORY / "config.yml", {}, cwd=REPOSITORY)
        default = Config()
        assert (config.batch, config.queue, config.rate_limiting) == (
            default.batch,
            default.queue,
            default.rate_limiting,
        )

    def test_what_is_commented_out_in_the_repositorys_file_is_valid_too(self, cwd: Path) -> None:
        text = (REPOSITORY / "config.yml").read_text(encoding="utf-8")
        head, optional = text.split("# verify:", 1)
        lines = ("# verify:" + optional).splitlines()
        sections = tuple(
            f"# {name}:"
            for name in ("verify", "provider", "alerts", "metrics", "events", "ping_url", "notify")
        )
        kept = [line[2:] for line in lines if line.startswith(("#   ", *sections))]
        config = read(cwd, head + "\n".join(kept))
        assert config.provider.base_url == Config().provider.base_url
        assert config.alerts == Config().alerts
        assert config.ping_url is not None
        assert config.notify is not None


class TestPrecedence:
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_a_dotenv_of_any_editor_is_read(self, cwd: Path, end: str, mark: str) -> None:
        text = f"{mark}# mine{end}QUEUE_MAX_SIZE=2{end}POLYGON_API_KEY=made-up-key-123{end}"
        (cwd / ".env").write_bytes(text.encode())
        config = read(cwd)
        assert config.queue.max_size == 2
        assert config.require_api_key().reveal() == "made-up-key-123"

    def test_environment_then_dotenv_then_file_then_default(self, cwd: Path) -> None:
        text, dotenv = "queue: {max_size: 3}", "QUEUE_MAX_SIZE=2"
        assert read(cwd).queue.max_size == 1000
        assert read(cwd, text).queue.max_size == 3
        assert read(cwd, text, dotenv).queue.max_size == 2
        assert read(cwd, text, dotenv, QUEUE_MAX_SIZE="1").queue.max_size == 1

    def test_every_value_knows_its_origin(self, cwd: Path) -> None:
        config = read(
            cwd,
            "rate_limiting: {tier: starter}\nqueue: {max_size: 3}\nbatch: {interval_minutes: 1}",
            "QUEUE_MAX_SIZE=2\nMASSIVE_API_KEY=made-up-key-123",
            BATCH_INTERVAL_MINUTES="10",
        )
        assert config.origins["rate_limiting.tier"] == "config.yml rate_limiting.tier"
        assert config.origins["queue.max_size"] == ".env QUEUE_MAX_SIZE"
        assert config.origins["batch.interval_minutes"] == "env BATCH_INTERVAL_MINUTES"
        assert config.origins["api_key"] == ".env MASSIVE_API_KEY"
        assert "batch.max_cycle_seconds" not in config.origins

    def test_each_product_has_the_plan_that_is_written_or_the_tier(self, cwd: Path) -> None:
        config = read(
            cwd,
            "rate_limiting: {tier: developer, plans: {currencies: basic, stocks: advanced}}\n"
            "priority_assets: [{symbol: EURUSD}, {symbol: SPY, asset_type: stocks}]",
        )
        assert [config.rate_limiting.plan_of(product) for product in Product] == [
            "basic",
            "advanced",
            "developer",
        ]
        assert config.products == (Product.CURRENCIES, Product.STOCKS)
        assert config.end_of_day == {Product.CURRENCIES}
        assert config.history_years == {Product.CURRENCIES: 2, Product.STOCKS: None, Product.INDICES: None}
        lines = [
            tuple(one) for one in effective(config) if "limiting" in one.path and one.origin != "default"
        ]
        assert lines[1:] == [
            ("rate_limiting.plans", "currencies: basic, stocks: advanced", "config.yml rate_limiting.plans"),
            ("rate_limiting.calls_per_minute", "5", "default of basic, advanced"),
        ]

    @pytest.mark.parametrize(
        ("settings", "assets", "limit"),
        [
            ("plans: {stocks: starter}", "{symbol: SPY, asset_type: stocks}", CallLimit(100, 1000)),
            ("plans: {stocks: starter}", "{symbol: EURUSD}", CallLimit(5, 60_000)),
            (
                "plans: {stocks: starter}",
                "{symbol: EURUSD}, {symbol: SPY, asset_type: stocks}",
                CallLimit(5, 60_000),
            ),
            (
                "plans: {stocks: starter}",
                "{symbol: EURUSD, enabled: false}, {symbol: SPY, asset_type: stocks}",
                CallLimit(100, 1000),
            ),
            (
                "tier: starter, plans: {indices: basic}",
                "{symbol: EURUSD}, {symbol: SPY, asset_type: stocks}",
                CallLimit(100, 1000),
            ),
            ("plans: {stocks: free}, calls_per_minute: 9", "{symbol: EURUSD}", CallLimit(9, 60_000)),
            ("plans: {stocks: starter}", "", CallLimit(5, 60_000)),
            ("tier: starter", "", CallLimit(100, 1000)),
        ],
    )
    def test_the_smallest_plan_of_a_product_with_assets_sets_the_window(
        self, cwd: Path, settings: str, assets: str, limit: CallLimit
    ) -> None:
        config = read(cwd, f"rate_limiting: {{{settings}}}\npriority_assets: [{assets}]")
        assert config.call_limit == limit

    def test_an_empty_variable_is_not_set(self, cwd: Path) -> None:
        config = read(
            cwd,
            "rate_limiting: {calls_per_minute: 7}",
            "QUEUE_MAX_SIZE=2",
            QUEUE_MAX_SIZE="",
            POLYGON_RATE_LIMIT="",
            POLYGON_API_KEY="",
        )
        assert config.queue.max_size == 2
        assert config.rate_limiting.calls_per_minute == 7
        assert config.api_key is None

    def test_each_variable_sets_its_setting(self, cwd: Path) -> None:
        config = read(
            cwd,
            POLYGON_API_KEY="made-up-key-123",
            POLYGON_BASE_URL="https://api.polygon.io/",
            POLYGON_RATE_LIMIT=" 20 ",
            POLYGON_TIER="developer",
            BATCH_INTERVAL_MINUTES="15",
            PRIORITY_ASSETS_ENABLED="0",
            QUEUE_MAX_SIZE="50",
            DATABASE_URL="embedded",
            REDIS_URL="redis://cache:6379/2",
        )
        assert config.require_api_key().reveal() == "made-up-key-123"
        assert config.provider.base_url == "https://api.polygon.io"
        assert config.call_limit == CallLimit(20, 60_000)
        assert config.tier == TIERS["developer"]
        assert config.batch.interval_minutes == 15
        assert not config.batch.priority_assets_enabled
        assert config.queue.max_size == 50
        assert config.require_database().embedded
        assert config.require_redis().reveal() == "redis://cache:6379/2"

    @pytest.mark.parametrize("word", ["true", "TRUE", "1", "yes"])
    def test_words_for_true(self, cwd: Path, word: str) -> None:
        text = "batch: {priority_assets_enabled: false}"
        assert read(cwd, text, PRIORITY_ASSETS_ENABLED=word).batch.priority_assets_enabled


class TestLimit:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", CallLimit(5, 60_000)),
            ("tier: starter", CallLimit(100, 1000)),
            ("{tier: starter, calls_per_minute: 30}", CallLimit(30, 60_000)),
            ("calls_per_minute: null", CallLimit(100, 1000)),
            ("{calls_per_minute: 5, window_seconds: 2}", CallLimit(5, 2000)),
        ],
    )
    def test_the_limit_follows_from_tier_and_calls(self, cwd: Path, text: str, expected: CallLimit) -> None:
        assert read(
            cwd, f"rate_limiting: {text}" if text[:1] == "{" else f"rate_limiting:\n  {text}"
        ).call_limit == (expected)

    @pytest.mark.parametrize("word", ["unlimited", "null", "Unlimited"])
    def test_the_variable_can_say_unlimited(self, cwd: Path, word: str) -> None:
        config = read(cwd, POLYGON_RATE_LIMIT=word)
        assert config.rate_limiting.calls_per_minute is None
        assert config.call_limit == CallLimit(100, 1000)

    def test_the_tiers_are_the_owners(self) -> None:
        assert {name: tuple(tier)[:3] for name, tier in TIERS.items()} == {
            "free": (5, 15, False),
            "basic": (5, 15, False),
            "starter": (None, 0, False),
            "developer": (None, 0, True),
            "advanced": (None, 0, True),
            "business": (None, 0, True),
        }

    def test_basic_is_the_free_tier(self, cwd: Path) -> None:
        named, free = (read(cwd, f"rate_limiting: {{tier: {name}}}") for name in ("basic", "free"))
        assert (named.tier, named.call_limit) == (free.tier, free.call_limit)


class TestApiKey:
    def test_both_names_may_say_the_same(self, cwd: Path) -> None:
        config = read(cwd, POLYGON_API_KEY="made-up-key-123", MASSIVE_API_KEY="made-up-key-123")
        assert config.require_api_key().reveal() == "made-up-key-123"

    def test_a_file_may_hold_the_key(self, cwd: Path) -> None:
        (cwd / "key").write_bytes(b"made-up-key-123\r\n")
        config = read(cwd, MASSIVE_API_KEY_FILE="key")
        assert config.require_api_key().reveal() == "made-up-key-123"
        assert config.origins["api_key"] == "env MASSIVE_API_KEY_FILE"

    def test_the_environments_key_goes_before_any_of_the_dotenv(self, cwd: Path) -> None:
        config = read(
            cwd, "", "MASSIVE_API_KEY=old\nPOLYGON_API_KEY_FILE=gone", POLYGON_API_KEY="made-up-key-123"
        )
        assert config.require_api_key().reveal() == "made-up-key-123"

    def test_without_a_key_it_says_what_to_set(self, cwd: Path) -> None:
        with pytest.raises(ConfigError, match="POLYGON_API_KEY"):
            read(cwd).require_api_key()


class TestServers:
    def test_nothing_falls_back_silently(self, cwd: Path) -> None:
        config = read(cwd)
        with pytest.raises(ConfigError) as caught:
            config.require_database()
        assert str(caught.value) == (
            "no database is configured "
            f"(hint: write database.url: embedded into {cwd}/config.yml, or set DATABASE_URL)"
        )
        with pytest.raises(ConfigError) as caught:
            config.require_redis()
        assert str(caught.value) == (
            "no Redis is configured "
            f"(hint: write redis.url: embedded into {cwd}/config.yml, or set REDIS_URL)"
        )

    def test_database_url_goes_before_the_parts(self, cwd: Path) -> None:
        config = read(cwd, DATABASE_URL="postgresql://there/it", DB_HOST="no", DB_NAME="no", DB_PORT="many")
        assert config.require_database().reveal() == "postgresql://there/it"

    def test_the_parts_go_before_the_file(self, cwd: Path) -> None:
        config = read(
            cwd, "database: {url: embedded}", "DB_PASSWORD=p@ss", DB_HOST="h", DB_NAME="n", DB_USER="u"
        )
        assert config.require_database().reveal() == "postgresql://u:p%40ss@h/n"
        assert config.origins["database.url"] == "env DB_HOST, env DB_NAME, env DB_USER, .env DB_PASSWORD"

    def test_a_file_may_hold_the_password(self, cwd: Path) -> None:
        (cwd / "password").write_text("hush\n")
        config = read(cwd, DB_HOST="h", DB_NAME="n", DB_USER="u", DB_PORT="5433", DB_PASSWORD_FILE="password")
        assert config.require_database().reveal() == "postgresql://u:hush@h:5433/n"

    @pytest.mark.parametrize("prefix", ["mine", "{mine}", "a:{mine}:b"])
    def test_the_prefix_of_all_keys_has_one_hash_tag(self, cwd: Path, prefix: str) -> None:
        effective = read(cwd, f"redis: {{prefix: '{prefix}'}}").redis.prefix
        assert effective == (prefix if "{" in prefix else "{mine}")

    def test_the_file_for_prometheus_lies_beside_the_configuration(self, cwd: Path) -> None:
        assert read(cwd, "metrics: {prometheus_file: a/b.prom}").metrics.prometheus_file == str(
            cwd / "a/b.prom"
        )
        assert read(cwd, "metrics: {prometheus_file: ~/b.prom}").metrics.prometheus_file == str(
            cwd / "b.prom"
        )
        assert read(cwd, "metrics: {prometheus_file: /b.prom}").metrics.prometheus_file == "/b.prom"

    def test_the_data_folder_follows_xdg(self, cwd: Path) -> None:
        assert read(cwd, XDG_DATA_HOME="/data").data_folder == Path("/data/assetbatch")
        assert read(cwd).data_folder == cwd / ".local/share/assetbatch"
        with pytest.raises(ConfigError, match="XDG_DATA_HOME"):
            _ = Config().data_folder


class TestAddressesInFiles:
    """A URL with a password may lie in a file that a secret store mounts."""

    def test_are_read_and_named_by_their_variable(self, cwd: Path) -> None:
        (cwd / "db").write_text("postgresql://me:made-up@db/x\n")
        (cwd / "redis").write_text("redis://:made-up@cache/0\n")
        config = read(cwd, DATABASE_URL_FILE="db", REDIS_URL_FILE=str(cwd / "redis"))
        assert config.require_database().reveal() == "postgresql://me:made-up@db/x"
        assert config.require_redis().reveal() == "redis://:made-up@cache/0"
        assert config.origins["redis.url"] == "env REDIS_URL_FILE"

    def test_go_before_the_parts_of_a_database(self, cwd: Path) -> None:
        (cwd / "db").write_text("postgresql://me@db/x")
        config = read(cwd, DATABASE_URL_FILE="db", DB_HOST="other", DB_NAME="y")
        assert config.require_database().reveal() == "postgresql://me@db/x"

    def test_that_cannot_be_read_are_a_mistake(self, cwd: Path) -> None:
        with pytest.raises(ConfigError, match="env REDIS_URL_FILE: the file it names cannot be read"):
            read(cwd, REDIS_URL_FILE="gone")


class TestEffective:
    """What `config show` prints."""

    def test_every_setting_has_its_value_and_its_origin(self, cwd: Path) -> None:
        config = read(
            cwd,
            "batch: {priority_assets_enabled: false}\n"
            "priority_assets: [{symbol: A, polygon_ticker: 'C:A', asset_type: forex}]\n"
            "secondary_assets:\n"
            "- {symbol: B, polygon_ticker: 'X:B', asset_type: crypto, enabled: false, bars: false}\n",
            DATABASE_URL="postgresql://u:hush@h/n",
            POLYGON_API_KEY="made-up-key-123",
        )
        assert [tuple(line) for line in effective(config)] == [
            ("api_key", "***", "env POLYGON_API_KEY"),
            ("ping_url", "not set", "default"),
            ("notify", "not set", "default"),
            ("derived", "15m, 1h, 4h", "default"),
            ("batch.interval_minutes", "5", "default"),
            ("batch.enqueue_interval_minutes", "5", "default"),
            ("batch.max_cycle_seconds", "60", "default"),
            ("batch.priority_assets_enabled", "false", "config.yml batch.priority_assets_enabled"),
            ("rate_limiting.tier", "free", "default"),
            ("rate_limiting.plans", "the tier for all", "default"),
            ("rate_limiting.calls_per_minute", "5", "default of free"),
            ("rate_limiting.window_seconds", "60", "default"),
            ("rate_limiting.window", "not set", "default"),
            ("rate_limiting.upgrade_url", "https://massive.com/pricing", "default"),
            ("queue.max_size", "1000", "default"),
            ("queue.retry_max_attempts", "3", "default"),
            ("queue.retry_delay_seconds", "60", "default"),
            ("queue.max_concurrency", "1", "default"),
            ("verify.share", "0.2", "default"),
            ("database.url", "postgresql://u:***@h/n", "env DATABASE_URL"),
            ("database.tables", "not set", "default"),
            ("redis.url", "not set", "default"),
            ("redis.prefix", "{assetbatch}", "default"),
            ("provider.base_url", "https://api.massive.com", "default"),
            ("alerts.success_rate_min_percent", "90", "default"),
            ("alerts.priority_latency_max_ms", "30000", "default"),
            ("alerts.queue_size_max", "500", "default"),
            ("alerts.rate_limit_waits_per_hour_max", "10", "default"),
            ("metrics.prometheus_file", "not set", "default"),
            ("events.stream_maxlen", "not set", "default"),
            ("priority_assets[0]", "A C:A forex CRITICAL every 300 s", "config.yml priority_assets"),
            (
                "secondary_assets[0]",
                "B X:B crypto MEDIUM every 300 s without bars switched off",
                "config.yml secondary_assets",
            ),
        ]

    @pytest.mark.parametrize(
        ("text", "env", "shown"),
        [
            ("{tier: starter}", {}, ("unlimited", "default of starter")),
            ("{calls_per_minute: null}", {}, ("unlimited", "config.yml rate_limiting.calls_per_minute")),
            ("{calls_per_minute: 7}", {"POLYGON_RATE_LIMIT": "9"}, ("9", "env POLYGON_RATE_LIMIT")),
        ],
    )
    def test_the_calls_are_those_that_count(
        self, cwd: Path, text: str, env: dict[str, str], shown: tuple[str, str]
    ) -> None:
        lines = {line.path: line for line in effective(read(cwd, f"rate_limiting: {text}", **env))}
        assert lines["rate_limiting.calls_per_minute"][1:] == shown


OUTSIDE = {
    "POLYGON_API_KEY": "marked-key",
    "MASSIVE_API_KEY": "another marked-key",
    "POLYGON_BASE_URL": "https://api.polygon.io",
    "DATABASE_URL": "postgresql://marked@h/n",
    "REDIS_URL": "redis://marked",
    "DB_HOST": "marked",
}


class TestSandbox:
    @without_system_file
    def test_without_a_file_it_takes_the_built_in_one(self, cwd: Path) -> None:
        config = load(None, {"HOME": "/nowhere"}, cwd=cwd, sandbox=True)
        assert config.file is None
        assert [asset.symbol for asset in config.priority_assets] == ["XAUUSD", "EURUSD", "BTCUSD"]
        assert config.origins["queue.max_size"] == "built-in config.yml queue.max_size"

    def test_the_built_in_file_is_the_repositorys(self) -> None:
        assert built_in_config() == (REPOSITORY / "config.yml").read_bytes()

    def test_a_named_file_must_be_there_all_the_same(self, cwd: Path) -> None:
        with pytest.raises(ConfigError, match="gone"):
            load(Path("gone.yml"), {}, cwd=cwd, sandbox=True)

    def test_no_server_no_key_and_no_monitor_of_the_outside_leaks_in(self, cwd: Path) -> None:
        (cwd / "config.yml").write_text(
            "database: {url: 'postgresql://marked/x'}\nredis: {url: 'redis://marked'}\n"
            "ping_url: https://marked.example\nmetrics: {prometheus_file: /marked}\n"
        )
        (cwd / ".env").write_text("POLYGON_API_KEY_FILE=marked\nDB_NAME=marked\n")
        config = load(None, OUTSIDE, cwd=cwd, sandbox=True)
        assert config.sandbox
        assert config.require_database().embedded
        assert config.require_redis().embedded
        assert config.require_api_key().reveal() == "made-up-key-of-the-sandbox"
        assert config.provider.base_url == "https://api.massive.com"
        assert config.ping_url is None
        assert config.metrics.prometheus_file is None
        assert config.origins["database.url"] == config.origins["api_key"] == "--sandbox"

    @without_system_file
    def test_shows_no_address_of_the_outside(self, cwd: Path) -> None:
        shown = {line.path: line for line in effective(load(None, OUTSIDE, cwd=cwd, sandbox=True))}
        assert shown["provider.base_url"][1:] == ("a simulated provider on this machine", "--sandbox")

    def test_half_a_database_of_the_outside_is_no_mistake_in_it(self, cwd: Path) -> None:
        assert (
            load(None, {"DB_USER": "u", "DB_PORT": "many"}, cwd=cwd, sandbox=True).require_database().embedded
        )

    @without_system_file
    def test_the_plan_can_be_chosen_by_variable(self, cwd: Path) -> None:
        config = load(None, {"HOME": "/nowhere", "POLYGON_TIER": "starter"}, cwd=cwd, sandbox=True)
        assert config.call_limit == CallLimit(100, 1000)

    @without_system_file
    def test_it_has_its_own_data_folder(self, cwd: Path) -> None:
        config = load(None, {"XDG_DATA_HOME": "/data"}, cwd=cwd, sandbox=True)
        assert config.data_folder == Path("/data/assetbatch/sandbox")
