"""Predict the classes of new rows with a run's best checkpoint, or with a bundle.

python src/predict.py run=models/trained input=new.csv output=predictions.csv
python src/predict.py run=models/trained input=new.csv output=predictions.parquet accelerator=cpu
python src/predict.py bundle=models/canopy input=new.csv output=predictions.csv
"""

from omegaconf import DictConfig

from canopy.export.predict import predict
from canopy.runs.entry import entry_point


# What @hydra.main is elsewhere: shells complete only scripts in which they find that name.
@entry_point("predict", in_project=False)
def main(cfg: DictConfig) -> None:
    predict(cfg)


if __name__ == "__main__":
    main()
