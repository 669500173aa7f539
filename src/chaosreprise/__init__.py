"""Reprise breaks session/agent platforms on purpose and proves whether every accepted command survived.

Chaos Toolkit imports this package for each of its commands, so nothing heavy is imported here.
"""

from typing import Any


def __getattr__(name: str) -> str:
    """`__version__`, looked up only when asked for: the look-up costs 35 ms, in every process that a run starts."""
    if name == "__version__":
        from importlib import metadata  # noqa: PLC0415

        return metadata.version("chaostoolkit-reprise")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def discover(discover_system: bool = True) -> dict[str, Any]:
    """What `chaos discover chaostoolkit-reprise` prints: every probe and action, found by being there."""
    from importlib import resources  # noqa: PLC0415

    from chaoslib.discovery import discover_actions, discover_probes, initialize_discovery_result  # noqa: PLC0415

    del discover_system  # nothing of the machine is looked at: a platform is named, never guessed
    found: dict[str, Any] = initialize_discovery_result(
        "chaostoolkit-reprise", __getattr__("__version__"), "sessions-and-agents"
    )
    for package, discoverer in (("probes", discover_probes), ("actions", discover_actions)):
        for entry in sorted(resources.files(f"chaosreprise.{package}").iterdir(), key=lambda e: e.name):
            name, dot, suffix = entry.name.partition(".")
            if dot and suffix == "py" and not name.startswith("_"):
                found["activities"].extend(discoverer(f"chaosreprise.{package}.{name}"))
    return found
