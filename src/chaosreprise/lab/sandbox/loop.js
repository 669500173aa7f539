// The Node end of `interpreter`: started as `node -e`, it runs each step in one context that stays.
// A step ends with its synchronous code; what its timers print later is nobody's.
const readline = require('readline');
const vm = require('vm');

let out = '';
let err = '';
const joined = (values) => values.map(String).join(' ') + '\n';
const toOut = (...values) => { out += joined(values); };
const toErr = (...values) => { err += joined(values); };
const context = vm.createContext({
  require, process, Buffer, URL, TextEncoder, TextDecoder, queueMicrotask,
  setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate,
  console: { log: toOut, info: toOut, debug: toOut, warn: toErr, error: toErr },
});

function run(code) {
  try {
    vm.runInContext(code, context, { filename: 'step' });
  } catch (error) {
    toErr((error && error.stack) || error);
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, code } = JSON.parse(line);
  out = err = '';
  run(code);
  process.stdout.write('\n' + JSON.stringify({ id, stdout: out, stderr: err }) + '\n');
}).on('close', () => process.exit());
