from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from canopy.explore import explore
from canopy.files import read_json


def test_the_stage_writes_findings_and_page(frame: pd.DataFrame, explore_params: DictConfig):
    frame.to_csv(explore_params.paths.raw, index=False)
    explore.run(explore_params)
    folder = Path(explore_params.paths.reports) / "exploration"
    assert sorted(path.name for path in folder.iterdir()) == ["findings.json", "index.html"]
    assert read_json(folder / "findings.json")["table"]["n_rows"] == 100
    before = (folder / "findings.json").read_bytes(), (folder / "index.html").read_bytes()
    explore.run(explore_params)
    assert before == ((folder / "findings.json").read_bytes(), (folder / "index.html").read_bytes())


def test_the_sample_of_the_real_table_is_explored(params: DictConfig, sample_csv: str, tmp_path: Path):
    params = params.copy()
    params.paths.raw, params.paths.reports = str(tmp_path / "raw.csv"), str(tmp_path)
    Path(params.paths.raw).write_text(sample_csv)
    explore.run(params)
    findings = read_json(tmp_path / "exploration" / "findings.json")
    assert len(findings["columns"]) == 13
    assert findings["table"]["n_rows"] == 4008
    assert findings["problems"] == []
    assert next(iter(findings["mutual_information"]["columns_nat"])) == "Elevation"
