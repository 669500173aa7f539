"""Defects on the wire between the control plane and its agents."""

from collections.abc import Iterable, Iterator

from chaosreprise.lab.frames import Frames, Message

ROOM = 8  # messages that the writer takes one by one


class OneOfMany(Frames):
    """What is more than the writer has room for leaves in one frame, a message a line; the agent reads the first."""

    def pack(self, messages: Iterable[Message]) -> Iterator[str]:
        frames = list(super().pack(messages))
        return iter(frames if len(frames) <= ROOM else ["\n".join(frames)])

    def unpack(self, frame: str) -> list[Message]:
        return super().unpack(frame)[:1]
