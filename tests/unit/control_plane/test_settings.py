"""Settings: each is documented, and weak or open secrets end the start with one sentence that does not quote them."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.config import Settings
from control_plane.errors import ConfigurationError
from control_plane.settings_page import settings_page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "settings.md"
STRONG = "9f2c51d07ab84e6d3f10c2aa"


def test_the_page_is_what_the_settings_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "run: make settings"


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    "password",
    [
        "",
        "x7Q",
        "8f2c51d07ab84e6",
        "postgres",
        "changeme-changeme",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "My-Password-2026!",
        "a%20b",
    ],
)
def test_a_password_that_can_be_guessed_is_refused_and_not_quoted(password: str, tmp_path: Path) -> None:
    address = f"postgresql://app:{password}@db/farm"
    if not password:
        assert Settings(data=tmp_path, database_url=address).database_url == address
        return
    with pytest.raises(ConfigurationError, match="password of the database is too easy to guess") as refused:
        Settings(data=tmp_path, database_url=address)
    assert password not in str(refused.value)


def test_the_address_comes_from_a_file_of_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "database"
    file.write_text(f"postgresql://app:{STRONG}@db/farm\n")
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {file}"):
        Settings(data=tmp_path, database_url_file=file)
    file.chmod(0o600)
    settings = Settings(data=tmp_path, database_url_file=file)
    assert settings.database_url == f"postgresql://app:{STRONG}@db/farm"
    assert STRONG not in repr(settings)


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), ("", "is empty"), ("p://a:b@c/d", "guess")])
def test_a_file_without_an_address_is_named(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "database"
    if content is not None:
        file.touch(mode=0o600)
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=said):
        Settings(data=tmp_path, database_url_file=file)


def test_an_address_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "database"
    file.touch(mode=0o600)
    with pytest.raises(ConfigurationError, match="given twice"):
        Settings(data=tmp_path, database_url="postgresql://app@db/farm", database_url_file=file)
