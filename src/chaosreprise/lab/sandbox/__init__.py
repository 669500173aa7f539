"""The embedded sandbox: a control plane, a data plane and a session agent that run code in live interpreters.

Three processes that speak the sandbox code executor's contract and keep its promises, unless a planted defect breaks one on
purpose. Each is configured by the environment alone, with the variables of the real ones, so that one table of a platform
file starts either. They run whatever code they are given, unconfined, and listen on 127.0.0.1 unless told otherwise.

    settings       what the environment says      answers, guard, tokens   HTTP: bodies, refusals, who is let in
    control, ids   the control plane              rows                     its tables, in SQLite or PostgreSQL
    data           the data plane                 registry, agents         its routes, and its way to the session agent
    agent, hosted  the session agent              interpreter, loop.*      a child process that runs steps
    prepare        making the folder of one       defects                  what can be planted

Where the contract leaves room: a create whose id is taken (the second one of a second) is a 500 and touches nothing of the
first. A repeated attempt at a step carries the first one's number, so that the agent runs it once. What the database has not
taken is never answered as accepted. A dead interpreter stays dead: its session says so until it is terminated. An owner is
known to the control plane's process only, so with authentication on a session is gone with it.
"""
