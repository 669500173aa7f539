"""Chaos Toolkit probes of Reprise, one noun a module. They are installed as `chaosreprise.probes`."""

if __name__ != "chaosreprise.probes":
    raise ImportError(f"{__name__!r} is the source folder: import chaosreprise.probes (pip install . puts it there)")
