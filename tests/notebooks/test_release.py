"""What students get: without solutions, and of use to somebody with no privilege and no network.

Also the README's two commands, by an ordinary user, in a fresh clone.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Dict, Iterator, List

import pytest
from conftest import NOTEBOOKS, ROOT

from looplabs import Lab, notebook, release, truth

pytestmark = pytest.mark.full

LABS = notebook.labs(NOTEBOOKS)
NOBODY = 65534
HANG_S = 300

# No network but the loopback that Jupyter's kernels are reached by, no capability, nobody's rights.
ALONE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
ALONE += ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
ALONE += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "release"
    release.release(out)
    return out


@pytest.fixture(scope="module")
def ordinary() -> Iterator[Path]:
    """A directory of an ordinary user, who has no other."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    home = Path("/tmp") / f"looplabs-home-{os.getpid()}"
    home.mkdir(mode=0o755)
    os.chown(home, NOBODY, NOBODY)
    yield home
    shutil.rmtree(home)


def environment(home: Path, **more: str) -> Dict[str, str]:
    return {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        **more,
    }


def as_ordinary(
    home: Path, *command: object, **more: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*ALONE, *map(str, command)],
        cwd=home,
        env=environment(home, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=HANG_S,
        check=False,
    )


def give(path: Path, home: Path) -> Path:
    """A copy that belongs to the ordinary user."""
    copy = home / path.name
    if not copy.exists():
        shutil.copytree(path, copy, symlinks=True)
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", copy], check=True)
    return copy


# --- what is in it --------------------------------------------------------------------------------


def test_no_solution_is_in_the_release(released):
    names = {path.name for path in released.rglob("*")}
    assert not names & {"solutions", "grade.py", "release.py", "answers"}
    for path in released.rglob("*.py"):
        assert "@solves" not in path.read_text().replace("    @solves", ""), path
    assert sorted(p.name for p in (released / "keys").iterdir()) == [
        f"lab{n:02d}.json" for n in LABS
    ]


def test_it_is_small(released):
    size = sum(p.stat().st_size for p in released.rglob("*") if p.is_file())
    assert size < 20e6
    for path in [
        *released.glob("recordings/*"),
        *NOTEBOOKS.glob("data/*"),
    ]:
        assert path.stat().st_size < 400_000, path


@pytest.mark.parametrize("lab", LABS)
def test_a_recording_of_the_release_gives_the_same_answers(lab, released, tmp_path):
    """The package of the release has no program to run: all it has are the recordings."""
    copy = tmp_path / "copy"
    shutil.copytree(released, copy)
    shutil.rmtree(copy / "bin")
    program = (
        "import json, sys; from looplabs import Lab, RunError, truth\n"
        "found = {}\n"
        f"for v in (0, 7):\n"
        f"    lab = Lab({lab}, variant=v, keep=False)\n"
        f"    for e, s in truth.solutions({lab}).items():\n"
        "        try: found[f'{e} {v}'] = s.answer(lab).value\n"
        "        except RunError: pass\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        env={
            **environment(tmp_path),
            "PYTHONPATH": str(copy),
            "LOOPLABS_SOLUTIONS": str(NOTEBOOKS / "solutions"),
        },
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=HANG_S,
    )
    found = json.loads(done.stdout)
    assert len(found) >= 4
    for which, value in found.items():
        exercise, variant = which.split()
        mine = Lab(lab, variant=int(variant), keep=False)
        right = truth.solution(mine, exercise)
        assert json.dumps(value) == json.dumps(right), which


# --- what a student without any privilege does with it --------------------------------------------


@pytest.mark.parametrize("how, word", [("nothing", "MISSING"), ("nonsense", "BAD")])
@pytest.mark.parametrize("lab", LABS)
def test_the_students_version_runs_without_privilege_and_network(
    lab, how, word, released, ordinary
):
    where = give(released, ordinary)
    done = as_ordinary(
        where,
        "/usr/bin/python3",
        "-m",
        "looplabs.execute",
        f"lab{lab:02d}.ipynb",
        "--with",
        how,
        PYTHONPATH=str(where),
    )
    assert done.returncode == 0, done.stdout
    words: List[str] = [line.split()[0] for line in done.stdout.splitlines()[:-1]]
    assert words == [word] * len(notebook.exercises(NOTEBOOKS / f"lab{lab:02d}.ipynb"))


def test_the_two_commands_of_the_readme_work_in_a_fresh_clone(ordinary):
    """make build/demo-qemu-loop; make labs: then Jupyter has the labs, and a kernel runs one."""
    text = (NOTEBOOKS / "README.md").read_text()
    assert "make build/demo-qemu-loop " in text and "make labs " in text
    bare = ordinary / "tree.git"
    subprocess.run(["git", "clone", "-q", "--bare", ROOT, bare], check=True)
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", bare], check=True)
    tree = ordinary / "tree"
    for command in (
        ["git", "clone", "-q", bare, tree],
        ["make", "-s", "-C", tree, "build/demo-qemu-loop"],
    ):
        done = as_ordinary(ordinary, *command)
        assert done.returncode == 0, done.stdout
    with socket.create_server(("127.0.0.1", 0)) as some:
        port = some.getsockname()[1]
    flags = f"--no-browser --ip=127.0.0.1 --port={port} --NotebookApp.token=labs"
    with subprocess.Popen(
        [*ALONE[6:], "make", "-s", "-C", str(tree), "labs", f"JUPYTER={flags}"],
        env=environment(ordinary),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as jupyter:
        try:
            url = f"http://127.0.0.1:{port}/api/contents?token=labs"
            names = {entry["name"] for entry in listing(url, jupyter)["content"]}
        finally:
            os.killpg(jupyter.pid, signal.SIGTERM)
    assert {f"lab{n:02d}.ipynb" for n in LABS} <= names
    first = tree / "notebooks"
    done = as_ordinary(
        first,
        "/usr/bin/python3",
        "-m",
        "looplabs.execute",
        "lab01.ipynb",
        PYTHONPATH=str(first),
    )
    assert done.returncode == 0 and "BAD" not in done.stdout, done.stdout


def listing(url: str, jupyter: "subprocess.Popen[bytes]") -> Dict[str, List[Dict]]:
    """What the server says of its directory, as soon as it says anything."""
    end = time.monotonic() + HANG_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                found: Dict[str, List[Dict]] = json.load(answer)
                return found
        except OSError:
            assert jupyter.poll() is None and time.monotonic() < end
            time.sleep(0.2)
