"""What is broken and made whole again: one fault a file, the warden that makes and undoes them, the ledger of faults.

`client` is the door for a run, `registry` finds the faults, `base` is the contract that each of them keeps.
"""
