"""Names of static callbacks: from .gnu_debugdata, separate debug files, a debuginfod; never guessed."""

import http.server
import subprocess
import threading
from pathlib import Path
from typing import Iterator, List, Mapping, Optional, Sequence

import pytest
from glib_programs import build
from tracer_run import DEMO, Result, run
from tracer_targets import Demo, Target, installed

SOURCE = """
#include <glib.h>
#include <stdio.h>
static gboolean hidden_tick(gpointer data) { return data == NULL; }
int main(void)
{
    g_timeout_add_seconds(3600, hidden_tick, NULL);
    puts("ready");
    fflush(stdout);
    g_main_loop_run(g_main_loop_new(NULL, FALSE));
}
"""


def sh(*words: object, cwd: Optional[Path] = None) -> None:
    subprocess.run(
        [installed(str(words[0])), *map(str, words[1:])], check=True, cwd=cwd
    )


class Ticker(Target):
    def __init__(self, program: Path) -> None:
        super().__init__("ticker")
        try:
            self.start([program])
            assert self.process and self.process.stdout
            assert self.process.stdout.readline() == b"ready\n"
            self.wait_polling(1)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def handlers(
        self, env: Optional[Mapping[str, str]] = None, user: Sequence[str] = ()
    ) -> Result:
        return run("handlers", "-p", self.pid, "--json", env=env, user=user)


def callback(result: Result) -> str:
    (source,) = result.of_type("source")
    return str(source["callback"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With debug information and a build-id of its own."""
    place = tmp_path_factory.mktemp("whole")
    (place / "ticker.c").write_text(SOURCE)
    words = ["-g", "-Wl,--build-id=0x00112233445566778899aabbccddeeff00112233"]
    return build(place / "ticker.c", place / "ticker", *words)


BUILD_ID = "00112233445566778899aabbccddeeff00112233"


def split(whole: Path, place: Path, link: bool = True) -> Path:
    """A stripped program and its debug file: beside it with a link, or where nobody looks."""
    debug = place / ("ticker.debug" if link else "elsewhere.debug")
    sh("objcopy", "--only-keep-debug", whole, debug)
    sh("objcopy", "--strip-all", whole, place / "ticker")
    if link:
        sh("objcopy", f"--add-gnu-debuglink={debug}", place / "ticker")
    return place / "ticker"


def test_a_stripped_program_has_no_name_for_it(whole: Path, tmp_path: Path) -> None:
    with Ticker(whole) as target:
        assert callback(target.handlers().fine()) == "hidden_tick"
    with Ticker(split(whole, tmp_path, link=False)) as target:
        assert callback(target.handlers().fine()).startswith("ticker+0x")


@pytest.mark.parametrize("place", ["beside", ".debug"])
def test_a_debug_file_found_by_its_link(
    whole: Path, tmp_path: Path, place: str
) -> None:
    program = split(whole, tmp_path)
    if place == ".debug":
        (tmp_path / ".debug").mkdir()
        (tmp_path / "ticker.debug").rename(tmp_path / ".debug" / "ticker.debug")
    with Ticker(program) as target:
        assert callback(target.handlers().fine()) == "hidden_tick"


def test_a_packed_symbol_table(whole: Path, tmp_path: Path) -> None:
    """.gnu_debugdata: nothing but symbols, packed with xz, in the program itself."""
    mini = tmp_path / "mini"
    sh("objcopy", "--only-keep-debug", whole, mini)
    sh("objcopy", "-S", "--keep-symbol=hidden_tick", mini)
    sh("xz", "-f", mini)
    program = split(whole, tmp_path, link=False)
    sh("objcopy", f"--add-section=.gnu_debugdata={mini}.xz", program)
    with Ticker(program) as target:
        assert callback(target.handlers().fine()) == "hidden_tick"


@pytest.mark.usefixtures("root")
def test_a_debug_file_found_by_its_build_id(whole: Path, tmp_path: Path) -> None:
    program = split(whole, tmp_path, link=False)
    store = tmp_path / "store"
    (store / ".build-id" / BUILD_ID[:2]).mkdir(parents=True)
    place = store / ".build-id" / BUILD_ID[:2] / f"{BUILD_ID[2:]}.debug"
    (tmp_path / "elsewhere.debug").rename(place)
    Path("/usr/lib/debug").mkdir(exist_ok=True)
    mount = 'mount --bind "$0" /usr/lib/debug && exec "$@"'
    user = ["unshare", "--mount", "sh", "-c", mount, str(store)]
    with Ticker(program) as target:
        assert callback(target.handlers(user=user).fine()) == "hidden_tick"
        # Of another build, in the same place.
        sh("objcopy", "--update-section", f".note.gnu.build-id={note(whole)}", place)
        wrong = target.handlers(user=user)
        assert callback(wrong).startswith("ticker+0x")
        assert f"its build-id is ff{BUILD_ID[2:]}, that of ticker" in wrong.err


def note(whole: Path) -> Path:
    """The note of a build-id that is another in its first byte."""
    path = whole.with_name("note")
    sh("objcopy", "-O", "binary", "--only-section=.note.gnu.build-id", whole, path)
    data = bytearray(path.read_bytes())
    data[-20] = 0xFF
    path.write_bytes(data)
    return path


def test_a_debug_file_of_another_build_is_refused_and_said(
    whole: Path, tmp_path: Path
) -> None:
    program = split(whole, tmp_path)
    debug = tmp_path / "ticker.debug"
    sh("objcopy", "--update-section", f".note.gnu.build-id={note(whole)}", debug)
    with Ticker(program) as target:
        result = target.handlers()
    assert result.rc == 0
    assert callback(result).startswith("ticker+0x")
    assert result.err == (
        f"loopscope: {debug} is not the debug file of ticker: its build-id is "
        f"ff{BUILD_ID[2:]}, that of ticker is {BUILD_ID}; names are shown without it\n"
    )


class Debuginfod(http.server.BaseHTTPRequestHandler):
    asked: List[str] = []
    file: bytes = b""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        good = self.path == f"/buildid/{BUILD_ID}/debuginfo"
        self.send_response(200 if good else 404)
        self.send_header("Content-Length", str(len(self.file) if good else 0))
        self.end_headers()
        if good:
            self.wfile.write(self.file)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def debuginfod(whole: Path, tmp_path: Path) -> Iterator[str]:
    split(whole, tmp_path, link=False)
    Debuginfod.asked = []
    Debuginfod.file = (tmp_path / "elsewhere.debug").read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Debuginfod)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_debuginfod_is_asked_only_where_the_user_has_named_one(
    debuginfod: str, tmp_path: Path
) -> None:
    library = "libdebuginfod.so.1"
    known = subprocess.run(["/sbin/ldconfig", "-p"], stdout=subprocess.PIPE, text=True)
    if library not in known.stdout:
        pytest.skip(f"{library} is not installed")
    cache = {"DEBUGINFOD_CACHE_PATH": str(tmp_path / "cache")}
    with Ticker(tmp_path / "ticker") as target:
        without = target.handlers({**cache, "DEBUGINFOD_URLS": ""}).fine()
        assert callback(without).startswith("ticker+0x")
        assert Debuginfod.asked == []
        named = target.handlers({**cache, "DEBUGINFOD_URLS": debuginfod})
        assert callback(named) == "hidden_tick"
    assert f"/buildid/{BUILD_ID}/debuginfo" in Debuginfod.asked


def test_the_layout_comes_from_a_separate_debug_file_too(tmp_path: Path) -> None:
    program, debug = tmp_path / "demo-qemu-loop", tmp_path / "demo.debug"
    sh("objcopy", "--only-keep-debug", DEMO, debug)
    sh("objcopy", "--strip-all", f"--add-gnu-debuglink={debug}", DEMO, program)
    with Demo("five-sources", program=program) as target:
        target.wait_asleep()
        result = run("layout", "-p", target.pid, "--json").fine()
        assert result.rows[0]["source"] == "dwarf"
        rows = run("handlers", "-p", target.pid, "--json").fine().of_type("handler")
        with Demo("five-sources") as whole:
            whole.wait_asleep()
            same = run("handlers", "-p", whole.pid, "--json").fine()
        assert [(r["io_read"], r["fd_kind"]) for r in rows] == [
            (r["io_read"], r["fd_kind"]) for r in same.of_type("handler")
        ]
