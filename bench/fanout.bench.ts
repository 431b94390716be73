// Fan-out to 1,000 subscribers, end to end: fake host → batch → outbox → flusher → socket → raw TCP readers in a child process.
// Passes when, as the median of interleaved rounds against the control in the same process and loop,
//   one record a tick:   rate ≥ 0.9 × ws.send(shared Buffer)
//   eight a tick:        rate ≥ 4   × ws.send(string) for each frame
// A miss counts only when the median and the best round both miss: the machine is shared. Run: npx tsx bench/fanout.bench.ts [rounds]
import { fork } from 'node:child_process';
import { createServer } from 'node:http';
import { loadavg } from 'node:os';
import { WebSocketServer, type WebSocket } from 'ws';
import { createHttpEdge } from '../src/server/transport/server.ts';
import { createMetrics } from '../src/server/telemetry.ts';
import { FakeSessions } from '../test/support/fake-sessions.ts';
import type { ClientsConfig } from './fanout-clients.ts';

const clients = 1000;
const rounds = Number(process.argv[2] ?? 5);
const slotMs = 700;
/** Broadcasts on their way at once. */
const windowSize = 4;
const pad = 'x'.repeat(60);

const host = new FakeSessions('s1');
const metrics = createMetrics({ eventLoop: false });
const edge = createHttpEdge({ host, metrics });
const ours = await edge.listen(0, '127.0.0.1');

const controlHttp = createServer();
const sockets: WebSocket[] = [];
const wss = new WebSocketServer({ server: controlHttp, perMessageDeflate: false });
wss.on('connection', (ws) => void sockets.push(ws));
await new Promise<void>((resolve) => void controlHttp.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, resolve));
const address = controlHttp.address();
if (typeof address !== 'object' || address === null) throw new Error('expected a port');

let counted: number[] = [0, 0];
const child = fork(new URL('./fanout-clients.ts', import.meta.url), { execArgv: ['--import', 'tsx'] });
child.on('message', (frames: number[]) => void (counted = frames));
child.on('exit', (code) => {
  if (code !== null && code !== 0) process.exit(2);
});
const config: ClientsConfig = {
  clients,
  minBytes: 150,
  groups: [
    {
      port: ours.port,
      path: '/v1/ws',
      protocol: 'mullion.v1',
      hello: ['{"type":"init"}', '{"type":"subscribe","id":"k","session":"s1"}'],
    },
    { port: address.port, path: '/', protocol: '', hello: [] },
  ],
};
child.send(config);
const tick = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
while (sockets.length < clients || host.subscribed < clients) await tick();
await new Promise((resolve) => setTimeout(resolve, 300));

/** The same bytes as our record frame has. */
let seq = 0;
const control = (): string => {
  seq += 1;
  const record = {
    seq,
    at: '2026-11-20T18:00:00.000Z',
    type: 'message.text',
    text: { message: 'm1', at: 0, add: pad },
  };
  return JSON.stringify({ type: 'record', session: 's1', cursor: `e1:${seq}`, record });
};

interface Mode {
  name: string;
  group: number;
  perTick: number;
  publish(): void;
}

const modes: Mode[] = [
  {
    name: 'ws.send(shared Buffer)',
    group: 1,
    perTick: 1,
    publish: () => {
      const bytes = Buffer.from(control());
      for (const ws of sockets) ws.send(bytes, { binary: false });
    },
  },
  { name: 'mullion, 1 a tick', group: 0, perTick: 1, publish: () => host.publish('s1', pad) },
  {
    name: 'ws.send(string) × 8',
    group: 1,
    perTick: 8,
    publish: () => {
      for (let i = 0; i < 8; i += 1) {
        const text = control();
        for (const ws of sockets) ws.send(text);
      }
    },
  },
  { name: 'mullion, 8 a tick', group: 0, perTick: 8, publish: () => host.publish('s1', ...Array<string>(8).fill(pad)) },
];

/** Publishes at saturation for one slot; deliveries a second, and server CPU in µs for each. */
async function slot(mode: Mode): Promise<{ rate: number; cpu: number }> {
  const got = (): number => counted[mode.group] ?? 0;
  const base = got();
  const cpu = process.cpuUsage();
  const start = performance.now();
  let published = 0;
  while (performance.now() < start + slotMs) {
    if ((published - windowSize * mode.perTick) * clients < got() - base) {
      mode.publish();
      published += mode.perTick;
    }
    await tick();
  }
  while (got() - base < published * clients) await tick();
  const seconds = (performance.now() - start) / 1000;
  const used = process.cpuUsage(cpu);
  const delivered = got() - base;
  host.sessions.get('s1')?.records.splice(0);
  return { rate: delivered / seconds, cpu: (used.user + used.system) / delivered };
}

const results = new Map<string, { rate: number; cpu: number }[]>(modes.map(({ name }) => [name, []]));
for (const mode of modes) await slot(mode);
for (let round = 0; round < rounds; round += 1)
  // The order turns, so that a disturbance does not always hit the same one.
  for (let i = 0; i < modes.length; i += 1) {
    const mode = modes[(i + round) % modes.length];
    if (mode !== undefined) results.get(mode.name)?.push(await slot(mode));
  }

const sorted = (values: number[]): number[] => values.toSorted((a, b) => a - b);
const median = (values: number[]): number => sorted(values)[values.length >> 1] ?? 0;
const of = (mode: Mode | undefined, field: 'rate' | 'cpu'): number[] =>
  (results.get(mode?.name ?? '') ?? []).map((one) => one[field]);
console.table(
  modes.map((mode) => ({
    mode: mode.name,
    'deliveries/s': Math.round(median(of(mode, 'rate'))),
    'CPU µs/delivery': Number(median(of(mode, 'cpu')).toFixed(2)),
  })),
);
let failed = false;
for (const [mine, against, least] of [
  [1, 0, 0.9],
  [3, 2, 4],
] as const) {
  const controls = of(modes[against], 'rate');
  const ratios = sorted(of(modes[mine], 'rate').map((rate, i) => rate / (controls[i] ?? Number.NaN)));
  const best = ratios.at(-1) ?? 0;
  const missed = median(ratios) < least && best < least;
  failed ||= missed;
  const range = `${(ratios[0] ?? 0).toFixed(2)}..${best.toFixed(2)}`;
  console.log(
    `${modes[mine]?.name} / ${modes[against]?.name}: ${median(ratios).toFixed(2)} [${range}], least ${least}: ${missed ? 'MISSED' : 'ok'}`,
  );
}
const lost = metrics.outboxDropped.with({ kind: 'record' }).value + metrics.outboxDropped.with({ kind: 'live' }).value;
console.log(`dropped ${lost}, resyncs ${metrics.resyncs.with({}).value}, load ${loadavg()[0]?.toFixed(2)}`);
child.disconnect();
process.exit(failed || lost > 0 ? 1 : 0);
