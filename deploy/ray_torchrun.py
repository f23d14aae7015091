"""Train a run on several nodes of a Ray cluster: a torchrun on each, with the arguments of src/train.py.

The project is in the same folder on each node; its data too, and `logs/` on the first one. Where a node dies
the command ends, and the same command again resumes the run.

python deploy/ray_torchrun.py --nodes=2 --gpus=1 name=large resume=auto trainer=ddp trainer.num_nodes=2
"""

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import ray
from ray.util import get_node_ip_address, placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from canopy.engines import require_cluster

ROOT = Path(__file__).resolve().parents[1]


def free_address() -> tuple[str, int]:
    """Find an address of the node that this runs on, at which the others can reach it."""
    with socket.socket() as free:
        free.bind(("", 0))
        return get_node_ip_address(), int(free.getsockname()[1])


def run(words: list[str], folder: Path) -> int:
    """Call torchrun on the node that this runs on; gives its exit status."""
    return subprocess.run([sys.executable, "-m", "torch.distributed.run", *words], cwd=folder).returncode


def main() -> None:
    """Place a torchrun on each of so many nodes; ends with the highest of their exit statuses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument(
        "--gpus", type=int, default=0, help="of each node, a process for each; 0: one on the CPU"
    )
    parser.add_argument("--cpus", type=int, default=1, help="of each node")
    arguments, overrides = parser.parse_known_args()
    address = os.environ.get("RAY_ADDRESS", "auto")
    try:
        require_cluster(address)
        ray.init(address)
    except ConnectionError as error:
        sys.exit(f"Error: {str(error).splitlines()[0]}")
    resources = {"CPU": float(arguments.cpus), "GPU": float(arguments.gpus)}
    group = placement_group([resources] * arguments.nodes, strategy="STRICT_SPREAD")
    if not ray.wait([group.ready()], timeout=10)[0]:
        sys.stderr.write(
            f"Waiting for {arguments.nodes} nodes with {resources} each, as `ray status` shows\n"
        )
    ray.get(group.ready())

    def task(function: Any, node: int) -> Any:
        place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=node)
        options = {"num_cpus": arguments.cpus, "num_gpus": arguments.gpus, "max_retries": 0}
        return ray.remote(function).options(scheduling_strategy=place, **options)

    host, port = ray.get(task(free_address, 0).remote())
    words = [f"--nnodes={arguments.nodes}", f"--nproc-per-node={arguments.gpus or 1}"]
    words += [f"--master-addr={host}", f"--master-port={port}"]
    calls = [
        task(run, node).remote([*words, f"--node-rank={node}", "src/train.py", *overrides], ROOT)
        for node in range(arguments.nodes)
    ]
    try:
        sys.exit(max(ray.get(calls)))
    except ray.exceptions.RayError as error:
        sys.exit(f"Error: All nodes must reach the end of the run; got {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main()
