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
    table = json.loads((bundle / "model.json").read_text())["table"]
    features = [column["name"] for column in table["numeric"]]
    features += [name for group in table["groups"] for name in group["columns"]]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle / "model.onnx", options)
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        rows = (await request.json())["rows"]
        matrix = np.array([[row[name] for name in features] for row in rows], dtype=np.float64)
        (probabilities,) = session.run(None, {"rows": matrix})
        return {"probabilities": probabilities.tolist()}

    uvicorn.run(app, port=port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
