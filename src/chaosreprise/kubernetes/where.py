"""Which cluster is meant, and which part of it."""

import msgspec


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace of a cluster. Without a kubeconfig: that of the pod that we run in, else kubectl's own."""

    namespace: str
    context: str | None = None
    kubeconfig: str | None = None
