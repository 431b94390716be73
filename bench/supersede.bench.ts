// Supersede → the provider sees its socket close, through the whole server: a client sends message.add while history writes its
// summary (engine openai against a scripted HTTP provider). Client and provider are one child process: sent, acked and closed are read from
// one clock.
//
// Control in the same loop: a bare `fetch` of this process to the same provider, aborted after its first piece, until the provider sees it.
// Passes when, above p50(bare fetch abort), p50(sent → close) - p50(sent → ack) <= 1 ms, and (stricter: the way of the message to the server
// and its decision count in) p50(sent → close) <= 1 ms too. A miss counts only when the median and the best round both miss.
//
//   npx tsx bench/supersede.bench.ts [rounds = 5]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { Answer, Ask } from './support/scripted-provider.ts';
import { benchServer, off } from './support/server.ts';
import { header, judge, quantile, spread } from './support/stats.ts';

const rounds = Number(process.argv[2] ?? 5);
const perRound = 60;
const warmUp = 30;

const child = fork(new URL('./support/scripted-provider.ts', import.meta.url), { execArgv: ['--import', 'tsx'] });
child.on('exit', (code) => {
  if (code !== null && code !== 0) process.exit(2);
});
const answer = async (): Promise<Answer> => {
  const [message] = await once(child, 'message');
  return message;
};
const ask = (what: Ask): Promise<Answer> => {
  child.send(what);
  return answer();
};
const { port = 0 } = await answer();
const provider = `http://127.0.0.1:${port}`;
const server = await benchServer({
  panes: { reply: off, scene: off, history: { debounceMs: 0, timeoutMs: 600_000, idleTimeoutMs: 600_000 } },
  text: { engine: 'openai', baseUrl: `${provider}/v1`, apiKey: 'none', models: { default: 'm', evaluate: 'evaluate' } },
});
await ask({ do: 'connect', port: server.port });

const now = (): number => Number(process.hrtime.bigint()) / 1e6;

async function bareAbort(): Promise<number> {
  const controller = new AbortController();
  const seen = ask({ do: 'bare' });
  const response = await fetch(`${provider}/bare`, { method: 'POST', body: '{}', signal: controller.signal });
  const reader = response.body?.getReader();
  await reader?.read();
  await new Promise((resolve) => void setTimeout(resolve, 4));
  const ended = reader?.read().catch(() => undefined);
  const startMs = now();
  controller.abort(new Error('superseded'));
  const { closedMs = Number.NaN } = await seen;
  await ended;
  return closedMs - startMs;
}

interface Round {
  ack: number;
  close: number;
  bare: number;
}

async function round(count: number): Promise<Round> {
  const acks: number[] = [];
  const closes: number[] = [];
  const bare: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const { sentMs = 0, ackedMs = 0, closedMs = 0 } = await ask({ do: 'supersede' });
    acks.push(ackedMs - sentMs);
    closes.push(closedMs - sentMs);
    bare.push(await bareAbort());
  }
  return { ack: quantile(acks, 0.5), close: quantile(closes, 0.5), bare: quantile(bare, 0.5) };
}

await round(warmUp);
const results: Round[] = [];
for (let i = 0; i < rounds; i += 1) results.push(await round(perRound));
console.log(header(`supersede, ${perRound} messages a round`, rounds));
console.table({
  'message → ack': { 'p50 ms': spread(results.map((one) => one.ack)) },
  'message → provider sees close': { 'p50 ms': spread(results.map((one) => one.close)) },
  'control: fetch abort → close': { 'p50 ms': spread(results.map((one) => one.bare)) },
});
const most = { atMost: 1, unit: ' ms' };
judge([
  {
    name: 'sent to close minus ack, above a bare abort',
    values: results.map((one) => one.close - one.ack - one.bare),
    ...most,
  },
  { name: 'sent to close, above a bare abort', values: results.map((one) => one.close - one.bare), ...most },
]);
child.disconnect();
await server.stop();
process.exit();
