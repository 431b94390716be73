// Heap of a session: 5,000 sessions through the whole server (SQLite journal on disk), each with one message of 200 characters,
// reply off, history and scene settled after one run each (summary of 300, description of 150 characters); then passivated by the sweep.
//
// Control in the same process: 5,000 bare XState actors, each a session chart with two idle panes spawned, nothing else.
// Each round is a process of its own with --expose-gc; heapUsed after four collections; the sessions' share of what the journal keeps in memory
// (a row of about 200 B) counts in.
// Passes when live (idle for two of the four sweeps until it is passivated) <= 12 KB and passivated <= 1 KB of heap (median of 3; a miss counts only when the median and the best round both miss).
//
//   npx tsx bench/memory.bench.ts [rounds = 3]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createActor } from 'xstate';
import { idleStage } from '../src/machines/pane-setup.ts';
import { createSessionMachine } from '../src/machines/session.ts';
import { recover } from '../src/machines/recover.ts';
import { historyPane, scenePane } from '../src/panes/index.ts';
import type { Assets } from '../src/ports/assets.ts';
import type { Clock } from '../src/ports/clock.ts';
import type { ImageModel, TextModel } from '../src/ports/models.ts';
import { emptyState, foldState } from '../src/protocol/state.ts';
import { systemClock } from '../src/server/clock.ts';
import type { Subscription } from '../src/server/session-api.ts';
import { createPaneRegistry } from '../src/server/sessions/pane-registry.ts';
import { benchServer, off } from './support/server.ts';
import { header, judge, spread } from './support/stats.ts';

const sessions = 5_000;
const passivateAfterMs = 3_600_000;

const text = 'The lighthouse keeper opens the door into rain and salt. '.repeat(4).slice(0, 200);

const instantText: TextModel = {
  host: null,
  engine: () => 'instant',
  // oxlint-disable-next-line typescript/require-await -- an answer that is there at once
  async *stream({ stage }) {
    yield stage === 'evaluate' ? 'YES' : text.repeat(2).slice(0, stage === 'summarize' ? 300 : 150);
  },
};

const instantImage: ImageModel = {
  host: null,
  engine: 'instant',
  generate: () => Promise.resolve({ bytes: new Uint8Array(1), extension: 'png' }),
};

/** Pictures lie on disk, not in the heap: only their paths count. */
const noAssets: Assets = {
  put: (session) => Promise.resolve(`/v1/assets/${session}/${'0'.repeat(64)}.png`),
  get: () => Promise.resolve(undefined),
  erase: () => Promise.resolve(),
};

interface Measured {
  /** Bytes of heap a session, just settled. */
  fresh: number;
  /** Idle for two of the four sweeps after which it is passivated. */
  live: number;
  /** Still in memory for a subscriber, its actors given up by the sweep. */
  watched: number;
  passivated: number;
  actors: number;
}

async function heap(): Promise<number> {
  for (let i = 0; i < 4; i += 1) {
    globalThis.gc?.();
    await new Promise((resolve) => void setTimeout(resolve, 20));
  }
  return process.memoryUsage().heapUsed;
}

async function measure(): Promise<Measured> {
  const { clock, sweep } = sweptClock();
  const parts = { clock, text: instantText, image: instantImage, assets: noAssets };
  const pane = { debounceMs: 0, timeoutMs: 600_000 };
  const server = await benchServer(
    { panes: { reply: off, history: pane, scene: pane }, limits: { passivateAfterMs, maxSessions: 1_000_000 } },
    parts,
  );
  const create = (id: string) =>
    run(server.sessions, { type: 'session.open', id: 'open', session: id }).then(() =>
      run(server.sessions, { type: 'message.add', id: 'k', session: id, role: 'user', reply: false, text }),
    );
  const fill = async (prefix: string, count: number): Promise<void> => {
    for (let at = 0; at < count; at += 100) {
      const names = Array.from({ length: Math.min(100, count - at) }, (_, i) => `${prefix}${at + i}`);
      await Promise.all(names.map(create));
      for (const name of names) await settled(server.sessions, name);
    }
  };
  await fill('warm', 500);
  await sweep();
  expectLive(server.sessions, 0);
  const before = await heap();
  await fill('s', sessions);
  expectLive(server.sessions, sessions);
  const fresh = await heap();
  // Idle for a while, not yet long enough to leave memory.
  await sweep(2);
  expectLive(server.sessions, sessions);
  const live = await heap();
  const subscriptions = await watchAll(server.sessions);
  await sweep();
  expectLive(server.sessions, sessions);
  const watched = await heap();
  for (const subscription of subscriptions.splice(0)) subscription.close();
  await sweep();
  expectLive(server.sessions, 0);
  const passivated = await heap();
  await server.stop();
  const actors = await bareActors();
  const each = (bytes: number): number => (bytes - before) / sessions;
  return { fresh: each(fresh), live: each(live), watched: each(watched), passivated: each(passivated), actors };
}

function expectLive(host: Server, count: number): void {
  if (host.liveCount !== count) throw new Error(`expected ${count} live sessions, got ${host.liveCount}`);
}

type Server = Awaited<ReturnType<typeof benchServer>>['sessions'];

async function run(host: Server, command: Parameters<Server['command']>[0]): Promise<void> {
  const answer = await host.command(command);
  if ('refused' in answer) throw new Error(answer.refused.message);
}

async function watchAll(host: Server): Promise<Subscription[]> {
  const subscriptions: Subscription[] = [];
  for (let i = 0; i < sessions; i += 1) {
    const subscription = await host.subscribe(`s${i}`, undefined, { push: () => undefined });
    if ('refused' in subscription) throw new Error(subscription.refused.message);
    subscriptions.push(subscription);
  }
  return subscriptions;
}

async function settled(host: Server, session: string): Promise<void> {
  for (;;) {
    const found = await host.view(session);
    if ('refused' in found) throw new Error(found.refused.message);
    const { history, scene } = found.view.panes;
    if (history?.phase === 'updated' && scene?.phase === 'updated') return;
    if (history?.phase === 'error' || scene?.phase === 'error' || scene?.phase === 'imaging_failed')
      throw new Error(JSON.stringify(found.view.panes));
    await new Promise((resolve) => void setTimeout(resolve, 2));
  }
}

/** A clock on which an hour can be skipped: the sweep of idle sessions is fired by hand. */
function sweptClock(): { clock: Clock; sweep: (times?: number) => Promise<void> } {
  let skippedMs = 0;
  let due: (() => void) | undefined;
  return {
    clock: {
      ...systemClock,
      now: () => Date.now() + skippedMs,
      setTimeout: (fn, delayMs) => {
        // The sweep is the only thing that waits for so long here.
        if (delayMs < passivateAfterMs / 5) return systemClock.setTimeout(fn, delayMs);
        due = fn;
        return fn;
      },
    },
    async sweep(times = 8) {
      for (let i = 0; i < times; i += 1) {
        skippedMs += passivateAfterMs / 4;
        due?.();
      }
      await new Promise((resolve) => void setTimeout(resolve, 200));
    },
  };
}

async function bareActors(): Promise<number> {
  const registry = createPaneRegistry([historyPane, scenePane], {}, idleStage);
  const machine = createSessionMachine(registry.machines);
  const opened = foldState(emptyState('s'), {
    seq: 1,
    at: '2026-11-20T18:00:00.000Z',
    type: 'session.opened',
    panes: registry.declarations,
  });
  const actors: unknown[] = [];
  const before = await heap();
  for (let i = 0; i < sessions; i += 1) {
    const actor = createActor(machine, { input: { session: `s${i}`, generation: 0, hold: 'none' } });
    actor.start();
    const panes = ['history', 'scene'].flatMap((pane) => recover(opened, pane, 0, 0) ?? []);
    actor.send({ type: 'spawn', panes });
    actor.send({ type: 'start', panes: panes.map((pane) => pane.pane) });
    actors.push(actor);
  }
  const after = await heap();
  if (actors.length !== sessions) throw new Error('expected all actors');
  return (after - before) / sessions;
}

if (process.argv[2] === 'measure') {
  process.send?.(await measure());
  process.exit();
}

const rounds = Number(process.argv[2] ?? 3);
const measured: Measured[] = [];
for (let round = 0; round < rounds; round += 1) {
  const execArgv = ['--import', 'tsx', '--expose-gc'];
  const child = fork(fileURLToPath(import.meta.url), ['measure'], { execArgv });
  const [answer] = await once(child, 'message');
  measured.push(answer);
}
const kilobytes = (pick: (value: Measured) => number): number[] => measured.map((one) => pick(one) / 1_000);
console.log(header(`memory of ${sessions} sessions`, rounds));
console.table({
  'live, just settled': { 'KB heap each': spread(kilobytes((one) => one.fresh)) },
  'live, idle for two sweeps': { 'KB heap each': spread(kilobytes((one) => one.live)) },
  'watched, actors given up by the sweep': { 'KB heap each': spread(kilobytes((one) => one.watched)) },
  passivated: { 'KB heap each': spread(kilobytes((one) => one.passivated)) },
  'control: bare actors, two idle panes': { 'KB heap each': spread(kilobytes((one) => one.actors)) },
});
judge([
  { name: 'live session, heap', values: kilobytes((one) => one.live), atMost: 12, unit: ' KB' },
  { name: 'passivated session, heap', values: kilobytes((one) => one.passivated), atMost: 1, unit: ' KB' },
]);
