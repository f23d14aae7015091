"""Parameters, configs and overrides that are no good: each is refused with one message."""

from collections.abc import Callable
from pathlib import Path

import pytest

from faults.project import Project, end

pytestmark = pytest.mark.faults

# What each command is given, and what its message says of it.
BAD: dict[str, list[tuple[str, str]]] = {
    "scripts/cap_classes.py": [
        ("cap_classes.max_per_class=abc", "'abc' of type 'str' could not be converted"),
        ("cap_classes.max_per_class=0", "must be at least 1; found 0"),
        ("cap_class.max_per_class=9", "Did you mean: 'cap_classes'"),
        ("+cap_classes.max=9", "max"),
        ("~cap_classes.max_per_class", "max_per_class"),
        ("cap_classes.max_per_class=[1", "no viable alternative|mismatched|extraneous"),
        ("seed=null", r"\(in seed\)"),
        ("seed=-1", r"seed must be from 0 to 2\*\*32 - 1; found -1"),
        ("paths.interim=absent", "absent/normalize.csv must exist"),
        ("preparation=absent", "preparation must be one of"),
    ],
    "scripts/drop_columns.py": [
        ("drop_columns.columns=Soil_Type7", r"\(in drop_columns.columns\)"),
        ("drop_columns.columns=[Elevatoin]", r"did you mean 'Elevation'\?"),
        ("drop_columns.columns=[Cover_Type]", "must keep the target; got 'Cover_Type'"),
        ("drop_columns.columns=[Soil_Type99*]", "which matches none"),
        ("paths.raw=absent.csv", "table absent.csv must exist"),
        ("paths.raw=data", "table data must be a file; got a folder"),
        ("table.target.column=Covertype", r"'Covertype'; got .*did you mean 'Cover_Type'"),
        ("table.target.classes={1:Aspen,2:Aspen}", "'Aspen' twice|must be one of"),
        ("table.target.classes={a:Aspen}", "table.target.classes|must be one of"),
        ("+table.target.rare=keep", r"table.target.rare: must be 'reject', 'drop' or 'merge'; got 'keep'"),
        ("table.columns.Slope.range=[90,0]", r"range: must be \[least, greatest\].*; got \[90"),
        ("table.columns.Slope.kind=number", "table.columns.Slope: .*'number' .* expected tags: 'numeric'"),
        ("+table.columns.Slope.mising=median", r"columns.Slope.mising: .* \(did you mean 'missing'\?\)"),
        ("+table.columns.Wind={kind:numeric}", "must have the column 'Wind'"),
        ("+table.numeric.Wind={unit:m}", "table.numeric: Extra inputs are not permitted"),
    ],
    "scripts/split.py": [
        ("split.test_size=2", "split.test_size must be between 0 and 1; got 2"),
        ("split.val_size=1", "split.val_size must be between 0 and 1; got 1"),
        ("split.test_size=0.9999", "split.test_size or split.val_size|test_size|at least"),
        ("split.method=random", r"\(in split.method\)"),
        ("split.method=ordered", "number of rows with split.method=ordered; got 0.2"),
        (
            "split.method=leave_group_out",
            "must be one of table.columns with split.method=leave_group_out; got None",
        ),
        ("split.method=ordered split.test_size=4000 split.val_size=4000", "must leave rows to train"),
    ],
    "scripts/normalize.py": [
        ("normalize.methods=[{columns:['*'],methd:a}]", "methd"),
        ("normalize.methods=[{columns:['*'],method:zscore}]", "got 'zscore'"),
        ("normalize.methods=[{columns:[Slope],method:z_score}]", "must match each numeric column"),
        ("normalize.methods=[{columns:[Soil_Type1],method:none}]", "matches none"),
    ],
    "scripts/explore.py": [
        ("explore.n_mutual_information_rows=0", "n_mutual_information_rows"),
    ],
    "scripts/fetch.py": [
        ("fetch.sha256=abc fetch.sources=[]", "names no source to fetch it from"),
    ],
    "scripts/compose.py": [
        ("train.experiment=mpl", "experiment must be one of .*; got 'mpl' .did you mean 'mlp'"),
        ("train.overrides='trainer=cup'", "trainer must be one of .*did you mean 'cpu'"),
        ("train.overrides='trainer.max_epoch=3'", "max_epoch"),
        ('train.overrides="\'"', "params.yaml: train.overrides must be .* No closing quotation"),
        ("train.overrides='model.net.hiden=[8]'", "hiden"),
    ],
    # Before it trains: an hour later would be late.
    "src/train.py": [
        ("trainer.max_epoch=1", "Did you mean: 'max_epochs'?"),
        ("model=mpl", "model must be one of .*did you mean 'mlp'"),
        ("+foo=1", "foo must be a key of this command's config; it has"),
        ("+publish.runs=a", "publish.runs must be a key of .* .did you mean 'publish.run'"),
        ("sweep=mlp_quick", "A sweep must be a multirun; got one plain run: add -m"),
        ("+callbacks.early_stopping.patiance=3", "did you mean 'patience'"),
        ("+logger.csv.foo=1", "logger.csv.foo must be an option of"),
        ("trainer.accelerator=tpu", "trainer cannot be built as configured; got ModuleNotFoundError"),
        ("+logger.a._target_=lightning.pytorch.loggers.MLFlowLogger", "logger.a .*; got Mlflow.*sqlite:"),
        ("trainer=gpu trainer.devices=99", "gpu"),
        ("trainer.max_epochs=abc", "abc"),
        ("trainer.gradient_clip_val=-1", "gradient_clip_val|clip"),
        ("data.batch_size=0", "batch_size"),
        ("data.n_workers=-1", "workers"),
        ("data.memory_mib=0", "memory_mib must be an integer >= 1"),
        ("model.optimizer.lr=-1", "learning rate|lr"),
        ("model.net.hidden=[0]", "hidden"),
        ("model.net.dropout=2", "dropout"),
        ("model.net._target_=os.system", "os.system"),
        ("model.net._target_=canopy.nets.mlp.Absent", "Absent"),
        ("+model.net.colour=red", "colour"),
        ("callbacks.early_stopping.patience=-1", "patience"),
        ("callbacks.resume_checkpoint.every_n_seconds=-1", "every_n_seconds must be a number >= 0"),
        ("objective.monitor=val/none", "val/none"),
        ("objective.returns=[best.nothing]", "nothing"),
        ("resume=absent", "must hold config.yaml; found none in absent"),
        ("reproduce=absent", "must hold config.yaml; found none in absent"),
        ("resume=params.yaml", "found a file, params.yaml: name one of logs/train/runs"),
        ("reproduce=/dev/null", "must hold config.yaml; found a device, /dev/null"),
        ("publish.run=params.yaml/run", "publish.run must name a new folder.*; got a path below a file"),
        ("publish.report=data", "publish.report must be a file, or a new one; got a folder, data"),
        ("sweep=mlp_quick hydra.sweeper.n_trials=-1 -m", "n_trials"),
        ("sweep=mlp_quick hydra.sweeper.n_jobs=0 -m", "n_jobs"),
        ("hydra/sweeper=optuna hydra.sweeper.direction=maximize hydra.sweeper.storage=a -m", "storage must"),
    ],
    "src/evaluate.py": [
        ("run=absent", "must hold config.yaml; found none in absent"),
        ("", "run"),
        ("run=https://example.org/run", "found a URL, https://example.org/run: name one"),
    ],
    "src/export.py": [("run=absent", "must hold config.yaml; found none in absent")],
    "src/predict.py": [
        ("input=a.csv output=b.csv", "One of run and bundle must be given; got run=None"),
        ("run=a bundle=b input=a.csv output=b.csv", "must be given; got run=a and bundle=b"),
        ("bundle=https://a.org/b input=a.csv output=b.csv", "got a URL: download it first"),
    ],
    "src/serve.py": [
        ("bundle=absent", "absent/model.json must exist"),
        ("bundle=params.yaml", "params.yaml/model.json must be a file; got a path below a file"),
        ("port=99999", "port"),
    ],
}


QUICK = ("trainer=cpu", "trainer.max_epochs=1", "callbacks.progress_bar=null")
MARKS = {"scripts/": pytest.mark.slow, "src/train.py": pytest.mark.long}


@pytest.mark.parametrize(
    ("script", "override", "message"),
    [
        pytest.param(script, *case, marks=[MARKS[start] for start in MARKS if script.startswith(start)])
        for script, cases in BAD.items()
        for case in cases
    ],
)
def test_command_refuses_override(
    script: str, override: str, message: str, request: pytest.FixtureRequest
) -> None:
    is_training = script == "src/train.py"
    project = request.getfixturevalue("project" if is_training else "prepared")
    project.refuses(script, *(QUICK if is_training else ()), *override.split(), message=message)
    assert [*project.folder.glob("logs/train/runs/*/checkpoints/*")] == []


BAD_PARAMS: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "empty": (lambda text: "", "params.yaml"),
    "a bracket that is not closed": (lambda text: text + "more: [1, 2\n", "params.yaml must be YAML"),
    "a key twice": (lambda text: text + "seed: 1\n", "params.yaml must be YAML .*duplicate key seed"),
    "bytes": (lambda text: bytes(range(256)), "params.yaml"),
    "Latin 1": (lambda text: (text + "# ä\n").encode("latin-1"), "params.yaml must be"),
    "an unknown section": (lambda text: text + "colours: {red: 1}\n", "colours"),
    "a section missing": (lambda text: text.replace("drop_columns:", "a:"), "found no drop_columns"),
    "a number missing": (lambda text: text.replace("seed: 42", "seed:"), r"\(in seed\)"),
    "an object": (lambda text: text + "x: !!python/object/apply:os.getcwd []\n", "params.yaml must be YAML"),
    "cut off in a section": (lambda text: text[: len(text) // 2].rpartition(":")[0], "params.yaml"),
}


@pytest.mark.parametrize("name", BAD_PARAMS)
def test_command_refuses_params_file(name: str, project: Project) -> None:
    change, message = BAD_PARAMS[name]
    path = project.folder / "params.yaml"
    changed = change(path.read_text())
    path.write_bytes(changed.encode() if isinstance(changed, str) else changed)
    project.refuses("scripts/split.py", message=message)


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("script", ["scripts/split.py", "src/train.py"])
def test_command_without_params_gives_hint(script: str, tmp_path: Path) -> None:
    message = "must run in the project's folder, next to params.yaml; found none in"
    Project(tmp_path).refuses(script, message=message)


def test_forked_command_reports_the_same_as_a_process(prepared: Project) -> None:
    """The commands of this suite are forks of a process that has imported what they import."""
    command = ("scripts/split.py", "split.test_size=2")
    reported = end(prepared.start(*command), code=1), prepared.run(*command, check=False).errors
    shown = [[row for row in text.splitlines() if "Traceback: " not in row] for text in reported]
    assert shown[0] == shown[1]
