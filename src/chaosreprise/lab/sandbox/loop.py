"""The Python end of `interpreter`: started as `python3 -u -c`, it runs each step in one namespace that stays.

The channel is moved away from descriptors 0 and 1, so that a step, or what it starts, can neither read nor write it by chance.
"""

import contextlib
import io
import json
import os
import traceback


def run(code: str, namespace: dict[str, object]) -> tuple[str, str]:
    """What a step prints, and its traceback if it raises."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            exec(compile(code, "<step>", "exec"), namespace)  # noqa: S102 - running code is what it is for
        except BaseException as error:  # noqa: BLE001 - also SystemExit: a step must not end its session
            frames = error.__traceback__.tb_next if error.__traceback__ else None
            err.write("".join(traceback.format_exception(type(error), error, frames)))
    return out.getvalue(), err.getvalue()


def main() -> None:
    requests, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line in requests:
        request = json.loads(line)
        out, err = run(request["code"], namespace)
        said = json.dumps({"id": request["id"], "stdout": out, "stderr": err}).encode() + b"\n"
        while said:
            said = said[os.write(answers, said) :]


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # its service is gone, and so nobody waits for the answer
        main()
