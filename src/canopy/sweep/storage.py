"""Where studies are kept: an embedded SQLite file, or any database that Optuna knows."""

import functools
import os
import time
from pathlib import Path

import optuna
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from canopy.passwords import hide_passwords, refuse_passwords

DEFAULT_STORAGE = "sqlite:///logs/sweeps.db"

# Holds the password of a storage that has one; processes that a sweep starts inherit it.
PASSWORD_VARIABLE = "CANOPY_STORAGE_PASSWORD"  # noqa: S105 - the name of the variable
HINT = f"give it as {PASSWORD_VARIABLE} in the environment, PostgreSQL's also in ~/.pgpass"

# How long a writer waits for another one; SQLite's five seconds are short for a busy disk.
LOCK_SECONDS = 60


@functools.cache
def open_storage(url: str) -> optuna.storages.BaseStorage:
    """Open a storage, once in each process; an embedded one that is not there is created.

    Args:
        url: As SQLAlchemy takes it: `sqlite:///logs/sweeps.db`, `postgresql+psycopg://user@host/database`.

    Raises:
        ValueError: If there is no such storage, it cannot be opened, or the URL has a password in it.
    """
    refuse_passwords([url], hint=HINT)
    engine_kwargs = {}
    try:
        parsed = make_url(url)
        if parsed.password:
            # One with signs in it that no URL should have.
            shown = parsed.set(password="hidden").render_as_string(hide_password=False)  # noqa: S106 - in its place
            refuse_passwords([shown], hint=HINT)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            engine_kwargs = {"connect_args": {"timeout": LOCK_SECONDS}}
        if parsed.host and (password := os.environ.get(PASSWORD_VARIABLE)):
            parsed = parsed.set(password=password)
        connection = parsed.render_as_string(hide_password=False)
        # Of two commands that make the tables at once, the later one opens them again.
        for seconds in (0.1, 0.5, 2.0):
            try:
                return optuna.storages.RDBStorage(connection, engine_kwargs=engine_kwargs)
            except (OperationalError, ProgrammingError, IntegrityError) as error:
                if not isinstance(error, IntegrityError) and "already exists" not in str(error):
                    raise
                time.sleep(seconds)
        return optuna.storages.RDBStorage(connection, engine_kwargs=engine_kwargs)
    except (SQLAlchemyError, ImportError, OSError) as error:
        reason = hide_passwords(str(error).strip().partition("\n")[0])
        raise ValueError(
            f"hydra.sweeper.storage must be the URL of a database that can be opened; got {reason}"
        ) from error
