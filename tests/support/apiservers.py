"""An etcd and an API server of our own, from the programs on the PATH, that may be killed and frozen. Nothing else: no pod ever runs."""

import contextlib
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from linkwire import eventually

PROGRAMS = ("etcd", "kube-apiserver", "openssl", "setpriv")
TOKEN = "of-an-administrator"
READY_S = 90.0
KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: own
clusters: [{{name: own, cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: "{ca}"}}}}]
users: [{{name: own, user: {{token: "{token}"}}}}]
contexts: [{{name: own, context: {{cluster: own, user: own}}}}]
"""


def lacking() -> str | None:
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"no API server of our own: {', '.join(absent)} not on the PATH" if absent else None


class Server:
    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1)  # a process dies with the thread that has started it
        store, peer, self._port = _free_ports(3)
        at = f"http://127.0.0.1:{store}"
        run = ("openssl", "genrsa", "-out", folder / "accounts.key", "2048")
        subprocess.run(run, check=True, capture_output=True)
        (folder / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n")
        self._etcd = self._start(
            "etcd", "--data-dir", folder / "etcd", "--listen-client-urls", at, "--advertise-client-urls", at,
            "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--unsafe-no-fsync",
        )  # fmt: skip
        self._command = [
            "kube-apiserver", "--etcd-servers", at, "--cert-dir", folder / "certs", "--secure-port", str(self._port),
            "--bind-address", "127.0.0.1", "--advertise-address", "10.0.0.1", "--service-cluster-ip-range", "10.97.0.0/16",
            "--service-account-key-file", folder / "accounts.key", "--service-account-issuer", "https://reprise.test",
            "--service-account-signing-key-file", folder / "accounts.key", "--token-auth-file", folder / "tokens.csv",
            "--authorization-mode", "RBAC", "--disable-admission-plugins", "ServiceAccount",
        ]  # fmt: skip
        self.kubeconfig = folder / "own.kubeconfig"
        certificate = folder / "certs" / "apiserver.crt"
        self.kubeconfig.write_text(KUBECONFIG.format(port=self._port, ca=certificate, token=TOKEN))
        self.start()

    def start(self) -> None:
        self._api = self._start(*self._command)
        assert eventually(self._is_ready, READY_S), (self._folder / "kube-apiserver.log").read_text()[-2000:]

    def kill(self) -> None:
        self._api.kill()
        self._api.wait()

    def signal(self, number: signal.Signals) -> None:
        self._api.send_signal(number)

    def end(self) -> None:
        for one in (self._api, self._etcd):
            one.kill()
            one.wait()
        self._thread.shutdown()

    def _is_ready(self) -> bool:
        time.sleep(0.1)
        asked = urllib.request.Request(
            f"https://127.0.0.1:{self._port}/readyz", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with contextlib.suppress(OSError):
            unchecked = ssl._create_unverified_context()
            with urllib.request.urlopen(asked, timeout=5, context=unchecked) as answer:
                return answer.status == 200
        return False

    def _start(self, name: str, *arguments: object) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{name}.log").open("ab") as log:
            command = ["setpriv", "--pdeathsig", "KILL", name, *map(str, arguments)]
            return self._thread.submit(subprocess.Popen, command, stdout=log, stderr=log).result()


@contextlib.contextmanager
def server(folder: pathlib.Path) -> Iterator[Server]:
    found = Server(folder)
    try:
        yield found
    finally:
        found.end()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
