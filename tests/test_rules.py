"""The rules of the house that a test can check."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("scripts/*.py")])
STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
DATA_STAGES = [
    stage for stage in STAGES if stage not in {"train", "evaluate", "baselines", "export", "compress"}
]
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "misc"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_holds_one_idea_and_no_data_set(path: Path) -> None:
    text = path.read_text()
    assert path.stem not in VAGUE
    assert len(text.splitlines()) <= 250
    assert "sys.path" not in text
    if "canopy" in path.parts:
        # An example in a docstring may use the column names of the first task.
        code = re.sub(r'r?""".*?"""', "", text, flags=re.DOTALL)
        assert not re.findall("covertype|cover_type|wilderness|hillshade", text, re.IGNORECASE)
        assert not re.findall("soil_type|elevation", code, re.IGNORECASE)


def package_of(stage: str) -> str:
    return "explore" if stage == "explore" else "prepare"


@pytest.mark.parametrize("stage", DATA_STAGES)
def test_a_stage_script_and_section_share_one_name(stage: str) -> None:
    assert (ROOT / "scripts" / f"{stage}.py").is_file()
    assert (ROOT / "src/canopy" / package_of(stage) / f"{stage}.py").is_file()
    lines = (ROOT / "scripts" / f"{stage}.py").read_text().splitlines()
    assert len(lines) < 25, "a stage script is thin"


@pytest.mark.parametrize("stage", [stage for stage in DATA_STAGES if stage != "make_tensors"])
def test_a_stage_without_tensors_imports_no_torch(stage: str) -> None:
    code = f"import sys, canopy.{package_of(stage)}.{stage}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "command", ["train", "evaluate", "baselines", "export", "compress", "predict", "serve"]
)
def test_help_answers_without_importing_torch(command: str) -> None:
    code = (
        f"import runpy, sys; sys.argv = ['{command}.py', '--help']\n"
        "try:\n"
        f"    runpy.run_path('src/{command}.py', run_name='__main__')\n"
        "except SystemExit:\n"
        "    sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "can be overridden" in done.stdout
    assert done.stdout.count(f"python src/{command}.py") == 3


def test_dvc_names_each_script_and_no_value_of_params() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    for stage, content in yaml.safe_load(text)["stages"].items():
        folder, script = re.fullmatch(
            r"(PYTHONPATH=\$\{paths\.src\} )?python (\$\{paths\.\w+\}/\w+\.py)( .*)?",
            content["cmd"],
            re.DOTALL,
        ).group(1, 2)
        # Python finds the package beside the scripts of src/; those of scripts/ must be told of it.
        assert (folder is not None) == ("paths.scripts" in script)
        assert Path(script).stem == stage
        assert script in content["deps"]
    for path in yaml.safe_load((ROOT / "params.yaml").read_text())["paths"].values():
        assert not re.search(rf"- {re.escape(path)}\b", text), f"dvc.yaml must use the parameter for {path}"


def test_dvc_reads_the_commits(tmp_path: Path) -> None:
    """What a commit holds is compared with the files that are there: `dvc diff`, `dvc params diff`."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, folder], check=True)
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("\nseed: 42", "\nseed: 43"))
    found = [
        subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
        for command in (("params", "diff", "--json"), ("diff", "--json", "HEAD"))
    ]
    seed = json.loads(found[0])["params.yaml"]["seed"]
    assert seed == {"old": 42, "new": 43, "diff": 1}
    # Nothing of the pipeline is in the clone.
    assert json.loads(found[1])["added"] == []


def test_a_clone_with_autocrlf_has_the_line_ends_of_the_commit(tmp_path: Path) -> None:
    """DVC would take each file for changed, shells would not run the scripts."""
    command = ["git", "clone", "--quiet", "--shared", "--config", "core.autocrlf=true", ROOT, tmp_path / "a"]
    subprocess.run(command, check=True)
    listing = ["git", "-C", tmp_path / "a", "ls-files", "--eol"]
    ends = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    assert not re.search("w/(crlf|mixed)", ends)


# Words that this field does not use, and those that it uses instead.
WORDS = (
    r"\bgo(es|ing|ne)? on\b",  # resume, continue
    r"signs? of life",  # heartbeat
    r"\bpictures?\b",  # plot
    r"\b(tells|told)\b",  # reports, says, describes
    r"\bsays? of\b",  # says about
    r"\bspeaks? for\b",  # supports
    r"\bshall\b",  # must, should
    r"\bnobody\b",  # no one
    r"\bbeside\b",  # next to, besides, compared with
    r"whole number",  # integer
    r"cannot be meant",  # is invalid, is out of range
    r"\bonce more\b",  # reproduce, again
    r"\bway[ _]out\b",  # hint
    r"\bwhole or not at all\b",  # atomic
)
WRITTEN = [
    path
    for pattern in (
        "src/**/*.py",
        "src/**/*.jinja",
        "scripts/*.py",
        "configs/**/*.yaml",
        "docs/*.md",
        "README.md",
    )
    for path in sorted(ROOT.glob(pattern))
]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_those_of_the_field(path: Path) -> None:
    found = [match[0] for match in re.finditer("|".join(WORDS), path.read_text(), re.IGNORECASE)]
    assert not found, f"{path} has {found}: see WORDS"
