"""Let the database commit, and lose its answer: whoever asked for the commit sees a closed connection and knows nothing.

The one fault in which "it failed" is wrong: what is tried again is done twice, what is given up was done.
"""

from chaosreprise.faults import on_commits


class CommitLost(on_commits.OnCommits):
    kind, stream = "pg_commit_lost", "downstream"
    proof = (
        "by the server's own word as many commits were done as are meant, at least one, and none of these words went on"
    )


FAULT = CommitLost()
