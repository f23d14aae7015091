"""The documentation: the site builds without a network, its commands are valid, its tutorials run."""

import hashlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from packages import INSTALL, ROOT, composed, execute, free_port

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGS = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
TARGETS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def commands(path: Path) -> Iterator[list[str]]:
    """Give the words of each command of a page, with a name for each placeholder."""
    for block in blocks(path, "bash"):
        text = re.sub(r"<\w+>|\"\$\(.*?\)\"", "NAME", block.replace("\\\n", " "))
        text = re.sub(r"(^|\s)#.*", "", text)
        lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
        lexer.whitespace, lexer.whitespace_split = " \t", True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word[0] not in ";&|\n":
                words.append(word)
            elif words:
                yield words
                words = []


def script_of(words: list[str]) -> list[str]:
    """Give the script that a command runs, `make train ARGS=...` and the like too, and its arguments."""
    if words[0] == "make" and words[1] in {"train", "sweep", "baselines", "serve"}:
        given = [word.removeprefix("ARGS=") for word in words if word.startswith("ARGS=")]
        return [f"{words[1].replace('sweep', 'train')}.py", *shlex.split(given[0])] if given else []
    return [Path(words[1]).name, *words[2:]] if words[1:] and words[1].endswith(".py") else []


# A command that several pages have is tried once.
SCRIPTS = sorted({shlex.join(script_of(words)) for page in PAGES for words in commands(page)} - {""})


@pytest.mark.parametrize("command", SCRIPTS)
@pytest.mark.usefixtures("rule_for_5000_rows")
def test_documented_command_is_valid(command: str) -> None:
    script, *words = shlex.split(command)
    folders = ("src", "scripts", "benchmarks", "docs")
    (path,) = (ROOT / folder / script for folder in folders if (ROOT / folder / script).is_file())
    config = "stage" if path.parent.name == "scripts" else path.stem
    if config not in CONFIGS:
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        assert all(f'"{option}"' in path.read_text() for option in options if path.stem != "remote")
        return
    if "hydra/launcher=ray" in command:
        pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="the extra ray is not installed")
    parsed = OverridesParser.create().parse_overrides([word for word in words if not word.startswith("-")])
    # What is swept gets its values from the sweeper.
    composed(config, *(override.input_line for override in parsed if not override.is_sweep_override()))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_named_files_targets_and_choices_exist(path: Path) -> None:
    text = path.read_text()
    assert {*re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)} <= {*TARGETS}
    for name in re.findall(r"`((?:src|scripts|configs|benchmarks|docker|tests)/[\w./]+\.\w+)`", text):
        assert "NAME" in name or (ROOT / name).exists(), name
    for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        # Pages that docs/pages.py makes.
        if link not in {"commands.md", "configs.md"}:
            assert (path.parent / link).exists(), link
    groups = "debug|experiment|model|preparation|preset|sweep|trainer"
    for group, choice in re.findall(rf"(?<![\w.])({groups})(?:@pipeline)?=([a-z][\w/]*)(?![\w/])", text):
        assert [*ROOT.glob(f"configs/**/{group}/{choice}.yaml")], f"{group}={choice}"


def test_site_builds_without_warnings_or_network(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1")
    environment = {**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for page in ("index", "tutorial", "commands", "configs", "api/schema"):
        text = (tmp_path / f"{page}.html").read_text()
        assert not re.findall(r"<(?:script|img|link)\b[^>]*(?:src|href)=\"?(https?://[^\s\">]+)", text), page
    assert "TableSchema.parse" in (tmp_path / "api/schema.html").read_text()


class Reader:
    """A person who follows a page in a copy of the project, where `make install` has run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()

    def run(self, *command: str) -> str:
        return execute(*command, folder=self.folder).stdout

    def follow(self, block: str) -> str:
        """Run a block; a server stays in the background until the block ends."""
        block = re.sub(r"^git clone .*\ncd canopy\n", "", block)
        return self.run("bash", "-ec", block.replace(":8000", f":{self.port}"))

    def serve(self, block: str, then: str) -> str:
        """Run a block that serves, and another one while it does."""
        server = f"{block.partition('#')[0].strip()} ARGS=port={self.port} >serve.log 2>&1 & server=$!"
        wait = f"curl -sf --retry 100 --retry-delay 1 --retry-connrefused http://127.0.0.1:{self.port}/ready"
        then = then.replace(":8000", f":{self.port}")
        # make's child, the server, gets the signal too.
        stop = "pkill -TERM -P $server; wait $server || true"
        return self.run("bash", "-c", f"{server}\n{wait} || cat serve.log\n{then}\n{stop}")


@pytest.fixture
def reader(tmp_path: Path, copy_project: Callable[..., None], sample_csv: str) -> Reader:
    copied = ("configs", "scripts", "src", "datasets", "params.yaml", "dvc.yaml", ".dvcignore", ".gitignore")
    copy_project(tmp_path, *copied, "Makefile", "requirements.lock", "pyproject.toml")
    params = OmegaConf.load(tmp_path / "params.yaml")
    # The small sample in place of the table.
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/covtype.csv").write_text(sample_csv)
    params.fetch.sha256 = hashlib.sha256(sample_csv.encode()).hexdigest()
    params.explore.n_mutual_information_rows = 500
    params.train.overrides = "trainer=cpu trainer.max_epochs=2 model.net.hidden=[32] data.batch_size=128"
    OmegaConf.save(params, tmp_path / "params.yaml")
    reader = Reader(tmp_path)
    reader.run(
        "sh", "-c", f"git init -q; dvc init -q; {INSTALL}; git config user.name a; git config user.email a@b"
    )
    return reader


@pytest.mark.slow
def test_tutorial_runs_as_written(reader: Reader) -> None:
    steps = blocks(ROOT / "docs/tutorial.md", "bash")
    serve = steps.index("make serve\n")
    shown = [reader.follow(block) for block in steps[:serve]]
    assert "Test accuracy" in shown[0]
    assert any("McNemar" in text for text in shown)
    assert reader.serve(steps[serve], steps[serve + 1]).count("\n") > 1000
    assert len(steps) == serve + 2
    # The examples of another page, which need what the tutorial leaves.
    for block in blocks(ROOT / "docs/life_of_a_row.md", "python"):
        assert reader.run("python", "-c", f"from canopy.schema import TableSchema\n{block}")


@pytest.mark.slow
def test_own_table_runs_as_written(reader: Reader) -> None:
    three, make_file, draft, repro, improve, use, keep = blocks(ROOT / "docs/your_table.md", "bash")
    reader.follow(make_file)
    assert "Drafted datasets/wine/params.yaml" in reader.follow(draft)
    assert draft.split()[:5] == three.split()[:5]
    params = reader.folder / "datasets/wine/params.yaml"
    # The command is the guide's, with less training.
    params.write_text(re.sub(r"preset=default", "preset=quick trainer.max_epochs=2", params.read_text()))
    assert "Test accuracy" in reader.follow(repro)
    reader.follow("\n".join(line for line in improve.splitlines() if not re.search("sweep|baselines", line)))
    reader.follow(use)
    assert (reader.folder / "datasets/wine/predictions.csv").read_text().count("\n") == 179
    reader.follow(keep)
    assert '"ready"' in reader.serve(three.splitlines()[2], "curl -sf http://127.0.0.1:8000/ready")
