import os
import subprocess
import sys
from pathlib import Path

import pytest

from canopy.cores import usable_cores

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
needs_two_cores = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
needs_affinity = pytest.mark.skipif(not CORES, reason="only Linux has affinity masks")

V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = (
    "32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
)


def v1(group: str, quota: str) -> dict[str, str]:
    """Files of a group with a quota of a period of 100 ms."""
    folder = f"cpu,cpuacct{group}"
    return {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": "100000"}


def write_system(root: Path, *, cgroup: str, mounts: str, files: dict[str, str]) -> None:
    """Write what a kernel shows of a process' cgroups."""
    texts = {
        "proc/self/cgroup": cgroup,
        "proc/self/mountinfo": f"22 1 8:1 / / rw - ext4 /dev/a rw\n{mounts}",
    }
    for name, text in {**texts, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")


def run_python(code: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env={**inherited, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@needs_affinity
def test_usable_cores_follow_the_affinity_mask() -> None:
    code = (
        f"import os; os.sched_setaffinity(0, {{{CORES[0]}}})\n"
        "from canopy.cores import usable_cores\n"
        "from canopy.runs.environment import describe_machine\n"
        "print(usable_cores(), describe_machine()['n_cores'])"
    )
    assert run_python(code) == "1 1"


@needs_affinity
@pytest.mark.parametrize(
    ("cgroup", "mounts", "files", "expected"),
    [
        pytest.param("0::/", V2, {"cpu.max": "50000 100000"}, 1, id="v2, own namespace"),
        pytest.param(
            "0::/kubepods/pod1/box",
            V2,
            {"kubepods/pod1/box/cpu.max": "max 100000", "kubepods/pod1/cpu.max": "100000 100000"},
            1,
            id="v2, quota of a parent",
        ),
        pytest.param("0::/a", V2, {"a/cpu.max": "max 100000"}, None, id="v2, no quota"),
        pytest.param("0::/a", V2, {"a/cpu.max": "51200000 100000"}, None, id="v2, more than there are"),
        pytest.param("5:cpu,cpuacct:/a\n4:memory:/a\n0::/a", V1, v1("/a", "30000"), 1, id="v1"),
        pytest.param(
            "5:cpu,cpuacct:/docker/9f\n4:memory:/docker/9f",
            V1.replace(" / ", " /docker/9f "),
            v1("", "100000"),
            1,
            id="v1, container without a namespace",
        ),
        pytest.param("5:cpu,cpuacct:/", V1, v1("", "-1"), None, id="v1, no quota"),
    ],
)
def test_usable_cores_follow_the_cgroup_quota(
    cgroup: str, mounts: str, files: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    write_system(tmp_path, cgroup=cgroup, mounts=mounts, files=files)
    assert usable_cores(tmp_path) == (len(CORES) if expected is None else expected)


@needs_two_cores
def test_usable_cores_round_a_quota_up(tmp_path: Path) -> None:
    write_system(tmp_path, cgroup="0::/", mounts=V2, files={"cpu.max": "120000 100000"})
    assert usable_cores(tmp_path) == 2


def test_usable_cores_without_proc(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == (len(CORES) or os.cpu_count())


LIMIT = (
    "import os, torch; from canopy.cores import usable_cores\n"
    "from canopy.training.threads import limit_threads\n"
    "limit_threads({n_processes}); print(torch.get_num_threads(), os.environ.get('OMP_NUM_THREADS'))"
)


@pytest.mark.parametrize(
    ("n_processes", "environment", "expected"),
    [
        ("usable_cores()", {}, ("1 1", "1 None")),
        ("2 * usable_cores()", {}, ("1 1",)),
        pytest.param("2 * usable_cores()", {"OMP_NUM_THREADS": "2"}, ("2 2",), marks=needs_two_cores),
    ],
)
def test_limit_threads_divides_the_cores_unless_a_number_is_given(
    n_processes: str, environment: dict[str, str], expected: tuple[str, ...]
) -> None:
    assert run_python(LIMIT.format(n_processes=n_processes), **environment) in expected


BUSY = "while True: pass"
FREE = "from canopy.cores import free_cores; print(free_cores())"


@needs_two_cores
def test_free_cores_are_those_that_no_other_process_keeps_busy() -> None:
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in CORES]
    try:
        assert run_python(FREE) == "1"
    finally:
        for process in others:
            process.kill()
            process.wait()


def test_no_module_counts_the_cores_of_the_machine() -> None:
    root = Path(__file__).parents[1]
    sources = [*root.glob("src/**/*.py"), *root.glob("scripts/*.py"), *root.glob("benchmarks/*.py")]
    counting = [path.name for path in sources if ".cpu_count()" in path.read_text()]
    assert counting == ["cores.py"]
