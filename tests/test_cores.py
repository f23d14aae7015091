import os
import subprocess
import sys
from pathlib import Path

import pytest

from canopy.cores import usable_cores

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
needs_two_cores = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
needs_affinity = pytest.mark.skipif(not CORES, reason="only Linux has affinity masks")


def run_python(code: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command, env = [sys.executable, "-c", code], {**inherited, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()


@needs_affinity
def test_usable_cores_follow_the_affinity_mask() -> None:
    code = f"import os; os.sched_setaffinity(0, {{{CORES[0]}}})\n"
    code += "from canopy.runs.environment import describe_machine; print(describe_machine()['n_cores'])"
    assert run_python(code) == "1"


@needs_affinity
def test_usable_cores_follow_the_cgroup_quota(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == len(CORES), "without proc"
    for cgroup, quotas, expected in (
        ("/own/namespace", {"": "50000 100000"}, 1),
        ("/container/without/namespace", {"": "100000 100000"}, 1),
        ("/of/a/parent", {"of/a/parent": "max 1", "of/a": "100 100"}, 1),
        ("/no/quota", {"no/quota": "max 100000"}, len(CORES)),
        ("/more/than/there/are", {"more": "51200000 100000"}, len(CORES)),
        ("/rounded/up", {"rounded/up": "120000 100000"}, min(2, len(CORES))),
    ):
        root = tmp_path / cgroup[1:]
        files = {"proc/self/cgroup": f"4:memory:/a\n0::{cgroup}"}
        files |= {f"sys/fs/cgroup/{group}/cpu.max": quota for group, quota in quotas.items()}
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(f"{text}\n")
        assert usable_cores(root) == expected, cgroup


@pytest.mark.parametrize(
    ("n_processes", "environment", "expected"),
    [
        ("usable_cores()", {}, ("1 1", "1 None")),
        ("2 * usable_cores()", {}, ("1 1",)),
        pytest.param("2 * usable_cores()", {"OMP_NUM_THREADS": "2"}, ("2 2",), marks=needs_two_cores),
    ],
)
def test_limit_threads_divides_the_cores(n_processes: str, environment: dict, expected: tuple) -> None:
    code = (
        "import os, torch; from canopy.cores import usable_cores\n"
        f"from canopy.training.threads import limit_threads; limit_threads({n_processes})\n"
        "print(torch.get_num_threads(), os.environ.get('OMP_NUM_THREADS'))"
    )
    assert run_python(code, **environment) in expected


@needs_two_cores
def test_free_cores_are_those_that_no_other_process_keeps_busy() -> None:
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in CORES]
    try:
        assert run_python("from canopy.cores import free_cores; print(free_cores())") == "1"
    finally:
        for process in others:
            process.kill()
            process.wait()


def test_no_module_counts_the_cores_of_the_machine() -> None:
    root = Path(__file__).parents[1]
    sources = [path for folder in ("src", "scripts", "benchmarks") for path in root.glob(f"{folder}/**/*.py")]
    assert [path.name for path in sources if ".cpu_count()" in path.read_text()] == ["cores.py"]
