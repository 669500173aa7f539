"""The embedded platform: PostgreSQL, a control plane, agents and sessions as real processes.

It speaks contracts/streamspace.md and the steps of contracts/sandbox.md and keeps every promise of both, unless a planted
defect breaks one on purpose. Nobody imports it: `python -m chaosreprise.lab prepare` makes one, the stack's keeper runs it,
and what Reprise knows of it stands in its platform file, as for any other platform.

    session       one interpreter                  hands, lane, agent an agent: how it acts once, and in which order
    store         sessions, placement, quota       sockets, delivery, agents' connections, what goes over them,
    outbox        commands on their way            frames             and in which frames
    roster        agents                           api, control       HTTP, and the process
    steps         code that runs in sessions       prepare, postgres  making a lab
    defects       what can be planted behind store, outbox, roster, steps, delivery, frames, hands and lane
    sandbox       another platform, of its own: a sandbox code executor in three processes
"""
