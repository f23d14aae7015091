"""Say where the team's data is, and keep one's credentials out of git.

python src/remote.py --url ssh://host/folder user=ada keyfile=~/.ssh/id     user and key stay out of git
python src/remote.py --url s3://bucket access_key_id=ID secret_access_key=  an empty value is asked for
python src/remote.py user=grace keyfile=~/.ssh/id                           for the remote that is set
"""

import argparse
import getpass
import sys

from dvc.exceptions import DvcException

from canopy.remotes.settings import set_remote


def main() -> None:
    arguments = parse(sys.argv[1:])
    try:
        remote = set_remote(arguments.url, arguments.options, ask=ask)
    except (DvcException, OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    shared = [f"{key}={value}" for key, value in remote.shared.items()]
    sys.stdout.write(f"For all, to be committed (.dvc/config): {', '.join(shared) or 'nothing new'}\n")
    sys.stdout.write(f"For you alone (.dvc/config.local): {', '.join(remote.private) or 'nothing new'}\n")


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="where the data is; replaces all that was set")
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE", help="options of DVC's remotes")
    return parser.parse_args(words)


def ask(key: str) -> str:
    """Read a value from the terminal unseen, or a line of what is piped in."""
    return getpass.getpass(f"{key}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


if __name__ == "__main__":
    main()
