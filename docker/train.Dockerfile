# Training, preparation and sweeps: docker build -f docker/train.Dockerfile -t canopy-train .
# docker run --gpus all -v ./data:/canopy/data -v ./logs:/canopy/logs canopy-train python src/train.py trainer=gpu
# With Ray: --build-arg LOCK=requirements.ray.lock. An index with other builds of torch: --build-arg PIP_EXTRA_INDEX_URL=…
FROM python:3.11-slim
ARG LOCK=requirements.lock
ARG PIP_EXTRA_INDEX_URL
WORKDIR /canopy
COPY requirements.lock requirements.lock
COPY ${LOCK} ${LOCK}
RUN pip install --no-cache-dir --requirement ${LOCK}
COPY params.yaml params.yaml
COPY dvc.yaml dvc.yaml
COPY configs configs
COPY datasets datasets
COPY deploy deploy
COPY scripts scripts
COPY src src
ENV PYTHONPATH=/canopy/src PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DVC_NO_ANALYTICS=1
RUN dvc init --no-scm --quiet
# The user of deploy/kubernetes, who writes there; a volume has its own owner.
RUN useradd --create-home --uid 10001 canopy && mkdir data logs models && chown --recursive canopy .
USER canopy
CMD ["python", "src/train.py"]
