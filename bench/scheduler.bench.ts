// The queue in front of one provider host, without a server: 100,000 calls of 1,000 sessions wait for 4 slots, then each release lets
// the next one start, until none is left. All calls are queued in the least fair order, one session after the other.
//
// Control in the same interleaved loop: a plain FIFO array with the same 4 slots, the same promises and abort listeners: no priorities, no
// turns, no positions.
// Passes when a start decision (release -> the next call is chosen and told) takes at most 20 µs, median and p99; when it is fair within one
// round (no session is ever more than one start ahead of another); and when a waiting call costs at most 2,048 bytes: its
// promise, its place in the line, its listener on the signal. A miss counts only when the median and the best round both miss.
//
//   npx tsx bench/scheduler.bench.ts [rounds = 5]
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createLimits } from '../src/server/limits/limits.ts';
import { systemClock } from '../src/server/clock.ts';
import { header, interleave, judge, median, quantile, spread } from './support/stats.ts';

const rounds = Number(process.argv[2] ?? 5);
const calls = 100_000;
const sessions = 1_000;
const concurrency = 4;
const host = 'http://127.0.0.1:1';

setFlagsFromString('--expose-gc');
const collect: unknown = runInNewContext('gc');

interface Held {
  release(): void;
}

/** What a mode takes: a call of a session, its slot when it has one. */
type Acquire = (session: string, signal: AbortSignal) => Promise<Held>;

interface Round {
  p50: number;
  p99: number;
  /** Most starts that a session was ahead of another that still waited. */
  ahead: number;
  bytes: number;
}

function heapBytes(): number {
  if (typeof collect === 'function') collect();
  return process.memoryUsage().heapUsed;
}

async function round(acquire: Acquire): Promise<Round> {
  const asked = Array.from({ length: calls }, (_, i) => ({
    session: Math.floor(i / (calls / sessions)),
    signal: new AbortController().signal,
  }));
  const started: Held[] = [];
  const counts = new Fairness();
  // All slots are taken before the first call comes: nobody is first by luck.
  for (let i = 0; i < concurrency; i += 1) started.push(await acquire('first', new AbortController().signal));
  const waiting = Array.from<Promise<Held> | undefined>({ length: calls });
  const before = heapBytes();
  for (const [i, { session, signal }] of asked.entries()) waiting[i] = acquire(`s${session}`, signal);
  const bytes = (heapBytes() - before) / calls;
  for (const [i, { session }] of asked.entries()) {
    void waiting[i]?.then((slot) => {
      counts.start(session);
      started.push(slot);
    });
  }
  await new Promise(setImmediate);
  const decisions: number[] = [];
  for (let running = started.pop(); running !== undefined; running = started.pop()) {
    const fromNs = process.hrtime.bigint();
    running.release();
    decisions.push(Number(process.hrtime.bigint() - fromNs) / 1_000);
    // The promise of who starts; every so often a tick of its own, as in a server, so that positions are told too.
    await Promise.resolve();
    if (decisions.length % 64 === 0 || started.length === 0) await new Promise(setImmediate);
  }
  if (counts.total !== calls) throw new Error(`expected ${calls} starts, ${counts.total} came`);
  return { p50: quantile(decisions, 0.5), p99: quantile(decisions, 0.99), ahead: counts.ahead, bytes };
}

/** How far the session with most starts ever was ahead of the one with fewest. */
class Fairness {
  readonly #starts = Array.from({ length: sessions }, () => 0);
  /** Sessions by their number of starts. */
  readonly #with: number[] = [sessions];
  #least = 0;
  #most = 0;
  total = 0;
  ahead = 0;

  start(session: number): void {
    const had = this.#starts[session] ?? 0;
    this.#starts[session] = had + 1;
    this.#with[had] = (this.#with[had] ?? 0) - 1;
    this.#with[had + 1] = (this.#with[had + 1] ?? 0) + 1;
    this.#most = Math.max(this.#most, had + 1);
    while (this.#with[this.#least] === 0) this.#least += 1;
    this.total += 1;
    this.ahead = Math.max(this.ahead, this.#most - this.#least);
  }
}

function mullion(): Acquire {
  const limits = createLimits({ hosts: { [host]: { concurrency, minIntervalMs: 0 } }, maxWaiting: calls }, systemClock);
  return (session, signal) =>
    limits.acquire({ host, priority: 2, session, pane: 'scene', mayYield: () => true }, signal, () => {});
}

/** First come, first served. */
function fifo(): Acquire {
  const waiting: (() => void)[] = [];
  // An index instead of `shift`, which moves the whole array.
  let next = 0;
  let running = 0;
  const settle = (): void => {
    for (let start = waiting[next]; running < concurrency && start !== undefined; start = waiting[next]) {
      next += 1;
      running += 1;
      start();
    }
  };
  return (_session, signal) =>
    new Promise((resolve, reject) => {
      const onAbort = (): void => reject(new Error('aborted'));
      signal.addEventListener('abort', onAbort, { once: true });
      const slot = {
        release: () => {
          running -= 1;
          settle();
        },
      };
      waiting.push(() => {
        signal.removeEventListener('abort', onAbort);
        resolve(slot);
      });
      settle();
    });
}

const modes = { mullion: () => round(mullion()), 'control: FIFO array': () => round(fifo()) };
await interleave(1, modes);
const results = await interleave(rounds, modes);

console.log(header(`scheduler, ${calls} calls of ${sessions} sessions, ${concurrency} slots`, rounds));
console.table(
  [...results].map(([mode, values]) => ({
    mode,
    'decision p50 µs': spread(values.map((one) => one.p50)),
    'decision p99 µs': spread(values.map((one) => one.p99)),
    'starts ahead': median(values.map((one) => one.ahead)),
    'bytes a waiting call': median(values.map((one) => one.bytes)).toFixed(0),
  })),
);
const own = results.get('mullion') ?? [];
judge([
  { name: 'start decision, median', values: own.map((one) => one.p50), atMost: 20, unit: ' µs' },
  { name: 'start decision, p99', values: own.map((one) => one.p99), atMost: 20, unit: ' µs' },
  { name: 'starts that a session is ahead of another', values: own.map((one) => one.ahead), atMost: 1, digits: 0 },
  { name: 'bytes a waiting call', values: own.map((one) => one.bytes), atMost: 2_048, digits: 0 },
]);
