"""What watches the platform and the world: ledger tailers and samplers, each with its coverage."""

from chaosreprise.observe.files import FileSource, FileTail, FolderSource, Seen
from chaosreprise.observe.reports import ReportSource, Said
from chaosreprise.observe.source import Emit, Source, sample

__all__ = ["Emit", "FileSource", "FileTail", "FolderSource", "ReportSource", "Said", "Seen", "Source", "sample"]
