"""How a platform is spoken to: the platform file, the adapter protocol, one adapter a module."""

import sys

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # its command line, with rich: 0.14 s of each process of a run
