from toyfixtures import launch, state

__all__ = ["launch", "state"]
