"""Every defect, by the check that finds it first. A new one is an entry here, and a class in the module of its seam.

Each is of a kind that real platforms have had. Where it violates further checks, rightly, `also` names them.
"""

from chaosreprise.lab.defects.defect import Defect

AWAY, ALL_AWAY = "agent-failover", "all-agents-away"
SLEEPS = "hibernate-wake"
ROWS = "agent-failover-by-rows"
CAPACITY = "capacity"
REFUSES, HANGS = "database-refuses", "database-hangs"

LOST = (
    Defect(
        "drop-queue", "lost", AWAY,
        "commands accepted while an agent is away are forgotten when it comes back, and stay pending for ever",
        {"Delivery": "delivery.DropQueue"}, label="stuck", also=("residue", "lifecycle"),
    ),
    Defect(
        "fail-when-away", "lost", AWAY,
        "a command accepted for an agent that is away is closed as failed instead of waiting",
        {"Delivery": "delivery.FailWhenAway"}, label="reported", also=("residue",),
    ),
    Defect(
        "one-of-many", "lost", AWAY,
        "what has gathered for an agent leaves in one frame, of which the agent reads the first message",
        {"Frames": "frames.OneOfMany"}, label="stuck", also=("residue", "lifecycle"),
    ),
    Defect(
        "ids-by-the-second", "lost", AWAY,
        "two commands of one session within a second have one id: the second overwrites the first, or is closed by it",
        {"Store": "store.IdsByTheSecond"}, label="silent", also=("residue", "lifecycle"),
    ),
    Defect(
        "memory-queue", "lost", "control-plane-crash-queued",
        "what waits for an agent waits in the control plane's memory, and dies with it",
        {"Delivery": "delivery.MemoryQueue"}, label="stuck", also=("residue", "lifecycle"),
    ),
    Defect(
        "ends-by-process", "lost", "session-crash",
        "a hibernation ends the process that the agent once started: if that has crashed, it is done, whatever runs instead",
        {"Hands": "hands.EndsByProcess"}, label="silent",
    ),
    Defect(
        "resumed-blindly", "lost", "agent-blackhole",
        "what was written to an agent's connection is not given again while the agent lives, though it never arrived",
        {"Agent": "agents.Resumes", "Roster": "roster.KnowsLives", "Switchboard": "sockets.NotTwiceToOneLife"},
        label="stuck", also=("residue", "lifecycle"),
    ),
    Defect(
        "taken-is-done", "lost", "agent-dies-before-effect",
        "a start counts as done when its agent has taken it, and is in that process's memory alone until it acts",
        {"Agent": "agents.KeepsItsQueue", "Outbox": "outbox.TakenIsDone"}, label="silent", also=("lifecycle",),
    ),
    Defect(
        "handed-over-once", "lost", "agent-dies-before-ack",
        "what waited for an agent is handed over to its connection: it dies there, unacknowledged, and is not given again",
        {"Delivery": "delivery.HandedOverOnce"}, label="stuck", also=("residue", "lifecycle"),
    ),
    Defect(
        "hurried-commits", "lost", "database-crash",
        "a command is accepted when its commit is not on disk yet (synchronous_commit = off): a crash takes it back",
        {"Database": "database.HurriedCommits"}, also=("residue", "lifecycle"),
    ),
    Defect(
        "routed-for-ever", "lost", "two-control-planes",
        "a control plane remembers which agents another one has: when such an agent comes over to it, nobody delivers to it",
        {"Others": "others.RoutesForEver", "Delivery": "others.OthersDeliver"}, label="stuck", also=("residue", "lifecycle"),
    ),
    Defect(
        "written-off-at-the-end", "lost", "upgrade-under-load",
        "a control plane that is asked to end writes off as done what it has sent and nobody has acknowledged",
        {"Outbox": "outbox.WrittenOffAtTheEnd"}, label="silent", also=("residue", "lifecycle"),
    ),
    Defect(
        "done-at-the-end", "lost", "agent-rollout",
        "an agent that is asked to end reports as complete whatever it has taken, done or not",
        {"Agent": "agents.DoneAtTheEnd"}, label="silent", also=("residue", "lifecycle"),
    ),
    Defect(
        "goodbye-is-the-end", "lost", "agent-evicted",
        "what was sent to an agent that closes its connection in order is not given again: who says goodbye has nothing left to do",
        {"Switchboard": "sockets.GoodbyeIsTheEnd"}, label="stuck", also=("residue", "lifecycle"),
    ),
)  # fmt: skip
DUPLICATE = (
    Defect(
        "replay-twice", "duplicate", AWAY,
        "a wake that waited for its agent is delivered and acted on twice: a second interpreter starts",
        {"Delivery": "delivery.ReplayTwice", "Hands": "hands.CarelessHands"}, also=("split-brain",),
    ),
    Defect(
        "replay-completed", "duplicate", AWAY,
        "commands completed before are delivered and acted on again when the agent comes back",
        {"Delivery": "delivery.ReplayCompleted", "Hands": "hands.CarelessHands"}, also=("split-brain",),
    ),
    Defect(
        "slow-is-lost", "duplicate", "agent-latency",
        "what an agent has not acknowledged within 0.65 s is taken for lost, and given again under a new number",
        {"Agent": "agents.AcknowledgesOnReceipt", "Switchboard": "sockets.SendsAgain"}, also=("split-brain",),
    ),
    Defect(
        "second-connection", "duplicate", "agent-freeze",
        "an agent that hears nothing opens a second connection and leaves the first one: what was stuck there acts beside it",
        {"Agent": "agents.OpensASecond", "Hands": "hands.OwnNotes"}, also=("split-brain", "residue"),
    ),
)  # fmt: skip
PHANTOM = (
    Defect(
        "refused-but-queued", "phantom", AWAY,
        "a command for an agent that is away is refused after it was stored, and done when the agent comes back",
        {"Delivery": "delivery.RefusedButQueued"}, also=("refusal", "lifecycle"),
    ),
    Defect(
        "refused-start-runs", "phantom", ALL_AWAY,
        "a start that was refused for want of agents was stored before, and runs when an agent comes back",
        {"Delivery": "delivery.RefusedStartsQueued", "Store": "store.PlaceAnyway"}, also=("residue", "misassigned"),
    ),
    Defect(
        "tries-again", "phantom", "database-commit-lost",
        "a change whose commit was not answered is tried again, refused since it is done already, and so denied to its caller",
        {"Store": "store.TriesAgain"}, also=("lifecycle",),
    ),
)  # fmt: skip
REORDER = (
    Defect(
        "stops-first", "reorder", AWAY,
        "stops have priority when a queue is delivered again, so that what was to happen before them never does",
        {"Delivery": "delivery.StopsFirst"}, also=("lost",),
    ),
    Defect(
        "newest-first", "reorder", AWAY,
        "a queue is delivered again as a stack, the newest command first",
        {"Delivery": "delivery.NewestFirst"}, also=("lost",),
    ),
)  # fmt: skip
RESIDUE = (
    Defect(
        "late-ack", "residue", AWAY,
        "a late acknowledgement overwrites the completion of its command, which never ends",
        {"Outbox": "outbox.LateAcks"},
    ),
    Defect(
        "ends-by-address", "residue", AWAY,
        "the end of a session that had no address is never written down: it is terminating for ever",
        {"Outbox": "outbox.EndsByAddress"}, also=("lifecycle",),
    ),
    Defect(
        "orphan", "residue", AWAY,
        "a stop that overtakes the start of its session finds nothing to end, and what starts then runs for ever",
        {"Lane": "lanes.StartsApart"}, also=("lost",),
    ),
    Defect(
        "row-before-place", "residue", ALL_AWAY,
        "a session is stored before an agent is found: a refused start leaves a session that nobody ends",
        {"Store": "store.RowBeforePlace"}, also=("lifecycle",),
    ),
)  # fmt: skip
SPLIT_BRAIN = (
    Defect(
        "spare-worker", "split-brain", AWAY,
        "while an agent is away steps run in a spare process beside the session's own, which goes on afterwards",
        {"Steps": "steps.SpareInterpreter", "Roster": "roster.Remembers"},
    ),
    Defect(
        "no-fencing", "split-brain", AWAY,
        "the sessions of an agent that is called offline are brought up elsewhere, while the first ones live on",
        {"Roster": "roster.TakesOver"}, also=("phantom", "duplicate"),
    ),
    Defect(
        "brings-up-again", "split-brain", "sessions-speak",
        "an agent that comes back brings up each session that its rows call running, beside the process that runs",
        {"Roster": "roster.BringsUpAgain"},
    ),
)  # fmt: skip
MISASSIGNED = (
    Defect(
        "place-by-rows", "misassigned", AWAY,
        "a session is placed by counting rows: an agent whose sessions all stop looks idle, also when it is gone",
        {"Store": "store.PlaceByRows"},
    ),
    Defect(
        "sent-to-nobody", "misassigned", AWAY,
        "a command is marked as sent although its agent is not connected",
        {"Delivery": "delivery.SentToNobody"},
    ),
)  # fmt: skip
QUOTA = (
    Defect(
        "counts-first", "quota", "burst-of-creates",
        "a user's sessions are counted before another one is added, with nothing that keeps creates apart: several take the last place",
        {"Store": "store.CountsFirst"},
    ),
    Defect(
        "counts-what-runs", "quota", "burst-of-creates",
        "only sessions that run are counted: while they start their user may have as many more",
        {"Store": "store.CountsWhatRuns"},
    ),
)  # fmt: skip
MISPLACED = (
    Defect(
        "any-cluster", "misplaced", "placement",
        "the least loaded agent gets a session, on whichever cluster, since what a caller asks for is not passed on",
        {"Store": "store.AnyCluster"},
    ),
    Defect(
        "any-region", "misplaced", "placement",
        "a region that is only preferred is never looked at: the least loaded agent anywhere gets the session",
        {"Store": "store.AnyRegion"},
    ),
    Defect(
        "any-platform", "misplaced", "placement",
        "all agents are taken to be alike: a session gets one of another platform than it was asked for",
        {"Store": "store.AnyPlatform"},
    ),
)  # fmt: skip
LIMITS = (
    Defect(
        "no-limits", "limits", "burst-of-creates",
        "what a session may take is kept and shown wherever it is asked for, and not passed on to what runs it",
        {"Hands": "hands.NoLimits"}, label="memory",
    ),
    Defect(
        "limits-of-the-last", "limits", "burst-of-creates",
        "what a session may take has one place in its agent: each gets what was asked for the one before it",
        {"Hands": "hands.LimitsOfTheLast"}, label="memory",
    ),
    Defect(
        "whole-mebibytes", "limits", "burst-of-creates",
        "memory is counted in whole mebibytes on its way to a session, and what is over is cut off",
        {"Hands": "hands.WholeMebibytes"}, label="memory",
    ),
)  # fmt: skip
LATE = (
    Defect(
        "trickle", "late", AWAY,
        "what waited for an agent is delivered again with a pause after each command, however much it is",
        {"Delivery": "delivery.Trickle"}, also=("lifecycle",),
    ),
    Defect(
        "later-stops", "late", AWAY,
        "a stop is reported as done at once, and done by a collector that takes its time",
        {"Hands": "hands.LaterStops"},
    ),
)  # fmt: skip
LIFECYCLE = (
    Defect(
        "late-report", "lifecycle", AWAY,
        "a report of what an older command has done overwrites the state that a newer one has made",
        {"Outbox": "outbox.EveryReportCounts"},
    ),
    Defect(
        "confirmed-again", "lifecycle", AWAY,
        "sessions that run are called starting again while their agent, come back, confirms them",
        {"Roster": "roster.ConfirmsAgain"},
    ),
)  # fmt: skip
REFUSAL = (
    Defect(
        "refused-as-quota", "refusal", ALL_AWAY,
        "a start for which there is no agent is refused as if its user had used up the quota",
        {"Store": "store.NoAgentsIsQuota"}, label="answer",
    ),
    Defect(
        "hopeful-refusal", "refusal", ALL_AWAY,
        "a start for which there is no agent is tried again and again before it is refused: its caller hangs",
        {"Store": "store.HopefulRefusal"}, label="hang",
    ),
)  # fmt: skip
OBJECTIVE = (
    Defect(
        "growing-steps", "objective", AWAY,
        "each step takes longer to answer than the one before it",
        {"Steps": "steps.GrowingSteps"},
    ),
    Defect(
        "sweeps-in-line", "objective", "latency-slo",
        "one create in six sweeps what is old before it is answered: half of them are as fast as ever",
        {"Store": "store.SweepsInLine"},
    ),
    Defect(
        "keeps-for-ever", "objective", "latency-slo",
        "each read takes longer the more sessions there ever were: the first run is fast, and `chaos reprise repeat` sees where it leads",
        {"Store": "store.KeepsForEver"},
    ),
    Defect(
        "online-for-ever", "objective", AWAY,
        "an agent without a connection, and without a heartbeat, still counts as online: nobody notices that it is gone",
        {"Roster": "roster.OnlineForEver"}, also=("dishonest",),
    ),
    Defect(
        "asks-kubernetes", "objective", CAPACITY,
        "each create asks the API server of a cluster by itself, beside what its agent does there",
        {"Store": "store.AsksKubernetes"},
    ),
    Defect(
        "counts-everything", "objective", CAPACITY,
        "each create has the database go through all that there ever was: what takes a second is said to be counting",
        {"Store": "store.CountsEverything"},
    ),
    Defect(
        "remembers-the-way", "objective", SLEEPS,
        "the way to a session is looked up for its first stream and remembered: once it has slept, no stream of it opens any more",
        {"Streams": "streams.RemembersTheWay"},
    ),
    Defect(
        "one-at-a-time", "objective", CAPACITY,
        "the steps of all sessions stand in one line: each alone is quick, and many at once wait for each other",
        {"Steps": "steps.OneAtATime"},
    ),
)  # fmt: skip
FAIL_OPEN = (
    Defect(
        "queues-in-memory", "fail-open", REFUSES,
        "what the database refuses is accepted into a queue in memory, of which nothing is left",
        {"Store": "outages.QueuesInMemory"}, label="accepted", also=("lost", "residue", "refusal"),
    ),
    Defect(
        "assumes-done", "fail-open", HANGS,
        "what the database has not answered in time is taken for done",
        {"Store": "outages.AssumesDone"}, label="accepted", also=("lost", "residue", "refusal"),
    ),
    Defect(
        "not-there-when-away", "fail-open", REFUSES,
        "a session that can't be looked up is taken for one that is not there",
        {"Store": "outages.NotThereWhenAway"}, label="denied", also=("denied", "refusal"),
    ),
    Defect(
        "not-there-when-refused", "fail-open", REFUSES,
        "where nobody listens for the database there is no such session: only a database that ends counts as away",
        {"Store": "outages.NotThereWhenRefused"}, label="denied", also=("denied", "refusal"),
    ),
    Defect(
        "lists-the-cached", "fail-open", HANGS,
        "while the database is away a list shrinks to the sessions that happen to be in a cache",
        {"Store": "outages.ListsTheCached"}, label="denied", also=("denied", "refusal"),
    ),
)  # fmt: skip
DENIED = (
    Defect(
        "cold-cache", "denied", "control-plane-crash",
        "a control plane that has just begun knows no session until its cache is full",
        {"Store": "outages.ColdCache"}, label="denied",
    ),
    Defect(
        "lists-what-is-online", "denied", AWAY,
        "a list leaves out the sessions of agents that are not online",
        {"Store": "outages.ListsWhatIsOnline"}, label="shrunk",
    ),
)  # fmt: skip
DISHONEST = (
    Defect(
        "trusts-heartbeats", "dishonest", AWAY,
        "an agent whose connection is closed counts as online for as long as its last heartbeat is remembered",
        {"Roster": "roster.TrustsHeartbeats"}, also=("objective",),
    ),
    Defect(
        "trusts-connections", "dishonest", "agent-zombie",
        "an agent that is silent counts as online, since its connection was never closed",
        {"Roster": "roster.TrustsConnections"}, also=("objective",),
    ),
    Defect(
        "end-not-written", "dishonest", "agent-and-database",
        "an agent that dies while the database is away is online for ever: its end could not be written, and is not made up for",
        {"Roster": "roster.SilenceTellsNothing"},
    ),
)  # fmt: skip
INTERRUPTED = (
    Defect(
        "routes-anew", "interrupted", AWAY,
        "when an agent comes back the streams of all sessions are cut, since routes are made anew",
        {"Roster": "roster.RoutesAnew", "Streams": "streams.KnownStreams"},
    ),
    Defect(
        "stream-looks-up", "interrupted", REFUSES,
        "a stream looks up its session now and then, and is cut when the database is away",
        {"Streams": "streams.LooksUp"},
    ),
)  # fmt: skip
STATE_LOSS = (
    Defect(
        "home-anew", "state-loss", SLEEPS,
        "a wake makes the home of its session anew, although a persistent one was asked for",
        {"Hands": "hands.HomeAnew"}, label="files",
    ),
    Defect(
        "home-of-holes", "state-loss", SLEEPS,
        "a wake restores the files of a home, each as large as it was: what stood in them was never copied",
        {"Hands": "hands.HomeOfHoles"}, label="files",
    ),
    Defect(
        "first-checkpoint", "state-loss", SLEEPS,
        "each wake goes back to the checkpoint of the first hibernation, and what came after that is forgotten",
        {"Hands": "hands.FirstCheckpoint"}, label="stale",
    ),
)  # fmt: skip
ISOLATION = (
    Defect(
        "last-answer", "isolation", SLEEPS,
        "the answers of steps wait in one place for all sessions: now and then the one of another session is taken",
        {"Steps": "steps.LastAnswer"}, label="answer",
    ),
)  # fmt: skip
UNFINISHED = (
    Defect(
        "waited-too-long", "unfinished", ROWS,
        "a command that has waited for its agent for longer than a limit is closed as failed, and carried out all the same",
        {"Outbox": "outbox.WaitedTooLong"}, label="reported",
    ),
    Defect(
        "recorded-twice", "unfinished", ROWS,
        "a hibernation is written to the archive of what was done as well, which is the table that it was taken from",
        {"Store": "store.RecordsTwice"}, label="twice",
    ),
)  # fmt: skip
CONTRADICTED = (
    Defect(
        "remembers-answers", "contradicted", ROWS,
        "what is answered of a session is remembered for a while, whatever becomes of it meanwhile",
        {"Store": "outages.RemembersAnswers"},
    ),
    Defect(
        "away-is-failed", "contradicted", ROWS,
        "what is answered of a session whose agent is not online is that it has failed",
        {"Store": "outages.AwayIsFailed"},
    ),
)  # fmt: skip
UNREAD = (
    Defect(
        "templates-from-kubernetes", "doctor", "",
        "templates are listed by the API server of a cluster: where that is not reached, nobody can choose one",
        {"Store": "store.TemplatesFromKubernetes"},
    ),
    Defect(
        "any-key", "doctor", "",
        "an agent is let in by any key that looks like one: whoever knows its name takes its commands",
        {"Roster": "roster.AnyKey"},
    ),
    Defect(
        "no-indexes", "doctor", "",
        "a migration has dropped the indexes on users and agents: each look for theirs reads all that there ever was",
        {"Database": "database.DropsIndexes"},
    ),
)  # fmt: skip
"""What no check of a run can find, since no run asks for it: `chaos reprise doctor` does."""
ALL = (
    *LOST, *DUPLICATE, *PHANTOM, *REORDER, *RESIDUE, *SPLIT_BRAIN, *MISASSIGNED, *QUOTA, *MISPLACED, *LIMITS, *LATE, *LIFECYCLE, *REFUSAL, *OBJECTIVE,
    *FAIL_OPEN, *DENIED, *DISHONEST, *INTERRUPTED, *STATE_LOSS, *ISOLATION, *UNFINISHED, *CONTRADICTED, *UNREAD,
)  # fmt: skip
