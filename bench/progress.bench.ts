// [T28] Progress of runs with many tasks, end to end: a pane of 1,000 tasks without a value (64 at a time), through compose, SQLite journal,
// edge and a WebSocket client that folds every record. Two kinds of tasks, 10 runs = 10^4 completions each: those that end at once, and those that
// end in the next turn of the event loop, as all that waits for something does.
//
// Passes when
//   - in any second the client gets at most 10 `tasks` records of the pane. Counted by the records' own `at`, in windows of 1 s up to each
//     of them; what the run's first phase record says (all tasks at once) and what its terminal record says is not a `tasks` record;
//   - at the end of each run the folded counts are total = done = ok = 1,000: the last news always arrives (it may come with the terminal
//     record; what that makes up for open tasks is `cancelled`, never ok);
//   - within a run neither total nor done nor ok ever goes back, and total is right from the first frame on.
// No goal, printed: the cost of a completion in µs, beside a control in the same interleaved loop (the same completions as plain function
// calls whose news are folded in as many records as the pane sent), and the longest time in which the event loop did nothing else.
//
//   npx tsx bench/progress.bench.ts [runs = 10]
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { WebSocket } from 'ws';
import { defineTaskPane } from '../src/panes/define-tasks.ts';
import { fold } from '../src/protocol/fold.ts';
import type { ServerFrame } from '../src/protocol/frames.ts';
import { isTerminal, limits } from '../src/protocol/names.ts';
import type { Fact, Rec, TaskChange } from '../src/protocol/records.ts';
import { emptyView, type TaskCounts, type View } from '../src/protocol/view.ts';
import { benchServer, off } from './support/server.ts';
import { header, interleave, judge, ratios, spread } from './support/stats.ts';

const runs = Number(process.argv[2] ?? 10);
const tasks = limits.maxTasks;
const perSecond = 10;
const name = 'works';

/** Tasks without a part: they end at once, or in the next turn of the event loop. */
const works = defineTaskPane({
  name,
  phase: 'working',
  maxTasks: tasks,
  options: { enabled: true, policy: 'queue', parallel: 64, retries: 0 },
  stages: [
    {
      name: 'counting',
      async run({ task }) {
        if (task.input['turn'] === true) await new Promise((resolve) => void setImmediate(resolve));
        return { outcome: 'done' };
      },
    },
  ],
  plan: (input) => ({
    tasks: Array.from({ length: tasks }, (_, i) => ({ id: `t${i}`, label: `Task ${i}`, key: '', input: { ...input } })),
  }),
});

interface Run {
  usEach: number;
  /** Records of type `tasks`. */
  reports: number;
  /** Longest stall of the event loop, which server and client share, ms. */
  stallMs: number;
  /** Most of them in a second, over all runs so far. */
  busiest: number;
  /** Steps back of a count, and frames with another total than the run has. */
  wrong: number;
  /** Of the counts at the run's end. */
  missing: number;
}

const server = await benchServer({ panes: { reply: off, history: off, scene: off } }, { panes: [works] });
const socket = new WebSocket(`ws://127.0.0.1:${server.port}/v1/ws`, ['mullion.v1'], { perMessageDeflate: false });
let heard: (frame: ServerFrame) => void = () => undefined;
socket.on('message', (data) => {
  // ws gives a Buffer, and the server keeps to its protocol.
  // oxlint-disable-next-line typescript/no-base-to-string, typescript/no-unsafe-type-assertion
  heard(JSON.parse(data.toString()) as ServerFrame);
});
await once(socket, 'open');
await say({ type: 'init' }, 'ready');
await say({ type: 'session.open', id: 'open', session: 's' }, 'ack');
let view: View = emptyView('s');
const told = await say({ type: 'subscribe', id: 'sub', session: 's' }, 'snapshot');
if (told.type === 'snapshot') view = told.view;

/** Times of the `tasks` records of all runs, ms. */
const reportedAt: number[] = [];
let asked = 0;
/** Records that the pane's newest run took to tell its news: the control folds as many. */
let frames = 1;

async function paneRun(turn: boolean): Promise<Run> {
  asked += 1;
  const before = reportedAt.length;
  let wrong = 0;
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const startMs = performance.now();
  const ended = new Promise<TaskCounts | null>((resolve) => {
    heard = (frame) => {
      if (frame.type === 'error') throw new Error(frame.error.message);
      if (frame.type !== 'record') return;
      const old = view.panes[name];
      view = fold(view, frame.record);
      const pane = view.panes[name];
      if (frame.record.type === 'tasks') reportedAt.push(Date.parse(frame.record.at));
      if (pane?.run === old?.run && goesBack(old?.counts, pane?.counts)) wrong += 1;
      if (pane?.counts && pane.counts.total !== tasks) wrong += 1;
      if (frame.record.type === 'pane.phase' && isTerminal(frame.record.phase)) resolve(pane?.counts ?? null);
    };
  });
  socket.send(JSON.stringify({ type: 'pane.run', id: `run${asked}`, session: 's', pane: name, input: { turn } }));
  const counts = await ended;
  delay.disable();
  const usEach = ((performance.now() - startMs) * 1_000) / tasks;
  const reports = reportedAt.length - before;
  frames = Math.max(1, reports);
  const missing = [counts?.total, counts?.done, counts?.ok].filter((count) => count !== tasks).length;
  const stallMs = delay.max / 1e6;
  return { usEach, reports, stallMs, busiest: busiestSecond(reportedAt), wrong, missing };
}

/** The same news without a pane: calls that end at once, folded in as many records. */
async function plainRun(): Promise<Run> {
  const startMs = performance.now();
  let seq = 0;
  let plain: View = emptyView('s');
  const told = (fact: Fact): void => {
    seq += 1;
    const record: Rec = { ...fact, seq, at: new Date().toISOString() };
    plain = fold(plain, record);
  };
  const ids = Array.from({ length: tasks }, (_, i) => `t${i}`);
  told({ type: 'session.opened', panes: {} });
  plain = { ...plain, panes: { [name]: view.panes[name] ?? raise('a pane') } };
  const phase = { type: 'pane.phase', pane: name, run: 'plain', generation: 0, attempt: 1 } as const;
  told({
    ...phase,
    phase: 'working',
    tasks: ids.map((id) => ({ id, label: id, key: '', status: 'queued', input: {} })),
  });
  const each = Math.ceil(tasks / frames);
  for (let from = 0; from < tasks; from += each) {
    const changes: TaskChange[] = [];
    for (const id of ids.slice(from, from + each)) {
      const { outcome } = await Promise.resolve({ outcome: 'done' });
      changes.push({ id, status: outcome === 'done' ? 'succeeded' : 'failed' });
    }
    told({ type: 'tasks', pane: name, run: 'plain', tasks: changes });
  }
  const missing = plain.panes[name]?.counts?.ok === tasks ? 0 : 1;
  const usEach = ((performance.now() - startMs) * 1_000) / tasks;
  return { usEach, reports: frames, stallMs: Number.NaN, busiest: 0, wrong: 0, missing };
}

const modes = {
  'pane, at once': () => paneRun(false),
  'pane, next turn': () => paneRun(true),
  'control: calls and fold': plainRun,
};
await interleave(1, modes);
reportedAt.length = 0;
const results = await interleave(runs, modes);

console.log(header(`progress, ${tasks} tasks a run`, runs));
console.table(
  [...results].map(([mode, of]) => ({
    mode,
    'µs a completion': spread(
      of.map(({ usEach }) => usEach),
      1,
    ),
    'tasks records a run': spread(
      of.map(({ reports }) => reports),
      0,
    ),
    'longest stall ms': spread(
      of.map(({ stallMs }) => stallMs),
      0,
    ),
  })),
);
for (const mode of ['pane, at once', 'pane, next turn'])
  console.log(
    `${mode} over control: ${spread(
      ratios(results, mode, 'control: calls and fold', (of) => of.usEach),
      0,
    )}x`,
  );
const pane = ['pane, at once', 'pane, next turn'].flatMap((mode) => results.get(mode) ?? []);
// The worst of all runs counts: these are promises, not speeds.
const worst = (pick: (run: Run) => number): number[] => [Math.max(...pane.map(pick))];
judge([
  { name: 'tasks records in the busiest second', values: worst((run) => run.busiest), atMost: perSecond, digits: 0 },
  { name: 'counts missing at a run’s end', values: worst((run) => run.missing), atMost: 0, digits: 0 },
  { name: 'frames that take a count back', values: worst((run) => run.wrong), atMost: 0, digits: 0 },
  { name: 'completions folded by the client', values: [pane.length * tasks], atLeast: 2 * runs * tasks, digits: 0 },
]);
socket.close();
await server.stop();
process.exit();

function goesBack(old: TaskCounts | null | undefined, now: TaskCounts | null | undefined): boolean {
  return old != null && (now == null || now.total < old.total || now.done < old.done || now.ok < old.ok);
}

/** Most times within 1 s of one of them, itself included. */
function busiestSecond(timesMs: readonly number[]): number {
  let from = 0;
  let most = 0;
  for (const [index, timeMs] of timesMs.entries()) {
    while ((timesMs[from] ?? timeMs) <= timeMs - 1_000) from += 1;
    most = Math.max(most, index - from + 1);
  }
  return most;
}

async function say(frame: object, until: ServerFrame['type']): Promise<ServerFrame> {
  return new Promise((resolve, reject) => {
    heard = (answer) => {
      if (answer.type === 'error') reject(new Error(answer.error.message));
      if (answer.type === until) resolve(answer);
    };
    socket.send(JSON.stringify(frame));
  });
}

function raise(what: string): never {
  throw new Error(`expected ${what}`);
}
