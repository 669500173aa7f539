"""One live Python interpreter: reads {"code"} a line, answers {"stdout", "stderr"} a line, keeps its variables, ends with its parent."""

import contextlib
import io
import json
import os
import sys
import traceback

_in = os.fdopen(os.dup(0), "r", encoding="utf-8")
_out = os.fdopen(os.dup(1), "w", encoding="utf-8")
_namespace: dict[str, object] = {"__name__": "__main__"}

for _line in _in:
    _stdout, _stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(_stdout), contextlib.redirect_stderr(_stderr):
        try:
            exec(compile(json.loads(_line)["code"], "<step>", "exec"), _namespace)
        except BaseException:  # noqa: BLE001 - whatever the user's code raises is its answer
            traceback.print_exc()
    _out.write(json.dumps({"stdout": _stdout.getvalue(), "stderr": _stderr.getvalue()}) + "\n")
    _out.flush()
sys.exit(0)
