"""Run a command of DVC that talks to the team's remote, with the SSH host's key checked.

python src/remote.py push dvc.yaml    the data and models of this version
python src/remote.py pull data/raw    one output; the options are those of `dvc pull`
"""

import sys
from typing import Any

from dvc.cli import main
from dvc_ssh import SSHFileSystem

prepare_credentials = SSHFileSystem._prepare_credentials  # noqa: SLF001


def prepare_checked_credentials(file_system: SSHFileSystem, **config: Any) -> dict[str, Any]:
    """Make DVC's SSH careful, which trusts any host that answers (dvc-ssh 4.3 and sshfs 2026.8).

    The host must be in `~/.ssh/known_hosts`, as for the command `ssh`, and gets no keys of the user's agent.
    """
    # asyncssh: None trusts all, an empty value takes the user's files.
    return {**prepare_credentials(file_system, **config), "known_hosts": (), "agent_forwarding": False}


if __name__ == "__main__":
    SSHFileSystem._prepare_credentials = prepare_checked_credentials  # noqa: SLF001
    sys.exit(main(sys.argv[1:]))
