"""The faults, one a module, named after what it does: `crash.py` is `agents.crash`, `database.crash`, ...

The smallest, `crash`, teaches the contract (`faults.base`). What several need of local processes is in `faults.local`.
"""
