"""The examples in deploy/ and docker/train.Dockerfile, tried without a cluster and without Docker."""

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import psutil
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from canopy.runs.run import Run
from canopy.serve.__main__ import read_settings
from canopy.serve.app import OPEN
from packages import INSTALL, ROOT, composed
from ray_nodes import needs_ray, ray_cluster
from sweep_app import RAY

SBATCH = sorted((ROOT / "deploy/slurm").glob("*.sbatch"))
MANIFESTS = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
DOCKERFILES = {"canopy": ROOT / "docker/Dockerfile", "canopy-train": ROOT / "docker/train.Dockerfile"}
# Those of `man sbatch` (22.05 and later) that the scripts use, with what their values look like.
OPTIONS = {
    "array": r"\d+-\d+(%\d+)?",
    "cpus-per-task": r"\d+",
    "exclusive": "",
    "gpus": r"\d+",
    "gpus-per-node": r"\d+",
    "job-name": r"[\w-]+",
    "mem": r"\d+[KMGT]",
    "nodes": r"\d+",
    "ntasks-per-node": r"\d+",
    "open-mode": "append|truncate",
    "output": r"logs/[\w%-]+\.log",
    "requeue": "",
    "signal": r"(B:)?SIG\w+@\d+",
    "time": r"\d\d:\d\d:\d\d",
}


def check_command(words: list[str]) -> None:
    """Compose the config of a command of the project."""
    assert words[0] == "python"
    script, *overrides = (word for word in words[1:] if word != "-m")
    assert (ROOT / script).is_file()
    if script == "deploy/ray_torchrun.py":
        script, overrides = "src/train.py", [word for word in overrides if not word.startswith("--")]
    if any("launcher=ray" in word for word in overrides):
        pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="the extra ray is not installed")
    parsed = OverridesParser.create().parse_overrides(overrides)
    assert not any(override.is_sweep_override() for override in parsed)
    composed(Path(script).stem, *overrides)


@pytest.mark.parametrize("path", SBATCH, ids=lambda path: path.stem)
def test_slurm_script_is_valid(path: Path) -> None:
    text = path.read_text()
    subprocess.run(["bash", "-n", path], check=True)
    # Slurm reads no options after the first command.
    assert "#SBATCH" not in text[text.index("\nset -euo pipefail") :]
    for name, value in re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", text, re.MULTILINE):
        assert re.fullmatch(OPTIONS[name], value), name
    assert text.count("#SBATCH --") == text.count("#SBATCH")
    examples = re.findall(rf"^#   .*sbatch .*{path.name}(.*)$", text, re.MULTILINE)
    assert examples
    for line in re.findall(r"python .*", re.sub(r"^#.*", "", text, flags=re.MULTILINE).replace("\\\n", "")):
        for example in examples:
            check_command(shlex.split(re.sub(r"\$\w+", "1", line.replace('"$@"', example))))


@pytest.mark.slow
def test_slurm_job_that_is_requeued_resumes_its_run(
    tmp_path: Path, copy_project: Callable[..., None], tensors: Path
) -> None:
    copy_project(tmp_path, "configs", "src", "params.yaml")
    # In the place of Slurm's, for a job of one task.
    (tmp_path / "srun").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    subprocess.run(["sh", "-c", INSTALL], cwd=tmp_path, check=True)
    of_slurm = {"SLURM_NNODES": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_CPUS_PER_TASK": "1"}
    path = f"{tmp_path}:{os.environ['PATH']}"
    environment = {**os.environ, **of_slurm, "SLURM_JOB_ID": "7", "PYTHONPATH": "src", "PATH": path}
    options = ("trainer.accelerator=cpu", "trainer.strategy=auto", f"pipeline.paths.processed={tensors}")
    options += ("trainer.max_epochs=40", "callbacks.early_stopping=null")
    command = ["bash", ROOT / "deploy/slurm/train.sbatch", *options]
    job = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True)
    while not [*tmp_path.glob("logs/train/runs/*/checkpoints/last.ckpt")]:
        assert job.poll() is None
        time.sleep(0.02)
    # As Slurm signals the tasks of a job, and not its script.
    (task,) = psutil.Process(job.pid).children()
    task.send_signal(signal.SIGUSR1)
    assert job.wait(60) != 0
    (folder,) = tmp_path.glob("logs/train/runs/*_slurm-7")
    assert Run(folder).record["status"] == "stopped"
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert [*tmp_path.glob("logs/train/runs/*")] == [folder]
    record = Run(folder).record
    assert (record["status"], record["training"]["epochs"], len(record["commands"])) == ("finished", 40, 2)


@pytest.mark.slow
@needs_ray
def test_a_run_trains_on_the_nodes_of_a_ray_cluster(tmp_path: Path, tensors: Path) -> None:
    words = ["trainer=ddp_sim", "trainer.num_nodes=2", "trainer.devices=1", "trainer.max_epochs=2"]
    words += [f"pipeline.paths.processed={tensors}", f"hydra.run.dir={tmp_path}/run"]
    environment = {**os.environ, **RAY, "PYTHONPATH": "src"}
    with ray_cluster() as (address, _):
        environment["RAY_ADDRESS"] = address
        command = [sys.executable, "deploy/ray_torchrun.py", "--nodes=2", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run = Run(tmp_path / "run")
    assert (run.record["status"], run.record["training"]["epochs"]) == ("finished", 2)
    assert [path.name for path in run.path.glob("*process*.log")] == ["train_ddp_process_1.log"]


def check_resume(manifest: dict[str, Any], command: list[str], pod: dict[str, Any]) -> None:
    """Check that a run is resumed in the next pod of its job, and in no other job."""
    assert pod["hostname"] == manifest["metadata"]["name"]
    assert {f"name={pod['hostname']}", "resume=auto"} <= {*command}


def containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the containers of a pod, which run without root's rights and in bounded memory."""
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for container in pod["containers"]:
        assert "memory" in container["resources"]["limits"]
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
        yield container


# What the examples use of KubeRay's RayJob (ray.io/v1), whose own schema no package of the index has. Its
# pods are held to the schema of Kubernetes.
COUNT = {"type": "integer", "minimum": 0}
GROUP = {
    "type": "object",
    "required": ["rayStartParams", "template"],
    "additionalProperties": False,
    "properties": {
        # All of its values are texts.
        "rayStartParams": {"type": "object", "additionalProperties": {"type": "string"}},
        "template": {"type": "object", "required": ["spec"]},
    },
}
WORKERS = {
    **GROUP,
    "required": [*GROUP["required"], "groupName", "replicas", "minReplicas", "maxReplicas"],
    "properties": {
        **GROUP["properties"],
        "groupName": {"type": "string"},
        **dict.fromkeys(("replicas", "minReplicas", "maxReplicas"), COUNT),
    },
}
CLUSTER = {
    "type": "object",
    "required": ["rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"],
    "additionalProperties": False,
    "properties": {
        "rayVersion": {"type": "string"},
        "authOptions": {"type": "object", "required": ["mode"], "properties": {"mode": {"const": "token"}}},
        "headGroupSpec": GROUP,
        "workerGroupSpecs": {"type": "array", "items": WORKERS},
    },
}
RAY_JOB = {
    "type": "object",
    "required": ["entrypoint", "rayClusterSpec"],
    "additionalProperties": False,
    "properties": {
        "entrypoint": {"type": "string"},
        "entrypointNumCpus": {"type": "number"},
        "entrypointNumGpus": {"type": "number"},
        "backoffLimit": COUNT,
        "shutdownAfterJobFinishes": {"type": "boolean"},
        "rayClusterSpec": CLUSTER,
    },
}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifest_and_its_commands_are_valid(path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text()):
        if manifest["kind"] == "RayJob":
            check_ray_job(manifest)
            continue
        kubernetes_validate.validate(manifest, "1.37", strict=True)
        if manifest["kind"] != "Service":
            pod = manifest["spec"]["template"]["spec"]
            (container,) = containers(pod)
            if manifest["kind"] == "Job":
                check_command(container["args"])
                check_resume(manifest, container["args"], pod)


def check_ray_job(manifest: dict[str, Any]) -> None:
    assert manifest["apiVersion"] == "ray.io/v1"
    jsonschema.validate(spec := manifest["spec"], RAY_JOB)
    check_command(command := shlex.split(spec["entrypoint"]))
    cluster = spec["rayClusterSpec"]
    assert f"\nray=={cluster['rayVersion']}\n" in (ROOT / "requirements.ray.lock").read_text()
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        named = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod}
        kubernetes_validate.validate(named, "1.37", strict=True)
        (container,) = containers(pod)
        assert container["env"][0] == {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}
        if "hostname" in pod and "-m" not in command:
            check_resume(manifest, command, pod)
    assert sum("hostname" in group["template"]["spec"] for group in groups) == 1


def test_a_kubernetes_schema_finds_mistakes() -> None:
    deployment, _ = yaml.safe_load_all((ROOT / "deploy/kubernetes/server.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["readinessProb"] = container.pop("readinessProbe")
    with pytest.raises(kubernetes_validate.ValidationError, match="readinessProb"):
        kubernetes_validate.validate(deployment, "1.37", strict=True)


def test_the_server_s_pods_are_probed_and_found_where_it_listens() -> None:
    deployment, service = yaml.safe_load_all((ROOT / "deploy/kubernetes/server.yaml").read_text())
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    (container,) = pod["spec"]["containers"]
    settings = read_settings(container["args"][3:])
    (port,) = container["ports"]
    assert port["containerPort"] == settings.port
    assert settings.bundle == "bundle", "as in docker/Dockerfile"
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    for probe, address in (("readinessProbe", "/ready"), ("livenessProbe", "/health")):
        assert container[probe]["httpGet"] == {"path": address, "port": port["name"]}
        # Without the key, which a probe does not have.
        assert address in OPEN
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > pause + settings.stop_seconds


@pytest.mark.slow
def test_files_of_the_training_image_prepare_and_train(tmp_path: Path, sample_csv: str) -> None:
    text = (ROOT / "docker/train.Dockerfile").read_text()
    folder = tmp_path / "image"
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        source, target = line.replace("${LOCK}", "requirements.ray.lock").split()
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copyfile)(ROOT / source, folder / target)
    # The packages are those of this environment, which test_lock.py compares with the lock.
    assert re.search(r"^ARG LOCK=requirements.lock$", text, re.MULTILINE)
    install, initialize, user = re.findall(r"^RUN (.+)$", text, re.MULTILINE)
    assert install == "pip install --no-cache-dir --requirement ${LOCK}"
    assert user.startswith("useradd --create-home --uid 10001 canopy && ")
    (command,) = re.findall(r"^CMD (\[.+\])$", text, re.MULTILINE)
    (variables,) = re.findall(r"^ENV (.+)$", text.replace("/canopy", str(folder)), re.MULTILINE)
    environment = dict(word.split("=") for word in variables.split())
    environment["PATH"] = f"{Path(sys.executable).parent}:/usr/bin:/bin"

    def call(*words: str) -> str:
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "Train one run" in call(*json.loads(command), "--help")
    call("sh", "-c", initialize)
    # The small sample in the place of the table, as a volume would have it.
    (folder / "data/raw").mkdir(parents=True)
    (folder / "data/raw/covtype.csv").write_text(sample_csv)
    params = OmegaConf.load(folder / "params.yaml")
    params.fetch.sha256 = hashlib.sha256(sample_csv.encode()).hexdigest()
    OmegaConf.save(params, folder / "params.yaml")
    call("dvc", "repro", "make_tensors")
    options = ("trainer=cpu", "trainer.max_epochs=1", "model.net.hidden=[32]")
    assert "Trained 1 epoch" in call(*json.loads(command), *options)
