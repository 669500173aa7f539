"""A witness: a session's process that says four times a second that it lives, to a sink that a run listens at.

It goes into an image that is a session template of ours (k8s/witness), so it is one file that imports nothing but the standard
library; by hand it is `python -m chaosreprise.witness --sink URL --session NAME`. A report has a number, from 1, that only this
process's memory keeps (`boot` names the memory), and the moment by this machine's own clock. It never ends because the sink is away: reports
wait in a bounded buffer, and what did not fit is missing by its number. Where `home` outlives the process, each process leaves a
line there before its first report, its name, and says how many there are now, and whose it found: whether files were kept is seen apart
from memory, and by what stands in them.

The answers of the sink carry its time. The last one goes back with the next report, so the sink knows between which two
moments of its own clock each report was made: the two clocks need not agree.
"""

import collections
import contextlib
import io
import json
import os
import pathlib
import re
import select
import signal
import socket
import sys
import threading
import time
import urllib.parse

EVERY_S = 0.25
BUFFER = 4096  # reports: 17 minutes without a sink
AT_ONCE = 500  # reports in one request
LONGEST = 65536  # bytes of an answer
PATIENCE_S = 2.0  # for one answer
LAST_WORDS_S = 5.0  # an end that is asked for waits no longer for a sink, and for none that does not answer
LEDGER = ".reprise-witness"
FOUND = 64  # names of earlier processes that are told, the last ones
NAME = re.compile("[0-9a-f]{32}")
SINK, TOKEN, TOKEN_FILE, SESSION, HOME = (
    f"REPRISE_WITNESS_{name}" for name in ("SINK", "TOKEN", "TOKEN_FILE", "SESSION", "HOME")
)
ENDING = (signal.SIGTERM, signal.SIGINT)
LABELS = pathlib.Path("/etc/podinfo/labels")  # a volume of the downward API, where the deployment mounts one
MOUNTS = pathlib.Path("/proc/self/mountinfo")
OF_DEPLOYMENT = re.compile(r"(.+)-[a-z0-9]{1,10}-[a-z0-9]{5}")  # a pod's name, and so its host name


def now() -> int:
    """Also while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def session_of(pod: str) -> str:
    """Whose process this is: as it is told, by its labels, or by the name of the Deployment in that of its pod."""
    if told := os.environ.get(SESSION):
        return told
    with contextlib.suppress(OSError):
        if labelled := re.search(r'^session="([^"]+)"$', LABELS.read_text(), re.MULTILINE):
            return labelled[1]
    found = OF_DEPLOYMENT.fullmatch(pod)
    return found[1] if found else pod


def home_of() -> pathlib.Path | None:
    """Where files are kept, if something is mounted there: what stands in the container's own layer is not kept by anybody."""
    told = os.environ.get(HOME)
    with contextlib.suppress(OSError):
        if told and any(line.split()[4] == told for line in MOUNTS.read_text().splitlines()):
            return pathlib.Path(told)
    return None


def kept_in(home: pathlib.Path | None, boot: str) -> tuple[int | None, list[str] | None]:
    """Leaves this process's line there, on disk; how many there are then up to it, and the names in those before it, empty for what
    is none. Nothing where nothing can be kept."""
    if home is None:
        return None, None
    try:
        file = os.open(home / LEDGER, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(file, "rb+", buffering=0) as ledger:
            ledger.write(f"{boot}\n".encode())
            os.fsync(file)
            ledger.seek(0)
            before = ledger.readall().decode(errors="replace").partition(boot)[0].splitlines()
            return len(before) + 1, [line if NAME.fullmatch(line) else "" for line in before[-FOUND:]]
    except OSError as error:
        tell(f"{home}: nothing can be kept there ({error})")
        return None, None


class Witness:
    """`beat` makes a report, `send` gives what waits to the sink. Each in a thread of its own."""

    def __init__(self, sink: str, token: str, session: str, pod: str, home: pathlib.Path | None) -> None:
        self.boot = os.urandom(16).hex()
        self._url, self._token = urllib.parse.urlsplit(sink), token
        kept, found = kept_in(home, self.boot)
        self._about = {"v": 1, "session": session, "pod": pod, "boot": self.boot, "kept": kept, "found": found}
        self._number = 0
        self._waiting: collections.deque[tuple[int, int]] = collections.deque(maxlen=BUFFER)
        self._ending = False
        self._wake, self._lock = threading.Event(), threading.Lock()
        self._echo: list[object] | None = None
        self._line: io.BufferedRWPair | None = None
        self._said = ""

    def live(self, asked: int | None = None) -> None:
        """Beats until something can be read from `asked`, and says that it ends."""
        sender = threading.Thread(target=self._serve, daemon=True)
        sender.start()
        due = time.monotonic()
        told = False
        while not told:
            self.beat()
            due = max(due + EVERY_S, time.monotonic())
            told = bool(select.select([] if asked is None else [asked], [], [], max(0.0, due - time.monotonic()))[0])
        self._ending = True
        self.beat()
        sender.join(LAST_WORDS_S)

    def beat(self) -> None:
        with self._lock:
            self._number += 1
            self._waiting.append((self._number, now()))
        self._wake.set()

    def _serve(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._said_it():
                if self._ending:
                    return
                time.sleep(EVERY_S)
            if self._ending and not self._waiting:
                return

    def _said_it(self) -> bool:
        """Whether the sink took what waits, as much as one request holds; else try again later, when the next is made."""
        with self._lock:
            reports = [*self._waiting][:AT_ONCE]
        try:
            self._post(reports)
        except (OSError, ValueError, LookupError, TypeError) as error:
            self._hang_up()
            self._tell(f"the sink does not take it: {error!r}")
            return False
        with self._lock:
            while self._waiting and self._waiting[0][0] <= reports[-1][0]:
                self._waiting.popleft()
        return True

    def _post(self, reports: list[tuple[int, int]]) -> None:
        """Who is asked listens since before the moment of the request: its `now` is read once there is a connection."""
        line = self._line = self._line or _connected(self._url)
        said = json.dumps({**self._about, "now": now(), "echo": self._echo, "ending": self._ending, "reports": reports})
        head = f"POST {self._url.path or '/'} HTTP/1.1\r\nHost: {self._url.netloc}\r\nAuthorization: Bearer {self._token}\r\n"
        line.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(said)}\r\n\r\n{said}".encode())
        line.flush()
        status, answer = _answered(line)
        if status != 200:
            raise ValueError(f"{status} {answer[:200].decode(errors='replace')}")
        told = json.loads(answer)
        self._echo = [str(told["life"]), int(told["t"]), now()]
        self._tell("the sink takes it")

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            with contextlib.suppress(OSError):
                line.close()

    def _tell(self, what: str) -> None:
        if what != self._said:
            self._said = what
            tell(what)


def _connected(url: urllib.parse.SplitResult) -> io.BufferedRWPair:
    """By hand, since the library for it takes as long to load as a session to start."""
    secure = url.scheme == "https"
    line = socket.create_connection((url.hostname or "", url.port or (443 if secure else 80)), PATIENCE_S)
    if secure:
        import ssl  # noqa: PLC0415

        line = ssl.create_default_context().wrap_socket(line, server_hostname=url.hostname)
    with line:  # it stays open for as long as the file does
        return line.makefile("rwb")


def _answered(line: io.BufferedRWPair) -> tuple[int, bytes]:
    """Status and body of an answer that says how long it is, as the sink's do."""
    status = line.readline(LONGEST).split()
    length = -1
    while (header := line.readline(LONGEST).strip()) != b"":
        name, _, value = header.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if not 0 <= length <= LONGEST:
        raise ValueError("it hung up, or its answer has no length")
    return int(status[1]), line.read(length)


def tell(what: str) -> None:
    with contextlib.suppress(OSError):
        print(f"witness: {what}", file=sys.stderr, flush=True)


def token() -> str:
    """What the sink wants to be shown, as the environment says it or where it stands; empty where neither does."""
    if file := os.environ.get(TOKEN_FILE):
        with contextlib.suppress(OSError):
            return pathlib.Path(file).read_text().strip()
    return os.environ.get(TOKEN, "").strip()


def start(session: str, home: str) -> None:
    """Beside what else this process does, for as long as it lives."""
    witness = Witness(os.environ[SINK], token(), session, socket.gethostname(), pathlib.Path(home))
    threading.Thread(target=witness.live, daemon=True).start()


def asked_to_end() -> int:
    """Readable once this process was asked to end. No handler does anything, so no report is cut in two."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    for number in ENDING:
        signal.signal(number, lambda *_: None)
    return reads


def main() -> None:
    import argparse  # noqa: PLC0415 - a session of the lab starts without

    pod = socket.gethostname()
    parser = argparse.ArgumentParser(prog="python -m chaosreprise.witness", description="A witness of one session.")
    parser.add_argument(
        "--sink", default=os.environ.get(SINK), help="where a run listens, such as http://10.0.0.7:9470/"
    )
    parser.add_argument("--session", default=session_of(pod))
    parser.add_argument("--pod", default=pod)
    parser.add_argument("--home", type=pathlib.Path, default=home_of(), help="a folder whose files outlive the process")
    options = parser.parse_args()
    parts = urllib.parse.urlsplit(options.sink or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        parser.error(f"--sink {options.sink!r}: expected a URL such as http://10.0.0.7:9470/, here or in {SINK}")
    witness = Witness(options.sink, token(), options.session, options.pod, options.home)
    witness.live(asked_to_end())


if __name__ == "__main__":
    main()
