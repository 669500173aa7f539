"""Which cluster is meant, and which part of it."""

from typing import Annotated

import msgspec


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace of a cluster. Without a kubeconfig: that of the pod that we run in, else kubectl's own."""

    namespace: str
    context: str | None = None
    kubeconfig: str | None = None


class Forward(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A port of this machine, `local`, that leads to `port` of a pod that `selector` selects."""

    selector: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    local: Annotated[int, msgspec.Meta(ge=1, le=65535)]
