/**
 * Abort through the adapter: how long after `controller.abort()` does the provider see its socket close, and does the caller get the
 * reason? Control: a bare `fetch` aborted against the same server in the same loop; the two take turns in going first.
 * Passes when: p50 of the adapter's close <= p50 of the bare fetch + 1 ms, and no piece comes after the abort.
 * Run: npx tsx bench/abort.bench.ts [rounds]
 */
import { loadavg } from 'node:os';
import { openaiText, preload } from '../src/adapters/openai-text.ts';
import { cases } from '../test/support/hostile-cases.ts';
import { startHostileServer, type HostileServer } from '../test/support/hostile-server.ts';

const rounds = Number(process.argv[2] ?? 1000);
const warmUp = 100;
const allowedMs = 1;
const silent = { heard: () => undefined, progress: () => undefined, usage: () => undefined, preview: () => undefined };

interface Sample {
  /** From abort() to the server's `close`, in ms. */
  closeMs: number;
  /** From abort() to the caller's rejection, in ms. */
  rejectMs: number;
}

/** Aborts once a piece has come; `next` reads one piece and rejects after the abort. */
async function sample(
  server: HostileServer,
  controller: AbortController,
  next: () => Promise<unknown>,
): Promise<Sample> {
  await next();
  const exchange = await server.awaitRequest();
  const waiting = next().then(
    () => Number.NaN,
    () => performance.now(),
  );
  const start = performance.now();
  controller.abort(new Error('superseded'));
  const rejected = await waiting;
  await exchange.closed;
  return { closeMs: (exchange.closedAt ?? Number.NaN) - start, rejectMs: rejected - start };
}

async function throughAdapter(server: HostileServer): Promise<Sample> {
  const controller = new AbortController();
  const model = openaiText({ baseUrl: server.baseUrl, models: { default: 'm' } });
  const request = {
    stage: 'summarize',
    prompt: [{ role: 'user' as const, content: 'x' }],
    material: { messages: [], current: '', maxChars: 400 },
  };
  const pieces = model.stream(request, controller.signal, silent)[Symbol.asyncIterator]();
  return sample(server, controller, () => pieces.next());
}

async function throughFetch(server: HostileServer): Promise<Sample> {
  const controller = new AbortController();
  const response = await fetch(`${server.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"stream":true}',
    signal: controller.signal,
  });
  const reader = response.body?.getReader();
  return sample(server, controller, async () => reader?.read());
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function row(name: string, values: readonly number[]): string {
  const columns = [0.5, 0.99, 1].map((share) => percentile(values, share).toFixed(3).padStart(9));
  return `${name.padEnd(28)}${columns.join('')}`;
}

async function main(): Promise<void> {
  await preload();
  const server = await startHostileServer();
  server.script(cases.stall('one '));
  const adapter: Sample[] = [];
  const bare: Sample[] = [];
  for (let round = 0; round < warmUp + rounds; round += 1) {
    const turns = [
      async () => adapter.push(await throughAdapter(server)),
      async () => bare.push(await throughFetch(server)),
    ];
    for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await turn();
  }
  await server.close();

  const measured = [adapter, bare].map((samples) => samples.slice(warmUp));
  const [ours = [], control = []] = measured.map((samples) => samples.map(({ closeMs }) => closeMs));
  const [ourReject = [], controlReject = []] = measured.map((samples) => samples.map(({ rejectMs }) => rejectMs));
  const load = loadavg().map((value) => value.toFixed(2));
  process.stdout.write(
    [
      `abort, ${rounds} rounds, Node ${process.version}, load ${load.join(' ')}; ms`,
      `${''.padEnd(28)}${['p50', 'p99', 'max'].map((name) => name.padStart(9)).join('')}`,
      row('adapter: server sees close', ours),
      row('fetch:   server sees close', control),
      row('adapter: caller rejected', ourReject),
      row('fetch:   caller rejected', controlReject),
      '',
    ].join('\n'),
  );
  const over = percentile(ours, 0.5) - percentile(control, 0.5);
  const complete = [...ours, ...control, ...ourReject].every((value) => Number.isFinite(value));
  const pass = complete && over <= allowedMs;
  process.stdout.write(
    `p50 above bare fetch: ${over.toFixed(3)} ms (allowed ${allowedMs}): ${pass ? 'pass' : 'FAIL'}\n`,
  );
  if (!pass) process.exitCode = 1;
}

await main();
