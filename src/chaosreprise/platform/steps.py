"""The code of a step of ours, in the languages that interpreters speak.

A step leaves two lines in the ledger of its working directory, one before its payload and one after it, each in one write,
and prints `KEY NONCE COUNT SIZE KNOWN LEFT`: its key, what the interpreter's memory says (a name that its first step gave it, and
how many steps it has run since), how many bytes the ledger had before, and twice `BYTES:DIGEST`, of the first bytes of the ledger: of
as many as an earlier step had left, which whoever sends it knows from that one's answer, and of all that is there now. A
ledger only grows, so the former digest is that of the earlier step's `LEFT`, or other content came in its place. A step carries
all its code and needs no helper of an earlier one, so that the lines are left by whichever interpreter runs it.
"""

import re

from chaosreprise.errors import NotPossible

PYTHON = """\
def _reprise(mark, key={key!r}):
    import hashlib, json, os, time
    with open('/proc/self/stat') as stat, open('/proc/sys/kernel/random/boot_id') as boot:
        start, boot = int(stat.read().rpartition(')')[2].split()[19]), boot.read().strip()
    inc = [boot, os.stat('/proc/self/ns/pid').st_ino, os.getpid(), start]
    line = json.dumps({{'t': time.monotonic_ns(), 'mark': mark, 'key': key, 'inc': inc}}) + '\\n'
    fd = os.open('ledger', os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    with open(fd, 'rb+', buffering=0) as ledger:
        size = os.fstat(fd).st_size
        ledger.write(line.encode())
        ledger.seek(0)
        content = ledger.read() if mark == 'e' else b''
    return size, [f'{{end}}:{{hashlib.sha256(content[:end]).hexdigest()[:16]}}' for end in ({known}, len(content))]
_reprise_size = _reprise('b')[0]
try:
    _reprise_memory[1] += 1
except NameError:
    _reprise_memory = [__import__('os').urandom(6).hex(), 1]
{payload}
print({key!r}, *_reprise_memory, _reprise_size, *_reprise('e')[1])
"""
NODE = """\
(() => {{
  const fs = require('fs')
  const stat = fs.readFileSync('/proc/self/stat', 'utf8').split(')').pop().trim().split(' ')
  const boot = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  const inc = JSON.stringify([boot, fs.statSync('/proc/self/ns/pid').ino, process.pid, Number(stat[19])])
  const leave = mark => fs.appendFileSync(
    'ledger', `{{"t": ${{process.hrtime.bigint()}}, "mark": "${{mark}}", "key": {key}, "inc": ${{inc}}}}\\n`)
  const size = fs.existsSync('ledger') ? fs.statSync('ledger').size : 0
  leave('b')
  globalThis._reprise_memory ??= [require('crypto').randomBytes(6).toString('hex'), 0]
  globalThis._reprise_memory[1] += 1
  {payload}
  leave('e')
  const content = fs.readFileSync('ledger')
  const digest = end => require('crypto').createHash('sha256').update(content.subarray(0, end)).digest('hex').slice(0, 16)
  const ends = [{known}, content.length].map(end => `${{end}}:${{digest(end)}}`)
  console.log([{key}, ...globalThis._reprise_memory, size, ...ends].join(' '))
}})()
"""
SLEEPS = {
    "python": "__import__('time').sleep({seconds})",
    "node": "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, {seconds} * 1000)",
}

WORDS = 6
LEFT = re.compile("([0-9]{1,18}):[0-9a-f]{16}")
NAMES = {"python": "python", "python3": "python", "node": "node", "javascript": "node"}
PAST = "past its interpreter"
NOISE = {
    "python": "__import__('os').write(1, {line!r}.encode())\n{payload}",
    "node": "fs.writeSync(1, {line!r})\n  {payload}",
}


def step_code(key: str, runtime: str = "python", seconds: float = 0.0, *, known: int = 0, noisy: bool = False) -> str:
    """A step whose payload does nothing for so many seconds; a noisy one writes a line to file descriptor 1, which may be the
    channel between the interpreter and its service. `known`: how much an earlier one had left (`left`). Raises NotPossible
    for a language that is not spoken here."""
    spoken = language(runtime)
    if spoken is None:
        raise NotPossible(f"no step of ours is written for the runtime {runtime!r}: expected one of {', '.join(NAMES)}")
    payload = SLEEPS[spoken].format(seconds=seconds) if seconds else {"python": "pass", "node": ""}[spoken]
    if noisy:
        payload = NOISE[spoken].format(line=f"{key} {PAST}\n", payload=payload)
    if spoken == "node":
        import json  # noqa: PLC0415

        return NODE.format(key=json.dumps(key), payload=payload, known=known)
    return PYTHON.format(key=key, payload=payload, known=known)


def left(key: str, result: str | None) -> int | None:
    """How many bytes its ledger had after the step of this key, by what it printed; None where that does not say so."""
    words = (result or "").split()
    found = LEFT.fullmatch(words[-1]) if len(words) == WORDS and words[0] == key else None
    return int(found[1]) if found else None


def language(runtime: str) -> str | None:
    """What a runtime of this name speaks, in any case; None where no step of ours is written for it."""
    return NAMES.get(runtime.lower())
