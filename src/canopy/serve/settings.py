"""Settings of a server: passed on to its worker processes through their environment."""

import json
import os
import re
from dataclasses import asdict, dataclass, field

ENVIRONMENT = "CANOPY_SERVE"

# Of each number, the least and the most.
LIMITS = {
    "port": (0, 65535),
    "workers": (1, 256),
    "n_threads": (1, 256),
    "max_body_bytes": (1, 2**31),
    "max_rows": (1, 10_000_000),
    "stop_seconds": (1, 86_400),
}

# What a browser names a page's server by.
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s*]+")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a server.

    Attributes:
        bundle: Folder of the bundle.
        host: Address to listen on.
        port: Port to listen on; 0 for any that is free.
        workers: Processes that answer.
        n_threads: Threads of a prediction in each process.
        max_body_bytes: Largest request body that is read.
        max_rows: Most rows of a request.
        stop_seconds: Time that requests in flight get when the server stops.
        cors_origins: Origins whose pages may use the server from a browser; `*` for all.
        api_key: What the header `X-API-Key` must hold to be answered; None to answer all.
        shared_folder: Where several processes share counts; None for one process.
    """

    bundle: str
    host: str
    port: int
    workers: int
    n_threads: int
    max_body_bytes: int
    max_rows: int
    stop_seconds: int
    cors_origins: list[str] = field(default_factory=list)
    api_key: str | None = None
    shared_folder: str | None = None

    def __post_init__(self) -> None:
        for name in ("bundle", "host"):
            if not isinstance(value := getattr(self, name), str) or not value:
                raise ValueError(f"{name} must be a text, not an empty one; found {value!r}")
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}; found {value!r}")
        origins = self.cors_origins
        if not isinstance(origins, list) or not all(map(ORIGIN.fullmatch, map(str, origins))):
            raise ValueError(
                "cors_origins must be a list of origins (scheme://host:port, no path), or [*] for all; "
                f"got {origins!r}"
            )
        if self.api_key == "":
            raise ValueError("CANOPY_API_KEY must not be empty; found '': unset it to answer all")

    def export(self) -> None:
        """Let processes that this one starts read the settings."""
        os.environ[ENVIRONMENT] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read what `export` wrote."""
        return cls(**json.loads(os.environ[ENVIRONMENT]))
