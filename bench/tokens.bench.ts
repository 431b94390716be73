// Token streaming to 1,000 subscribers of one session, end to end: Sessions (gate, SQLite journal) → broadcast → edge → socket → raw
// TCP readers in a child process.
//   frames:  eight message.add in one tick: eight records, one frame each, in as few writes as the commits allow
//   tokens:  an app streams one message, eight message.delta in one tick: what arrives is text, in live frames (40 ms) and records
// Control in the same process and loop: ws.send(string) for every frame, or token, to every subscriber.
// Passes when both reach >= 4 x the control's rate (frames, or tokens, delivered a second). A miss counts only when the median and the best
// round both miss.
//
//   npx tsx bench/tokens.bench.ts [rounds = 5]
import { fork } from 'node:child_process';
import type { Command } from '../src/protocol/commands.ts';
import { limits } from '../src/protocol/names.ts';
import type { ClientsConfig } from './fanout-clients.ts';
import { benchServer, off } from './support/server.ts';
import { header, interleave, judge, median, ratios, spread } from './support/stats.ts';
import { wsControl } from './support/ws-controls.ts';

const rounds = Number(process.argv[2] ?? 5);
const clients = 1_000;
const slotMs = 700;
const perTick = 8;
/** Ticks on their way at once. */
const windowTicks = 4;
const session = 's1';
const token = 'lantern ';
/** Frames shorter than this are not counted. */
const minBytes = 100;

const server = await benchServer({ panes: { reply: off, history: off, scene: off } });
const { sessions } = server;
const control = await wsControl();
let count = 0;
async function command(fields: object): Promise<void> {
  count += 1;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- fields of one command of the protocol
  const answer = await sessions.command({ session, id: `k${count}`, ...fields } as Command);
  if ('refused' in answer) throw new Error(answer.refused.message);
}
await command({ type: 'session.open' });

let counted = [0, 0];
const child = fork(new URL('./fanout-clients.ts', import.meta.url), { execArgv: ['--import', 'tsx'] });
child.on('message', (frames: number[]) => void (counted = frames));
const hello = ['{"type":"init"}', `{"type":"subscribe","id":"k","session":"${session}"}`];
const config: ClientsConfig = {
  clients,
  minBytes,
  groups: [
    { port: server.port, path: '/v1/ws', protocol: 'mullion.v1', hello },
    { port: control.port, path: '/', protocol: '', hello: [] },
  ],
};
child.send(config);
const tick = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
const sleep = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
/** What every subscriber is sent, as one more in this process sees it. */
let expected = 0;
await sessions.subscribe(session, undefined, {
  push: (batch) => {
    for (const frame of batch.frames) if (Buffer.byteLength(frame.json) >= minBytes) expected += 1;
  },
});
for (let last = -1; control.sockets.size < clients || (counted[0] ?? 0) < clients || counted[0] !== last;) {
  last = counted[0] ?? 0;
  await sleep(200);
}
/** Snapshots that came at the subscription. */
const base = { frames: (counted[0] ?? 0) - expected * clients };

interface Slot {
  perSecond: number;
  /** Microseconds of CPU a delivery. */
  cpu: number;
}

/** Publishes ticks for one slot with `windowTicks` on their way; waits until all has arrived. */
async function slot(publish: () => void, ahead: () => number, rest: () => Promise<void>): Promise<Slot> {
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  let ticks = 0;
  while (performance.now() < startMs + slotMs) {
    if (ahead() < windowTicks * perTick) {
      publish();
      ticks += 1;
    }
    await tick();
  }
  await rest();
  const seconds = (performance.now() - startMs) / 1_000;
  const used = process.cpuUsage(cpu);
  const delivered = ticks * perTick * clients;
  return { perSecond: delivered / seconds, cpu: (used.user + used.system) / delivered };
}

const oursBehind = (): number => expected - ((counted[0] ?? 0) - base.frames) / clients;
const waiting = new Set<Promise<void>>();
const ask = (fields: object): void => {
  const answered = command(fields).finally(() => waiting.delete(answered));
  waiting.add(answered);
};
const oursIn = async (): Promise<void> => {
  // Records and the last live frames: nothing is on its way and nothing new comes.
  for (let quietMs = 0; quietMs < 60; quietMs = waiting.size > 0 || oursBehind() > 0 ? 0 : quietMs + 5) await sleep(5);
};

let sent = 0;
let controlSent = 0;
const controlBehind = (): number => controlSent - (counted[1] ?? 0) / clients;
async function bare(frame: () => string): Promise<Slot> {
  const publish = (): void => {
    for (let i = 0; i < perTick; i += 1) {
      const text = frame();
      controlSent += 1;
      for (const socket of control.sockets) socket.send(text);
    }
  };
  return slot(publish, controlBehind, async () => {
    while (controlBehind() > 0) await tick();
  });
}

const cursor = '0193a1b2-0000-7000-8000-000000000000.12345';
const record = (): string => {
  sent += 1;
  const message = { id: `m${sent}`, role: 'user', text: token.repeat(8), generation: 1, final: true, reply: 'none' };
  const at = '2026-11-20T18:00:00.000Z';
  const body = { seq: sent, at, by: `k${sent}`, type: 'message.added', message };
  return JSON.stringify({ type: 'record', session, cursor, record: body });
};
const live = (): string => {
  sent += 1;
  return JSON.stringify({ type: 'live', session, text: { message: 'm1', at: sent, add: token }, run: cursor });
};

const modes = {
  'ws.send(string), 8 frames a tick': () => bare(record),
  'mullion, 8 records a tick': () =>
    slot(
      () => {
        for (let i = 0; i < perTick; i += 1)
          ask({ type: 'message.add', role: 'user', reply: false, text: token.repeat(8) });
      },
      () => Math.max(waiting.size, oursBehind()),
      oursIn,
    ),
  'ws.send(string), 8 tokens a tick': () => bare(live),
  'mullion, 8 tokens a tick': async () => {
    let message = '';
    let at = 0;
    const begin = (): void => {
      message = `t${(count += 1)}`;
      at = 0;
      ask({ type: 'message.add', role: 'assistant', reply: false, message, text: '', final: false });
    };
    begin();
    const add = (end: boolean): void => {
      ask({ type: 'message.delta', id: undefined, message, at, text: token, ...(end ? { end } : {}) });
      at += token.length;
    };
    return slot(
      () => {
        // A message holds so many tokens; then the next one begins.
        if (at > limits.maxTextUnits - 2 * perTick * token.length) {
          add(true);
          begin();
        }
        for (let i = 0; i < perTick; i += 1) add(false);
      },
      () => Math.max(waiting.size, oursBehind() * perTick),
      async () => {
        await Promise.all(waiting);
        add(true);
        await oursIn();
      },
    );
  },
};
await interleave(1, modes);
const results = await interleave(rounds, modes);
console.log(header(`token streaming, ${clients} subscribers`, rounds));
console.table(
  [...results].map(([name, values]) => ({
    mode: name,
    'delivered/s': spread(
      values.map((one) => one.perSecond),
      0,
    ),
    'CPU µs/delivery': median(values.map((one) => one.cpu)).toFixed(2),
  })),
);
const rate = (one: Slot): number => one.perSecond;
const least = { atLeast: 4, unit: 'x' };
const of = (what: string, name: string): number[] =>
  ratios(results, `mullion, 8 ${name} a tick`, `ws.send(string), 8 ${what} a tick`, rate);
judge([
  { name: 'eight records a tick / ws.send each', values: of('frames', 'records'), ...least },
  { name: 'eight tokens a tick / ws.send each', values: of('tokens', 'tokens'), ...least },
]);
child.disconnect();
control.close();
await server.stop();
process.exit();
