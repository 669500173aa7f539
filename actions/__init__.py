"""Chaos Toolkit actions of Reprise, one noun a module. They are installed as `chaosreprise.actions`."""

if __name__ != "chaosreprise.actions":
    raise ImportError(f"{__name__!r} is the source folder: import chaosreprise.actions (pip install . puts it there)")
