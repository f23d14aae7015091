"""DVC's remotes by SSH, with the host's key checked."""

from typing import Any

from dvc_objects.fs import known_implementations
from dvc_ssh import SSHFileSystem


class CheckedSSHFileSystem(SSHFileSystem):  # type: ignore[misc]
    """DVC's SSH, which trusts any host that answers (dvc-ssh 4.3 and sshfs 2026.8), made careful.

    The host must be in `~/.ssh/known_hosts`, as for the command `ssh`: another host would get the password,
    and could give other data. It does not get at the keys of the user's agent, which DVC would forward.
    """

    def _prepare_credentials(self, **config: Any) -> dict[str, Any]:
        login = super()._prepare_credentials(**config)
        # asyncssh: None trusts all, an empty value takes the user's files.
        return {**login, "known_hosts": (), "agent_forwarding": False}


def check_host_keys() -> None:
    """Let DVC take the checked SSH, in this process."""
    known_implementations["ssh"]["class"] = f"{__name__}.{CheckedSSHFileSystem.__name__}"
