"""The embedded platform: PostgreSQL, a control plane, agents and sessions as real processes.

It speaks contracts/streamspace.md and the steps of contracts/sandbox.md and keeps every promise of both, unless a planted
defect breaks one on purpose. Nobody imports it: `python -m chaosreprise.lab prepare` makes one, the stack's keeper runs it,
and what Reprise knows of it stands in its platform file, as for any other platform.

    session       one interpreter                  hands, agent       an agent, and how it acts once
    store         sessions, placement, quota       sockets, delivery  agents' connections, and what goes over them
    outbox        commands on their way            api, control       HTTP, and the process
    roster        agents                           prepare, postgres  making a lab
    defects       what can be planted behind delivery and hands
"""
