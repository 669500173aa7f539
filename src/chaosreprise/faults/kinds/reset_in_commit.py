"""Reset the connection of whoever asks the database for a commit: the request never arrives, and the transaction is undone.

Nothing that needs a commit is kept meanwhile: the database can be read, and takes no writes.
"""

from chaosreprise.faults import on_commits


class ResetInCommit(on_commits.OnCommits):
    kind, stream = "pg_reset_in_commit", "upstream"
    proof = "as many requests for a commit as are meant, at least one, were dropped with their connections"


FAULT = ResetInCommit()
