"""The least that answers predictions: a FastAPI handler that checks nothing. Started by serving.py."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, Request


def main() -> None:
    bundle, port = Path(sys.argv[1]), int(sys.argv[2])
    manifest = json.loads((bundle / "model.json").read_text())
    numeric = [*manifest["preprocessor"]["numeric"]]
    # The 0/1 columns of each categorical column, with their codes.
    categorical = [
        [*zip(found["values"], range(len(found["values"])), strict=True)]
        for found in manifest["preprocessor"]["categorical"].values()
    ]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle / "model.onnx", options)
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        rows = (await request.json())["rows"]
        values = [[row[name] for name in numeric] for row in rows]
        codes = [[next(code for part, code in parts if row[part]) for parts in categorical] for row in rows]
        inputs = {"numeric": np.array(values, np.float64), "categorical": np.array(codes, np.int64)}
        (probabilities,) = session.run(None, inputs)
        return {"probabilities": probabilities.tolist()}

    uvicorn.run(app, port=port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
