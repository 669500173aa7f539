// One live Node interpreter: reads {"code"} a line, answers {"stdout", "stderr"} a line, keeps its variables, ends with its parent.
const vm = require('vm');
const readline = require('readline');

let out = [];
let err = [];
const log = (to) => (...said) => to().push(said.map(String).join(' ') + '\n');
const context = vm.createContext({
  require, process, Buffer, setTimeout, clearTimeout, setInterval, clearInterval,
  console: { log: log(() => out), info: log(() => out), error: log(() => err), warn: log(() => err) },
});

const lines = readline.createInterface({ input: process.stdin });
lines.on('close', () => process.exit(0));
lines.on('line', (line) => {
  out = [];
  err = [];
  try {
    vm.runInContext(JSON.parse(line).code, context, { filename: 'step' });
  } catch (raised) {
    err.push(String((raised && raised.stack) || raised) + '\n');
  }
  process.stdout.write(JSON.stringify({ stdout: out.join(''), stderr: err.join('') }) + '\n');
});
