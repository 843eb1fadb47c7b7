"""Pure parts of the embedded servers: where things lie and what a log says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.config import load
from assetbatch.embedded.folders import SOCKET_PATH_BYTES, fallback_socket_folder, fits_socket, problem_of
from assetbatch.embedded.server import last_complaint
from tests.conftest import REPOSITORY

FOLDER, FILE = 0o040000, 0o100000


def status(mode: int, user_id: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, user_id, 0, 0, 0, 0, 0))


def test_the_data_folder_follows_xdg_data_home() -> None:
    env = {"XDG_DATA_HOME": "/data", "HOME": "/home/somebody"}
    assert load(REPOSITORY / "config.yml", env, cwd=REPOSITORY).data_folder == Path("/data/assetbatch")


@pytest.mark.parametrize("env", [{}, {"XDG_DATA_HOME": ""}, {"XDG_DATA_HOME": "not/absolute"}])
def test_without_a_usable_xdg_data_home_the_data_lie_below_home(env: dict[str, str]) -> None:
    home = {"HOME": "/home/somebody"}
    folder = load(REPOSITORY / "config.yml", env | home, cwd=REPOSITORY).data_folder
    assert folder == Path("/home/somebody/.local/share/assetbatch")


def test_a_private_folder_is_a_folder_of_ours_that_nobody_else_may_enter() -> None:
    assert problem_of(status(FOLDER | 0o700, 1000), 1000) is None
    assert problem_of(status(FILE | 0o700, 1000), 1000) == "it is not a folder"
    assert "belongs to user 1001" in str(problem_of(status(FOLDER | 0o700, 1001), 1000))


@given(st.integers(0, 0o777))
def test_a_folder_is_private_only_if_no_right_is_given_to_others(mode: int) -> None:
    assert (problem_of(status(FOLDER | mode, 1000), 1000) is None) == (mode & 0o077 == 0)


def test_a_socket_path_fits_up_to_the_kernels_limit_in_bytes() -> None:
    assert fits_socket(Path("/" + "d" * (SOCKET_PATH_BYTES - 1)))
    assert not fits_socket(Path("/" + "d" * SOCKET_PATH_BYTES))
    assert not fits_socket(Path("/" + "ü" * (SOCKET_PATH_BYTES // 2 + 1)))


@pytest.mark.parametrize("path", ["/with,comma/s", os.fsdecode(b"/not-utf8-\xff/s")])
def test_a_socket_path_that_a_url_or_libpq_cannot_carry_does_not_fit(path: str) -> None:
    assert not fits_socket(Path(path))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_the_fallback_always_fits_and_is_the_same_for_the_same_folder(name: str) -> None:
    folder = Path("/") / name
    fallback = fallback_socket_folder(folder, Path("/tmp"), 4_294_967_294)
    assert fallback == fallback_socket_folder(folder, Path("/tmp"), 4_294_967_294)
    assert fits_socket(fallback / ".s.PGSQL.5432")


def test_the_fallback_differs_between_users_and_between_folders() -> None:
    places = {
        fallback_socket_folder(Path(folder), Path("/tmp"), user) for folder in ("/a", "/b") for user in (0, 1)
    }
    assert len(places) == 4


def test_the_last_complaint_is_shown_rather_than_the_goodbye_after_it() -> None:
    log = 'LOG:  starting\nFATAL:  could not map "x": No space left on device\nLOG:  shut down\n\n'
    assert last_complaint(log) == 'FATAL:  could not map "x": No space left on device'


def test_the_answer_to_a_question_asked_too_early_is_no_complaint() -> None:
    killed = "LOG:  startup process (PID 9) was terminated by signal 9: Killed"
    assert last_complaint(f"{killed}\nFATAL:  the database system is starting up\n") == killed


def test_without_a_complaint_the_last_line_is_shown() -> None:
    assert last_complaint("one\ntwo\n") == "two"
    assert last_complaint("") == "it ended without a word"
