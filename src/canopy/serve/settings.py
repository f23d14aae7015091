"""Settings of a server; configs/serve.yaml has their defaults and meanings."""

from typing import Annotated

from pydantic import Field, PositiveInt

from canopy.schema.columns import Model

FewProcesses = Annotated[int, Field(ge=1, le=256)]
Text = Annotated[str, Field(min_length=1)]
# What a browser names the server of a page by: scheme, host and port.
Origin = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/\s*]+)$")]


class Settings(Model):
    """Settings of a server."""

    bundle: Text
    host: Text
    # 0 for any that is free.
    port: Annotated[int, Field(ge=0, le=65535)]
    workers: FewProcesses
    n_threads: FewProcesses
    max_body_bytes: PositiveInt
    max_rows: PositiveInt
    # That requests in flight get when the server stops.
    stop_seconds: PositiveInt
    cors_origins: tuple[Origin, ...] = ()
