"""Settings of a server."""

from typing import Annotated, Any

from pydantic import Field, ValidationError

from canopy.schema.columns import Model

Count = Annotated[int, Field(strict=True, ge=1)]
FewProcesses = Annotated[int, Field(strict=True, ge=1, le=256)]
Text = Annotated[str, Field(min_length=1)]
# What a browser names the server of a page by: scheme, host and port.
Origin = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/\s*]+)$")]


class Settings(Model):
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
    """

    bundle: Text
    host: Text
    port: Annotated[int, Field(strict=True, ge=0, le=65535)]
    workers: FewProcesses
    n_threads: FewProcesses
    max_body_bytes: Count
    max_rows: Count
    stop_seconds: Count
    cors_origins: list[Origin] = Field(default_factory=list)

    @classmethod
    def parse(cls, options: dict[str, Any]) -> "Settings":
        """Validate options.

        Raises:
            ValueError: If one is unknown or invalid; the message names it, the requirement and the value.
        """
        try:
            return cls(**options)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            option, *_ = first["loc"]
            raise ValueError(f"{option}: {first['msg']}; got {first['input']!r}") from None
