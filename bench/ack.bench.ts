// Durable ack, 50 WebSocket clients with a session each, through the whole server: compose, SQLite journal on disk, edge; one message.add
// (200 characters, reply:false) on its way a client. Panes off: what a message costs before anybody works on it.
//
// Controls in the same process and loop, each a bare `ws` server with JSON.parse and JSON.stringify: echo (nothing stored), full (one
// synchronous=FULL commit a message, same driver), group (one commit an event-loop tick: the limit of this store).
// Passes when the rate is >= 0.5 x echo and >= 5 x full. A miss counts only when the median and the best round both miss.
//
//   npx tsx bench/ack.bench.ts [rounds = 5]
import { rmSync } from 'node:fs';
import { Clients, type Loaded } from './support/clients.ts';
import { benchFolder, benchServer, off } from './support/server.ts';
import { header, interleave, judge, median, ratios, spread } from './support/stats.ts';
import { echoControl, fullControl, groupControl } from './support/ws-controls.ts';

const rounds = Number(process.argv[2] ?? 5);
const clients = 50;
const slotMs = 700;
const idleMs = 300;

const folder = benchFolder();
const server = await benchServer({ panes: { reply: off, history: off, scene: off } });
const controls = { echo: await echoControl(), full: await fullControl(folder), group: await groupControl(folder) };
const load = new Clients();
for (const [name, control] of Object.entries(controls))
  await load.open({ name, port: control.port, clients, mullion: false, subscribe: false });
await load.open({ name: 'mullion', port: server.port, clients, mullion: true, subscribe: false });

const names = [...Object.keys(controls), 'mullion'];
const modes = (count: number, ms: number) =>
  Object.fromEntries(names.map((name) => [name, () => load.load(name, count, ms)]));
await interleave(1, modes(clients, slotMs));
const busy = await interleave(rounds, modes(clients, slotMs));
const lone = await interleave(rounds, modes(1, idleMs));

const of = (results: Map<string, Loaded[]>, name: string, pick: (value: Loaded) => number): number[] =>
  (results.get(name) ?? []).map(pick);
console.log(header('durable ack', rounds));
console.table(
  names.map((name) => ({
    server: name,
    'acks/s, 50 clients': spread(
      of(busy, name, (one) => one.perSecond),
      0,
    ),
    'p50 ms': median(of(busy, name, (one) => one.p50)).toFixed(2),
    'p99 ms': median(of(busy, name, (one) => one.p99)).toFixed(2),
    'one client: p50 ms': median(of(lone, name, (one) => one.p50)).toFixed(3),
    'p99 ms ': median(of(lone, name, (one) => one.p99)).toFixed(3),
  })),
);
const rate = (one: Loaded): number => one.perSecond;
console.log(`ack / bare group commit: ${spread(ratios(busy, 'mullion', 'group', rate))}`);
judge([
  { name: 'ack / raw ws echo', values: ratios(busy, 'mullion', 'echo', rate), atLeast: 0.5, unit: 'x' },
  { name: 'ack / one fsync a message', values: ratios(busy, 'mullion', 'full', rate), atLeast: 5, unit: 'x' },
]);
load.close();
for (const control of Object.values(controls)) control.close();
await server.stop();
rmSync(folder, { recursive: true });
process.exit();
