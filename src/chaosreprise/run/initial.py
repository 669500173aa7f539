"""A platform file to begin with: `chaos reprise init KIND [FILE]`.

The template of a kind is `<kind>.toml` beside its adapter: being there is its registration. What stands there in angle brackets
has to be filled in; what is commented out is the default, or an example where there is none.
"""

import pathlib

from chaosreprise import platform
from chaosreprise.errors import BadInput, shown

TEMPLATES = pathlib.Path(platform.__file__).parent


def kinds() -> list[str]:
    return sorted(path.stem for path in TEMPLATES.glob("*.toml"))


def template(kind: str) -> str:
    """Raises BadInput with the kinds that there are."""
    if kind not in kinds():
        raise BadInput(f"kind = {shown(kind)}: expected one of {', '.join(kinds())}")
    return (TEMPLATES / f"{kind}.toml").read_text()


def write(kind: str, where: str) -> str:
    """Write it to a new file; what to do with it. Raises BadInput, and leaves a file alone that is there."""
    text = template(kind)
    try:
        with open(where, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise BadInput(f"{where}: is there already, and is left as it is: name another file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(f"{where}: can't be written ({reason}): name a file that you may write") from error
    return f"{where}: fill in what stands in <...>, then see what a run would meet: chaos reprise doctor {where}"
