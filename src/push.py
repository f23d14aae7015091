"""Bring the data and models of this version to the team's remote: `dvc push`, the host's key checked.

python src/push.py                    all of this version
python src/push.py data/raw           one output; further options are those of `dvc push`
python src/push.py --verbose          with all that DVC says
"""

import sys

from canopy.remotes.transfer import transfer_command

if __name__ == "__main__":
    transfer_command("push", sys.argv[1:])
