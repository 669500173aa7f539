"""The API of one cluster: plain HTTP by httpx, with what a kubeconfig, or the pod that we run in, lets us in by.

The `kubernetes` package reads kubeconfigs (contexts, certificates, tokens that are renewed, plug-ins); its calls block and its
watches can't be ended, so they are made here. Each is one attempt with a time limit, and what it refuses is one of `errors`.
"""

import asyncio
import contextlib
import os
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import httpx
import msgspec

from chaosreprise import handshakes
from chaosreprise.errors import BadInput, NotAllowed, NotPossible, RepriseError, Unreachable
from chaosreprise.kubernetes.where import Where

if TYPE_CHECKING:
    from kubernetes.client import Configuration

TIMEOUT_S = 5.0  # without a byte
POD = "KUBERNETES_SERVICE_HOST"
MERGE = "application/merge-patch+json"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Missing(NotPossible):
    """There is no such object."""


class Conflict(NotPossible):
    """The object is not what it was taken for any more, or is there already."""


class TooMany(Unreachable):
    """Not now: the server has too much to do, or a budget does not allow for one more (429)."""


class Expired(Unreachable):
    """The server does not remember what happened since then (410 Gone)."""


_one_by_one = threading.Lock()  # the package remembers its files for all
REFUSALS: dict[int, type[RepriseError]] = {
    400: BadInput,
    401: NotAllowed,
    403: NotAllowed,
    404: Missing,
    409: Conflict,
    410: Expired,
    422: BadInput,
    429: TooMany,
}


class Right(NamedTuple):
    """What a role may allow: a verb on a resource of an API group, "" for the core; on a part of it, `pods/log`."""

    verb: str
    group: str
    resource: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{self.group and '.'}{self.group}"


class Api:
    """Raises BadInput when `where` can't be used. That blocks: a plug-in may be asked for a token."""

    def __init__(self, where: Where) -> None:
        self.where = where
        with _one_by_one, _own_files() as folder:
            configuration = _configuration(where, folder)
            try:
                self.tls = _tls(configuration)
            except (OSError, ssl.SSLError) as error:
                raise BadInput(
                    f"{_named(where)}: its certificates can't be used ({error}): mend the kubeconfig"
                ) from error
        self.url, self._token = configuration.host.rstrip("/"), _Token(configuration)
        self._http = httpx.AsyncClient(
            base_url=self.url,
            verify=self.tls,
            auth=self._token,
            timeout=TIMEOUT_S,
            trust_env=False,
            event_hooks=handshakes.HOOKS,
        )

    @classmethod
    async def to(cls, where: Where) -> Self:
        return await asyncio.to_thread(cls, where)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    def headers(self) -> dict[str, str]:
        """What lets us in, for who speaks to the server by other means than these."""
        return self._token.headers()

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        return await self._call("GET", path, params=params)

    async def get_at(self, path: str) -> tuple[dict[str, Any], float]:
        """With the server's time of its answer, in whole seconds since 1970."""
        answer = await self._asked("GET", path)
        found: dict[str, Any] = msgspec.json.decode(answer.content)
        return found, parsedate_to_datetime(answer.headers["Date"]).timestamp()

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._call("POST", path, json=body)

    async def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A merge patch. With metadata.resourceVersion in it: raises Conflict when the object is another one by now."""
        content = msgspec.json.encode(body)
        return await self._call("PATCH", path, content=content, headers={"Content-Type": MERGE})

    async def delete(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return await self._call("DELETE", path, json=body or {})

    async def watch(self, path: str, **params: str) -> AsyncIterator[dict[str, Any]]:
        """What happens to a collection from a resourceVersion on, until the server ends it: {type, object}."""
        async for line in self.lines(path, **params, watch="1", allowWatchBookmarks="true"):
            event: dict[str, Any] = msgspec.json.decode(line)
            if event["type"] == "ERROR":
                raise _refused(event["object"].get("code", 500), msgspec.json.encode(event["object"]))
            yield event

    async def lines(self, path: str, **params: str) -> AsyncIterator[str]:
        """What the server says line by line, however long it takes, until it ends that."""
        limits = httpx.Timeout(TIMEOUT_S, read=None)  # nothing may happen for long
        try:
            async with self._http.stream("GET", path, params=params, timeout=limits) as answer:
                if answer.status_code != 200:
                    raise _refused(answer.status_code, await answer.aread())
                async for line in answer.aiter_lines():
                    yield line
        except httpx.HTTPError as error:
            raise self._away(error) from error

    async def refused(self, rights: Iterable[Right], everywhere: bool = False) -> list[Right]:
        """Those that we have not, in our namespace, or in the whole cluster."""
        return [right for right in rights if not await self._may(right, everywhere)]

    async def _may(self, right: Right, everywhere: bool) -> bool:
        resource, _, of_it = right.resource.partition("/")
        asked = {"verb": right.verb, "group": right.group, "resource": resource, "subresource": of_it}
        asked["namespace"] = "" if everywhere else self.where.namespace
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        answer = await self.post(REVIEWS, review | {"spec": {"resourceAttributes": asked}})
        return bool(answer["status"]["allowed"])

    async def _call(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode((await self._asked(method, path, **given)).content)
        return found

    async def _asked(self, method: str, path: str, **given: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, path, **given)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        if not answer.is_success:
            raise _refused(answer.status_code, answer.content)
        return answer

    def _away(self, error: httpx.HTTPError) -> Unreachable:
        why = str(error) or type(error).__name__
        return Unreachable(f"{self._http.base_url}: the API server does not answer ({why}): is the cluster up?")


class _Token(httpx.Auth):
    """What the package has as a token now: it renews one that has a last day."""

    def __init__(self, configuration: "Configuration") -> None:
        self._configuration = configuration

    def headers(self) -> dict[str, str]:
        token = self._configuration.get_api_key_with_prefix("BearerToken")
        return {"Authorization": token.strip()} if token else {}

    def auth_flow(self, request: httpx.Request) -> Any:
        request.headers.update(self.headers())
        yield request


def context_of(where: Where) -> str | None:
    """The context that is used; None for a pod's own account. Raises BadInput."""
    from kubernetes import config  # noqa: PLC0415

    if where.context is not None or (where.kubeconfig is None and POD in os.environ):
        return where.context
    try:
        return str(config.list_kube_config_contexts(where.kubeconfig)[1]["name"])
    except (config.ConfigException, OSError, TypeError, KeyError) as error:
        raise BadInput(f"{_named(where)}: can't be used ({error}): name a kubeconfig and a context of it") from error


def _refused(status: int, body: bytes) -> RepriseError:
    try:
        say = str(msgspec.json.decode(body)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        say = f"the answer is no Status: {body[:80]!r}"
    return REFUSALS.get(status, Unreachable)(f"the API server answers with {status}: {say}")


@contextlib.contextmanager
def _own_files() -> Iterator[str]:
    """Where the package writes keys that stand in a kubeconfig: they must not outlive us, and others in this process have their own."""
    from kubernetes.config import kube_config  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="reprise-") as folder:
        try:
            yield folder
        finally:
            written = kube_config._temp_files
            for content in [content for content, path in written.items() if path.startswith(folder)]:
                del written[content]


def _configuration(where: Where, folder: str) -> "Configuration":
    from kubernetes import config  # noqa: PLC0415 - 0.5 s, which only who speaks to a cluster pays
    from kubernetes.client import Configuration  # noqa: PLC0415

    found = Configuration()
    try:
        if where.kubeconfig is None and POD in os.environ:
            config.load_incluster_config(found)
        else:
            config.load_kube_config(where.kubeconfig, where.context, found, persist_config=False, temp_file_path=folder)
    except (
        config.ConfigException,
        OSError,
        config.kube_config.yaml.YAMLError,
        ValueError,
        TypeError,
        KeyError,
    ) as error:
        raise BadInput(f"{_named(where)}: can't be used ({error}): name a kubeconfig and a context of it") from error
    return found


def _tls(configuration: "Configuration") -> ssl.SSLContext:
    tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    if configuration.cert_file:
        tls.load_cert_chain(configuration.cert_file, configuration.key_file)
    return tls


def _named(where: Where) -> str:
    return f"kubeconfig {where.kubeconfig or 'by default'}, context {where.context or 'by default'}"
