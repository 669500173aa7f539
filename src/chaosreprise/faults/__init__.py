"""What is broken and made whole again: one fault a file, the warden, the ledger of faults."""
