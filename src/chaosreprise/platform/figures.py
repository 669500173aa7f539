"""Evidence of figures beside the load, whatever the platform: of its processes, and of its PostgreSQL."""

from chaosreprise.observe import Source
from chaosreprise.platform.file import Platform

PROCESSES, STATISTICS = "processes", "statistics"
KINDS = (PROCESSES, STATISTICS)


def source(platform: Platform, name: str) -> Source:
    """The source of this entry of [evidence], whose kind is one of KINDS."""
    if platform.file.evidence[name].kind == PROCESSES:
        from chaosreprise.platform import processes  # noqa: PLC0415 - only the recorder needs it

        return processes.source(platform, name)
    from chaosreprise.platform import statistics  # noqa: PLC0415 - and psycopg takes 0.15 s

    return statistics.source(platform, name)
