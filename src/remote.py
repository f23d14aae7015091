"""Run a command of DVC that talks to the team's remote, with the SSH host's key checked.

python src/remote.py push dvc.yaml    the data and models of this version
python src/remote.py pull data/raw    one output; the options are those of `dvc pull`
"""

import sys

from dvc.cli import main

from canopy.remote import check_host_keys

if __name__ == "__main__":
    check_host_keys()
    sys.exit(main(sys.argv[1:]))
