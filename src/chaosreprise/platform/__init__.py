"""How a platform is spoken to: the platform file, the adapter protocol, one adapter a module."""
