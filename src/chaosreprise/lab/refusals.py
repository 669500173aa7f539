"""What the control plane refuses, as one exception that carries the answer: status, `error` and `message` of the contract.

It is raised wherever the reason is found, also inside a transaction, which it rolls back; `api` turns it into the answer.
"""


class Refused(Exception):
    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message


def bad_request(message: str) -> Refused:
    return Refused(400, "Invalid request", message)


def session_not_found(name: str) -> Refused:
    return Refused(404, "Session not found", f"no session {name}")


def template_not_found(name: str) -> Refused:
    return Refused(404, "Template not found", f"no template {name}")


def agent_not_found(name: str) -> Refused:
    return Refused(404, "Agent not found", f"no agent {name}")


def no_agents() -> Refused:
    return Refused(503, "No agents available", "no agent is online with room for a session")
