# SPDX-License-Identifier: MIT
"""What "make install" and "make deb" put on a system: it works there, says all that the programs can
do, and goes again."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List

import pytest
from tracer_run import BUILD, HANG_S, ROOT

Table = List[List[str]]


def clean_env(path: str) -> Dict[str, str]:
    """Nothing of this tree, and nothing of the make that runs the tests."""
    return {
        "PATH": f"{path}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
    }


def text_of(*words: object, env: Dict[str, str], cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=2 * HANG_S,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{words}: {done.stderr}"
    return done.stdout


def make(*words: object) -> str:
    return text_of("make", "-s", f"BUILD={BUILD}", *words, env=clean_env("/usr/sbin"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The prefix below which it is installed; in the end it is removed, and then nothing is left."""
    dest = tmp_path_factory.mktemp("dest")
    make("install", f"DESTDIR={dest}", "PREFIX=/opt/loops")
    yield dest / "opt" / "loops"
    make("uninstall", f"DESTDIR={dest}", "PREFIX=/opt/loops")
    assert [path for path in dest.rglob("*") if not path.is_dir()] == []
    assert not (dest / "opt/loops/share/loopscope").exists()


def run_installed(installed: Path, *words: object) -> str:
    return text_of(*words, env=clean_env(f"{installed}/bin"), cwd=installed)


@pytest.fixture(scope="module")
def table(installed: Path) -> Table:
    text = run_installed(installed, "loopscope", "--help-table")
    return [line.split("\t") for line in text.splitlines()]


def man_text(page: Path) -> str:
    """As a reader sees it, without groff's bold; groff has nothing to complain about."""
    env = {**clean_env(""), "MANWIDTH": "100"}
    text = text_of("man", "--warnings", "-E", "UTF-8", "-l", page, env=env)
    return re.sub(r".\x08", "", text)


# --- man pages ------------------------------------------------------------------------------------


def test_every_command_has_a_page_with_its_options(
    installed: Path, table: Table
) -> None:
    folder = installed / "share" / "man" / "man1"
    names = [row[1] for row in table if row[0] == "command"]
    whole = man_text(folder / "loopscope.1")
    for name, options in ((row[1], row[3]) for row in table if row[0] == "command"):
        text = man_text(folder / f"loopscope-{name}.1")
        assert text.splitlines()[0].startswith(f"LOOPSCOPE-{name.upper()}(1)")
        assert f"loopscope-{name}(1)" in whole
        section = re.search(r"^OPTIONS\n(.*?)^EXIT STATUS\n", text, re.M | re.S)
        assert section is not None
        told = set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", section[1], re.M))
        assert told - {"help", "verbose"} <= set(options.split())
        brief = run_installed(installed, "loopscope", name, "--help")
        told_by_help = set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", brief, re.M))
        assert told == told_by_help
    assert {page.name for page in folder.glob("loopscope*")} == {
        "loopscope.1",
        *(f"loopscope-{name}.1" for name in names),
    }


def test_the_other_pages_have_what_their_subjects_have(installed: Path) -> None:
    man = installed / "share" / "man"
    demo = man_text(man / "man1" / "demo-qemu-loop.1")
    scenarios = run_installed(installed, "demo-qemu-loop", "--list", "--json")
    for row in map(json.loads, scenarios.splitlines()):
        assert re.search(rf"^ +{re.escape(row['name'])}(\s|$)", demo, re.M)
    events = man_text(man / "man7" / "loopscope-events.7")
    probes = (ROOT / "trace" / "loop.probes").read_text()
    for name in re.findall(r"^(?:probe|record) \d+ (\w+)\(", probes, re.M):
        assert re.search(rf"^ +{name}\(", events, re.M)
    gdb = man_text(man / "man7" / "loopscope-gdb.7")
    commands = re.findall(
        r"^qemu [a-z-]+(?= -- )",
        run_installed(
            installed,
            *("gdb", "-nx", "-batch", "-ex"),
            f"source {installed}/share/loopscope/gdb/qemu-gdb.py",
            *("-ex", "help qemu"),
        ),
        re.M,
    )
    assert len(commands) > 10
    for command in commands:
        assert re.search(rf"^ +{command}\b", gdb, re.M)


def test_overhead_is_told_with_what_measures_it(installed: Path) -> None:
    rules = [ROOT / "Makefile", *ROOT.rglob("*.mk")]
    targets = {
        name
        for file in rules
        for name in re.findall(r"^(bench-[\w-]+):", file.read_text(), re.M)
    }
    for page in (installed / "share" / "man").rglob("*.1"):
        text = man_text(page)
        if "\nOVERHEAD\n" not in text:
            assert (page.name[10:-2] + ".md") not in os.listdir(ROOT / "docs" / "man")
            continue
        for named in re.findall(r"\bmake (bench-[\w-]+)", " ".join(text.split())):
            assert named in targets, f"{page.name}: make {named}"


# --- completion -----------------------------------------------------------------------------------


def complete(installed: Path, *words: str) -> List[str]:
    """What bash would offer for the last of the words."""
    script = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '"$(complete -p "$1" | sed "s/.*-F \\([^ ]*\\) .*/\\1/")"; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    file = installed / "share/bash-completion/completions" / words[0]
    out = run_installed(installed, "bash", "-c", script, "bash", file, *words)
    return out.split()


def test_completion_knows_what_the_programs_know(installed: Path, table: Table) -> None:
    commands = [row[1] for row in table if row[0] == "command"]
    assert complete(installed, "loopscope", "") == commands
    for row in table:
        if row[0] == "command":
            options = {f"--{name}" for name in row[3].split()}
            offered = set(complete(installed, "loopscope", row[1], "--"))
            assert offered == options | {"--verbose", "--help"}
    for option in ("to", "via"):
        values = [row[2] for row in table if row[:2] == ["value", option]]
        words = ["loopscope", "export", f"--{option}", ""]
        assert complete(installed, *words) == values
    assert "poll_enter,poll_exit" in complete(
        installed, "loopscope", "export", "X", "--only", "poll_enter,poll_ex"
    )
    assert complete(installed, "demo-qemu-loop", "--scenario", "five") == [
        "five-sources"
    ]


def test_completion_offers_processes_with_loops(installed: Path) -> None:
    process = subprocess.Popen(
        [installed / "bin" / "demo-qemu-loop", "--scenario", "signal"],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None and process.stdout.readline()
        assert str(process.pid) in complete(installed, "loopscope", "fds", "-p", "")
    finally:
        process.kill()
        process.communicate()


# --- the package ----------------------------------------------------------------------------------


def closure(package: str, depends: str) -> Dict[str, str]:
    """The packages that a Depends line needs, and theirs, with their paragraphs of dpkg's status."""
    paragraphs: Dict[str, str] = {}
    provided: Dict[str, str] = {}
    for text in Path("/var/lib/dpkg/status").read_text().split("\n\n"):
        name = re.search(r"^Package: (\S+)", text, re.M)
        if name and "\nStatus: install ok installed" in text:
            paragraphs[name[1]] = text
            for other in re.findall(r"^Provides: (.*)", text, re.M):
                for word in re.findall(r"[a-z0-9][a-z0-9+.-]+", other):
                    provided.setdefault(word, name[1])
    found: Dict[str, str] = {}
    wanted = [depends]
    while wanted:
        for clause in wanted.pop().split(","):
            names = re.findall(r"(?:^|\|)\s*([a-z0-9][a-z0-9+.-]*)", clause)
            name_of = [provided.get(n, n) if n not in paragraphs else n for n in names]
            there = [n for n in name_of if n in paragraphs]
            assert there, f"{package} needs {clause}, which is not installed here"
            if there[0] not in found:
                found[there[0]] = paragraphs[there[0]]
                for more in re.findall(
                    r"^(?:Pre-)?Depends: (.*)", found[there[0]], re.M
                ):
                    wanted.append(more)
    return found


def make_clean_system(root: Path, packages: Dict[str, str]) -> None:
    """A system that has the files of these packages and nothing else, a shell and dpkg included."""
    admin = root / "var" / "lib" / "dpkg"
    (admin / "info").mkdir(parents=True)
    (admin / "updates").mkdir()
    (admin / "status").write_text("\n\n".join(packages.values()) + "\n")
    for name in packages:
        for file in Path("/var/lib/dpkg/info").glob(f"{name}[.:]*list"):
            shutil.copy(file, admin / "info")
    for link in ("bin", "lib", "lib64", "sbin"):  # as on every merged Debian 12
        (root / "usr" / link).mkdir(parents=True)
        (root / link).symlink_to(f"usr/{link}")
    env = clean_env("/usr/sbin:/sbin")
    listed = text_of("dpkg", "-L", *packages, env=env).splitlines()
    skip = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale")
    names = [
        n for n in dict.fromkeys(listed) if n[:1] == "/" and not n.startswith(skip)
    ]
    tar = subprocess.Popen(
        ["tar", "-C", "/", "--no-recursion", "-cf", "-", "--null", "-T", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    untar = subprocess.Popen(
        ["tar", "-C", str(root), "--keep-directory-symlink", "-xf", "-"],
        stdin=tar.stdout,
    )
    assert tar.stdin is not None
    there = [n for n in names if os.path.lexists(n) and n != "/."]
    tar.stdin.write("\0".join(f".{n}" for n in there).encode())
    tar.stdin.close()
    assert (tar.wait(), untar.wait()) == (0, 0)
    text_of("/sbin/ldconfig", "-r", root, env=env)


@pytest.mark.full
@pytest.mark.usefixtures("root")
def test_the_package_installs_and_runs_on_a_clean_system(tmp_path: Path) -> None:
    """A system with nothing but what the package depends on, made of this one's packages."""
    if not shutil.which("dpkg-shlibdeps"):
        pytest.skip("dpkg-shlibdeps (package dpkg-dev) is not installed")
    deb = make("deb").splitlines()[-1]
    env = clean_env("/usr/sbin:/sbin")
    depends = text_of("dpkg-deb", "-f", deb, "Depends", env=env).strip()
    root = tmp_path / "root"
    # Of what every Debian has, only what the package's removal needs.
    make_clean_system(root, closure("loopscope", f"{depends}, dash, coreutils"))
    for folder in ("tmp", "proc"):
        (root / folder).mkdir(exist_ok=True)
    dpkg = ["dpkg", f"--root={root}", "--log=/dev/null"]
    subprocess.run([*dpkg, "-i", deb], check=True, env=env, stdout=subprocess.DEVNULL)

    def inside(script: str) -> str:
        """What a shell prints that has the whole of that system and its own /proc."""
        enter = 'mount -t proc proc "$0/proc"; cd "$0"; inside="chroot $0"; '
        words = ["unshare", "-m", "sh", "-ec", enter + script, root]
        return text_of(*words, env=env)

    assert inside("$inside loopscope --version").startswith("loopscope ")
    rows = inside(
        "$inside demo-qemu-loop --scenario five-sources --iterations 90"
        " --record /tmp/five > tmp/out 2>&1; $inside loopscope report /tmp/five --json"
    ).splitlines()
    assert json.loads(rows[-1])["iterations"] >= 90  # the main loop's; io0 has its own
    # Live, by the means that need no bpf of this kernel: the target's memory.
    rows = inside(
        "$inside demo-qemu-loop --scenario signal > tmp/out & pid=$!;"
        " until grep -q ready tmp/out 2> /dev/null; do sleep 0.05; done;"
        " code=0; $inside loopscope fds -p $pid --via mem --json || code=$?;"
        " kill $pid; exit $code"
    ).splitlines()
    assert json.loads(rows[-1])["type"] == "total" and json.loads(rows[-1])["fds"] > 0
    subprocess.run(
        [*dpkg, "-r", "loopscope"], check=True, env=env, stdout=subprocess.DEVNULL
    )
    assert not (root / "usr/share/loopscope").exists()
