"""The checks, one file each, with its exact definition. Being here is the registration (`checker.registry`)."""
