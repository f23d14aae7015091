"""Bring the data and models of this version from the team's remote: `dvc pull`, the host's key checked.

python src/pull.py                    all of this version
python src/pull.py data/raw           one output; further options are those of `dvc pull`
python src/pull.py --verbose          with all that DVC says
"""

import sys

from canopy.remotes.transfer import transfer_command

if __name__ == "__main__":
    transfer_command("pull", sys.argv[1:])
