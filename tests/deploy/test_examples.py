"""What is written for operators can rot: here it is held against the program."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from assetbatch.config import load
from tests.conftest import REPOSITORY
from tests.deploy.command_lines import check_command

DEPLOY = REPOSITORY / "deploy"
SOURCES = [
    path
    for folder in ("src", "tests")  # a line of several parts stands whole in the test that provokes it
    for path in (REPOSITORY / folder).rglob("*")
    if path.suffix in (".py", ".sql", ".lua", ".html") and path != Path(__file__)
]


def test_a_command_that_is_not_there_would_be_found() -> None:
    for wrong in ("run-qeue", "status --chek", "dead lisst", "backfill XAUUSD --form 2024-11-01"):
        with pytest.raises(AssertionError):
            check_command(wrong)


def test_every_line_of_the_troubles_is_one_that_the_program_says() -> None:
    source = " ".join(" ".join(path.read_text(encoding="utf-8").split()) for path in SOURCES)
    source = re.sub(r'" f?"', "", source)  # a text that goes on in the next line
    page = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    told = [
        quoted
        for row in re.findall(r"^\| (.+?) \|", page, re.MULTILINE)
        for quoted in re.findall(r"`([^`]+)`", row)
        if " " in quoted and not quoted.startswith("assetbatch ")
    ]
    assert len(told) > 25
    for line in told:
        for piece in (piece.strip(" ;:,().") for piece in line.split("…")):
            assert piece in source, f"{line}: {piece!r}"


class TestSystemd:
    def test_each_timer_starts_a_command_that_exists(self) -> None:
        timers = sorted(path.name for path in (DEPLOY / "systemd").glob("*.timer"))
        assert timers == [
            "assetbatch@enqueue-secondary.timer",
            "assetbatch@run-priority.timer",
            "assetbatch@run-queue.timer",
        ]
        service = (DEPLOY / "systemd" / "assetbatch@.service").read_text()
        (line,) = re.findall(r"^ExecStart=\S+ (.*)$", service, re.MULTILINE)
        for timer in timers:
            check_command(line.replace("%i", timer.split("@")[1].removesuffix(".timer")))

    @pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
    def test_has_nothing_to_complain_of(self, tmp_path: Path) -> None:
        for path in (path for path in (DEPLOY / "systemd").rglob("*") if path.is_file()):
            text = path.read_text().replace("/opt/assetbatch/.venv/bin/assetbatch", "/bin/true")
            copy = tmp_path / path.relative_to(DEPLOY / "systemd")
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(text)
            if path.suffix == ".timer":
                service = (DEPLOY / "systemd" / "assetbatch@.service").read_text()
                concrete = service.replace("/opt/assetbatch/.venv/bin/assetbatch", "/bin/true")
                (tmp_path / path.with_suffix(".service").name).write_text(concrete)
        (tmp_path / "assetbatch@serve.service").write_text((tmp_path / "assetbatch@.service").read_text())
        units = [str(path) for path in tmp_path.iterdir() if path.is_file() and "@." not in path.name]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
        )
        said = [line for line in done.stderr.splitlines() if "assetbatch" in line]
        assert (done.returncode, said) == (0, [])


class TestKubernetes:
    def documents(self) -> list[dict[str, Any]]:
        return [
            document
            for path in sorted((DEPLOY / "kubernetes").glob("*.yml"))
            for document in yaml.safe_load_all(path.read_text())
        ]

    def test_containers_start_commands_that_exist_and_mount_what_is_there(self) -> None:
        found = {(document["kind"], document["metadata"]["name"]) for document in self.documents()}
        assert ("ConfigMap", "assetbatch") in found
        assert ("Secret", "assetbatch") in found
        commands = []
        for document in self.documents():
            template = document.get("spec", {}).get("jobTemplate", document).get("spec", {}).get("template")
            if not template:
                continue
            for container in template["spec"]["containers"]:
                check_command(" ".join(container["args"]))
                commands.append(container["args"][2])
        assert sorted(commands) == ["enqueue-secondary", "run-priority", "run-queue", "run-queue", "serve"]

    def test_cron_jobs_never_overlap_and_have_deadlines(self) -> None:
        jobs = [document["spec"] for document in self.documents() if document["kind"] == "CronJob"]
        assert len(jobs) == 4
        for job in jobs:
            assert job["concurrencyPolicy"] == "Forbid"
            assert job["startingDeadlineSeconds"] > 10  # below that Kubernetes may never start it
            assert job["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 60

    def test_several_workers_take_the_place_of_the_one(self) -> None:
        jobs = {
            path.stem: {job["metadata"]["name"]: job for job in yaml.safe_load_all(path.read_text())}
            for path in (DEPLOY / "kubernetes").glob("*.yml")
        }
        (name, several), *rest = jobs["workers"].items()
        assert rest == []
        spec = several["spec"]["jobTemplate"]["spec"]
        assert spec["parallelism"] == spec["completions"] == 4
        spread = spec["template"]["spec"].pop("topologySpreadConstraints")
        assert spread[0]["labelSelector"]["matchLabels"] == spec["template"].pop("metadata")["labels"]
        for key in ("parallelism", "completions"):
            del spec[key]
        assert several == jobs["cronjobs"][name]  # and is the same in everything else

    def test_its_configuration_is_valid(self, tmp_path: Path) -> None:
        (config,) = [d for d in self.documents() if d["kind"] == "ConfigMap"]
        (secret,) = [d for d in self.documents() if d["kind"] == "Secret"]
        (tmp_path / "config.yml").write_text(config["data"]["config.yml"])
        env = {}
        for name, value in secret["stringData"].items():
            (tmp_path / name).write_text(value)
            variable = "POLYGON_API_KEY_FILE" if name == "api_key" else f"{name.upper()}_FILE"
            env[variable] = str(tmp_path / name)
        loaded = load(tmp_path / "config.yml", env, cwd=tmp_path)
        assert loaded.require_api_key().reveal() == "made-up-key"
        assert [asset.symbol for asset in loaded.assets] == ["XAUUSD", "EURUSD", "BTCUSD", "ETHUSD"]

    def test_passes_the_schemas_of_an_old_and_of_the_latest_kubernetes(self) -> None:
        validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
        for version in ("1.30", validate.latest_version()):
            for document in self.documents():
                validate.validate(document, version, strict=True)

    def test_a_misspelt_field_would_be_found(self) -> None:
        validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
        job = next(document for document in self.documents() if document["kind"] == "CronJob")
        job["spec"]["concurencyPolicy"] = job["spec"].pop("concurrencyPolicy")
        with pytest.raises(validate.ValidationError):
            validate.validate(job, "1.30", strict=True)
