"""Two people, two clones of one repository and one server: the commands of docs/sharing.md, in order."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from omegaconf import OmegaConf

from packages import INSTALL

if TYPE_CHECKING:
    from tests.remotes.conftest import Person, Server

ROOT = Path(__file__).parents[2]
COPIED = (
    *("configs", "datasets", "scripts", "src", "params.yaml", "dvc.yaml", "Makefile", ".dvcignore"),
    *(".gitignore", ".dvc/config", ".dvc/.gitignore", "pyproject.toml", "requirements.lock"),
)
# What takes the longest and shares nothing that the others do not.
LEFT_OUT = ("baselines", "export", "compress")
OLDER = "data-2026-10"
RUN_STAGE = re.compile(r"Running stage '(\w+)'")


def blocks(heading: str) -> list[str]:
    guide = (ROOT / "docs/sharing.md").read_text()
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", guide, re.DOTALL | re.MULTILINE)
    return re.findall(r"```bash\n(.*?)```", section, re.DOTALL)


class Team:
    """The server, the repository and the guide's commands with the names of this test in them."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.repository, self.store = server, folder / "canopy.git", folder / "store"
        self.store.mkdir()
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", self.repository], check=True)

    def command(self, block: str) -> str:
        command = block.replace("ssh://data.example.org/srv/canopy", self.server.url(self.store))
        command = command.replace("git@example.org:team/canopy.git", str(self.repository))
        command = re.sub(r"\buser (ada|grace|ci)\b", f"user {getpass.getuser()}", command)
        return command.replace("make install\nsource .venv/bin/activate\n", f"{INSTALL}\n")

    def do(self, person: Person, block: str) -> str:
        return person.shell(self.command(block))

    def n_objects(self) -> int:
        """Count the files on the server, each with the content that its name reports."""
        found = [path for path in self.store.rglob("*") if path.is_file()]
        for path in found:
            content = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            assert f"{path.parent.name}{path.name}".removesuffix(".dir") == content, path
        return len(found)


def prepare(person: Person, table: str, name: str | Path, *stages: str, **changes: object) -> None:
    """Place a table as the guide says: the file, and its hash in params.yaml; leave out some stages."""
    path, params = person.folder / name, person.folder / "params.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table)
    changed = {"fetch": {"sha256": hashlib.sha256(table.encode()).hexdigest()}}
    OmegaConf.save(OmegaConf.merge(OmegaConf.load(params), changes, changed), params)
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    pipeline["stages"] = {name: stage for name, stage in pipeline["stages"].items() if name not in stages}
    (person.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline))


SMALL = {
    # Nobody listens there: the tables are placed by hand.
    "fetch": {"sources": [{"url": "http://127.0.0.1:1/none.zip", "member": "none", "has_header": False}]},
    "cap_classes": {"max_per_class": 300},
    "explore": {"n_mutual_information_rows": 500},
    "train": {"overrides": "trainer=cpu trainer.max_epochs=2 model.net.hidden=[16] data.batch_size=128"},
}


def replace_param(person: Person, before: str, after: str) -> None:
    params = person.folder / "params.yaml"
    params.write_text(params.read_text().replace(before, after))


def assert_up_to_date(*people: Person) -> None:
    for person in people:
        assert person.shell("dvc status dvc.yaml").strip() == "Data and pipelines are up to date."


@pytest.mark.slow
def test_two_people_share_data_and_results(
    sshd: Server,
    tmp_path: Path,
    new_person: Callable[[str], Person],
    sample_csv: str,
    copy_project: Callable[..., None],
) -> None:
    team = Team(sshd, tmp_path)
    ada, grace, ci = (new_person(name) for name in ("ada", "grace", "ci"))
    older = "".join(sample_csv.splitlines(keepends=True)[:-400])

    # The owner has a first version, of the data alone, and shares it.
    copy_project(ada.folder, *COPIED)
    # It has no model yet.
    prepare(ada, older, "data/raw/covtype.csv", *LEFT_OUT, "train", "evaluate", **SMALL)
    ada.shell(f"git init --quiet; git remote add origin {team.repository}")
    ada.shell(f"{INSTALL}; dvc repro; git add .; git commit --quiet --message First")
    ada.shell("git push --quiet --set-upstream origin main")
    sshd.admit(ada)
    hosts = ada.home / ".ssh/known_hosts"
    known = hosts.read_text()
    hosts.unlink()
    (share,) = blocks("The owner")
    command = team.command(share)
    assert "Host key is not trusted" in ada.run("bash", "-ec", command, check=False).stderr
    assert not [*team.store.iterdir()]
    hosts.write_text(known)
    assert "pushed" in team.do(ada, "make push\ngit push")
    ada.shell(f"git tag {OLDER}; git push --quiet origin {OLDER}")
    n_first = team.n_objects()

    # A new version of the data, and a model.
    prepare(ada, sample_csv, ada.home / "new.csv", *LEFT_OUT)
    (renew,) = blocks("A new version of the data")
    assert hashlib.sha256(sample_csv.encode()).hexdigest() in team.do(ada, renew)
    assert team.n_objects() > n_first

    # A member begins with an empty folder and finds nothing to do.
    sshd.admit(grace)
    begin, change, receive = blocks("A member")
    grace.folder.rmdir()
    grace.folder = grace.folder.parent
    reported = team.do(grace, begin)
    grace.folder = grace.folder / "canopy"
    assert "Data and pipelines are up to date" in reported
    assert "Running stage" not in reported
    assert (grace.folder / "data/raw/covtype.csv").read_text() == sample_csv
    assert "keyfile" not in (grace.folder / ".dvc/config").read_text()
    assert grace.shell("git status --short") == ""

    # She changes a parameter and gives her result to the others.
    replace_param(grace, "max_per_class: 300", "max_per_class: 200")
    reported = team.do(grace, change)
    assert RUN_STAGE.findall(reported) == ["cap_classes", "make_tensors", "train", "evaluate"]
    assert re.search(r"reports/headline.json +test\.accuracy", reported)
    team.do(ada, receive)
    hers, his = (json.loads((person.folder / "reports/metrics.json").read_text()) for person in (grace, ada))
    assert hers == his
    assert (ada.folder / "reports/class_cap.json").read_text().count("200")
    assert_up_to_date(ada)
    trained = "models/trained/checkpoints/best.ckpt"
    assert (ada.folder / trained).read_bytes() == (grace.folder / trained).read_bytes()

    # Both change something at once.
    for person, before, after in (
        (grace, "test_size: 0.2", "test_size: 0.25"),
        (ada, "max_epochs=2", "max_epochs=3"),
    ):
        replace_param(person, before, after)
        person.shell("dvc repro; git add .; git commit --quiet --message 'A change'")
    team.do(grace, "make push\ngit push")
    merge, resolve = blocks("Two changes at once")
    reported = ada.run("bash", "-c", merge, check=False).stdout
    assert "Merge conflict in dvc.lock" in reported
    assert RUN_STAGE.findall(team.do(ada, resolve))[0] == "split"
    both = OmegaConf.load(ada.folder / "params.yaml")
    assert (both.split.test_size, "max_epochs=3" in both.train.overrides) == (0.25, True)
    team.do(grace, receive)
    assert_up_to_date(ada, grace)

    # A machine that nobody sits at gets the same.
    ci.variables = {
        "SSH_KEY": (ada.home / ".ssh/id_ed25519").read_text(),
        "HOST_KEY": (ada.home / ".ssh/known_hosts").read_text().strip(),
    }
    ci.shell(f"git clone --quiet {team.repository} .; {INSTALL}")
    (automatic,) = blocks("CI")
    assert "Data and pipelines are up to date" in team.do(ci, automatic)
    assert (ci.home / ".ssh/id_ed25519").stat().st_mode & 0o077 == 0

    # Who changed what.
    (ask,) = blocks("Who changed what")
    reported = team.do(grace, ask)
    assert "grace A smaller cap" in reported
    assert "ada Data of November" in reported
    assert re.search(r"Modified:\n(?:.*\n)*? +data/raw/covtype.csv", reported)
    assert re.search(r"params.yaml +cap_classes.max_per_class +300 +200", reported)

    # The older commit brings the older data, to a clone that never had it too.
    (back,) = blocks("Going back to an older version")
    for person in (ada, grace):
        there, _, home = back.partition("git checkout main")
        team.do(person, there)
        assert (person.folder / "data/raw/covtype.csv").read_text() == older
        assert_up_to_date(person)
        team.do(person, f"git checkout main{home}")
        assert (person.folder / "data/raw/covtype.csv").read_text() == sample_csv
    team.n_objects()
