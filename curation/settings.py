"""Paths, key and limits. The only reader of the environment and of `rwid.toml`."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from curation.records import ConfigurationError

KEY_BYTES = 32

_RWID_TOML = """\
# rwid settings of this home. Every line is optional; the values shown are the defaults.
# The same names in capitals with the prefix RWID_ work as environment variables and win, such as RWID_WORKERS=4.

# workers = 0                 # worker processes for intake; 0: one a core
# file_deadline_s = 120       # a file that takes longer is refused as `timeout`
# worker_memory_mib = 2048    # a worker that asks for more is refused as `memory`
# max_file_mib = 8192         # a larger file is refused as `too_large`
# profile = "research"        # de-identification profile: basic, research, or the path of a profile file
# verify_sample = 4           # objects of each modality and delivery whose pixels the second look reads for text; -1: all
# key_file = ""               # where the secret key lies; default: restricted/key, made on first use
# key_command = ""            # or a command that prints the key in hex, such as a KMS client
"""


@dataclass(frozen=True, slots=True)
class Places:
    """Where things lie under one home (contract: design, places)."""

    home: Path

    @property
    def restricted(self) -> Path:
        """Everything raw; opened by intake and de-identification only."""
        return self.home / "restricted"

    @property
    def inbox(self) -> Path:
        """`<site>/<delivery>/`: what sites hand over."""
        return self.restricted / "inbox"

    @property
    def deliveries(self) -> Path:
        """`<delivery>.json`: what was registered."""
        return self.restricted / "deliveries"

    @property
    def lake(self) -> Path:
        """The de-identified side."""
        return self.home / "lake"

    @property
    def sites(self) -> Path:
        """The user's own sites, `*.toml`."""
        return self.home / "sites"

    @property
    def cohorts(self) -> Path:
        """The user's own cohort specs, `*.yaml`."""
        return self.home / "cohorts"

    @property
    def recipes(self) -> Path:
        """The user's own TuneSpecs, `*.yaml`."""
        return self.home / "recipes"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.home / "dagster"


class Settings(BaseSettings):
    """Settings of one home: `rwid.toml`, overridden by RWID_* environment variables."""

    model_config = SettingsConfigDict(env_prefix="RWID_", extra="forbid", frozen=True)

    home: Path = Path("rwid-home")
    workers: int = Field(default=0, ge=0)
    file_deadline_s: float = Field(default=120.0, gt=0)
    worker_memory_mib: int = Field(default=2048, ge=256)
    max_file_mib: int = Field(default=8192, ge=1)
    profile: str = "research"
    verify_sample: int = Field(default=4, ge=-1)
    key_file: Path | None = None
    key_command: str = ""

    @property
    def places(self) -> Places:
        """Where things lie under this home."""
        return Places(self.home)

    @property
    def n_workers(self) -> int:
        """Worker processes: as set, or one for each core this process may use."""
        return self.workers or len(os.sched_getaffinity(0))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over rwid.toml."""
        home = init_settings().get("home") or env_settings().get("home") or Path("rwid-home")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(home) / "rwid.toml")


def load_settings(home: Path | str | None = None) -> Settings:
    """Settings of a home (argument, else RWID_HOME, else ./rwid-home), with an absolute home. Writes nothing.

    Raises ConfigurationError where a value is wrong.
    """
    try:
        settings = Settings(home=Path(home)) if home is not None else Settings()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"Settings: {problems}. Mend rwid.toml or the RWID_* variable.") from None
    return settings.model_copy(update={"home": settings.home.resolve()})


def open_home(settings: Settings) -> Places:
    """The home's places, made on first use: rwid.toml with comments, restricted/ with mode 0700."""
    places = settings.places
    for folder in (places.home, places.lake, places.sites, places.cohorts, places.recipes, places.dagster):
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (places.restricted, places.inbox, places.deliveries):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    places.restricted.chmod(0o700)
    toml = places.home / "rwid.toml"
    if not toml.exists():
        toml.write_text(_RWID_TOML)
    return places


def load_key(settings: Settings) -> bytes:
    """The secret key, at least 32 bytes: from key_command, else key_file, else restricted/key (made on first use, 0600).

    Raises ConfigurationError where the command fails or the key is too short.
    """
    if settings.key_command:
        result = subprocess.run(
            shlex.split(settings.key_command), capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise ConfigurationError(
                f"RWID_KEY_COMMAND ended with exit code {result.returncode}; it must print the key in hex."
            )
        return _parse_key(result.stdout, "RWID_KEY_COMMAND")
    path = settings.key_file or settings.places.restricted / "key"
    if settings.key_file is None and not path.exists():
        _create_key(path)
    if not path.exists():
        raise ConfigurationError(
            f"Key file {path} does not exist. Mend RWID_KEY_FILE; a new home makes its own key where it is unset."
        )
    return _parse_key(path.read_text(), str(path))


def find_key(settings: Settings) -> bytes | None:
    """The key where there is one; none is made. Raises ConfigurationError as load_key does."""
    is_there = settings.key_command or (settings.key_file or settings.places.restricted / "key").exists()
    return load_key(settings) if is_there else None


def _create_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".key-{os.getpid()}-{secrets.token_hex(4)}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(aside, path)  # fails if another process was first: then its key is the key
    except FileExistsError:
        pass
    finally:
        aside.unlink()


def _parse_key(text: str, source: str) -> bytes:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        raise ConfigurationError(f"{source}: the key must be written in hex.") from None
    if len(key) < KEY_BYTES:
        raise ConfigurationError(
            f"{source}: the key has {len(key)} bytes; at least {KEY_BYTES} are needed (openssl rand -hex 32)."
        )
    return key
