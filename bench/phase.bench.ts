// Message → first phase frame at the client, through the whole server: compose, SQLite journal, edge. Panes history and scene on
// with a debounce that never ends, so that each message.add moves both in its own append; the client follows its session.
//
// Control: the ack of the same message, at the same client; a bare ws echo in the same loop shows what the sockets cost.
// Passes when p50(phase) <= p50(ack) + 1 ms, with one client and with 50. A miss counts only when the median and the best round both miss.
//
//   npx tsx bench/phase.bench.ts [rounds = 5]
import { Clients, type Loaded } from './support/clients.ts';
import { benchServer, off } from './support/server.ts';
import { header, interleave, judge, median } from './support/stats.ts';
import { echoControl } from './support/ws-controls.ts';

const rounds = Number(process.argv[2] ?? 5);
const clients = 50;
const slotMs = 600;
const never = { debounceMs: 3_600_000, debounceMaxMs: 7_200_000 };

const server = await benchServer({ panes: { reply: off, history: never, scene: never } });
const echo = await echoControl();
const load = new Clients();
await load.open({ name: 'echo', port: echo.port, clients, mullion: false, subscribe: false });
await load.open({ name: 'mullion', port: server.port, clients, mullion: true, subscribe: true });

const modes = {
  'echo, 1 client': () => load.load('echo', 1, slotMs),
  'mullion, 1 client': () => load.load('mullion', 1, slotMs),
  'echo, 50 clients': () => load.load('echo', clients, slotMs),
  'mullion, 50 clients': () => load.load('mullion', clients, slotMs),
};
await interleave(1, modes);
const results = await interleave(rounds, modes);

console.log(header('first phase', rounds));
const middle = (values: Loaded[], pick: (value: Loaded) => number): string => median(values.map(pick)).toFixed(3);
console.table(
  [...results].map(([name, values]) => ({
    mode: name,
    'messages/s': middle(values, (one) => one.perSecond),
    'ack p50 ms': middle(values, (one) => one.p50),
    'ack p99 ms': middle(values, (one) => one.p99),
    'phase p50 ms': middle(values, (one) => one.phase50),
    'phase p99 ms': middle(values, (one) => one.phase99),
  })),
);
judge(
  [1, clients].map((count) => ({
    name: `first phase after ack, ${count} client${count === 1 ? '' : 's'}`,
    values: (results.get(`mullion, ${count} client${count === 1 ? '' : 's'}`) ?? []).map(
      (one) => one.phase50 - one.p50,
    ),
    atMost: 1,
    unit: ' ms',
    digits: 3,
  })),
);
load.close();
echo.close();
await server.stop();
process.exit();
