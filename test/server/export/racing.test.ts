import { describe, expect, it } from 'vitest';
import { buildExport } from '../../../src/server/export/build.ts';
import { documentPieces } from '../../../src/server/export/document.ts';
import { fold } from '../../../src/protocol/fold.ts';
import { emptyView, type View } from '../../../src/protocol/view.ts';
import { Harness, ready, type Watcher } from '../sessions/harness.ts';
import { seed } from '../../support/seed.ts';
import { numbers } from './numbers.ts';

describe('exports of a lively session', () => {
  it('[X5] panes, edits, deltas and exports at the same time: every export is the fold of one prefix', async () => {
    const world = new Harness({ answers: ready });
    await world.open('c1', { history: { debounceMs: 5 }, scene: { debounceMs: 5 } });
    const watcher = await world.watch();
    const random = numbers(seed);
    const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];
    const exports: Promise<string>[] = [];
    let stream: { message: string; at: number } | null = null;
    for (let step = 0; step < 150; step += 1) {
      const { clock, sessions } = world;
      const id = world.id();
      const any = pick((await world.view()).messages)?.id ?? 'none';
      const ask = Math.floor(random() * 6);
      // Sent, and not awaited: what comes next comes while it is being stored.
      if (ask === 0)
        void sessions.command({ type: 'message.add', session: 'c1', id, role: 'user', text: `said ${step}` });
      else if (ask === 1)
        void sessions.command({ type: 'message.edit', session: 'c1', id, message: any, text: `edited ${step}` });
      else if (ask === 2) void sessions.command({ type: 'message.remove', session: 'c1', id, message: any });
      else if (ask === 3) void sessions.command({ type: 'pane.run', session: 'c1', id, pane: 'history' });
      else if (stream === null) {
        stream = { message: `app${step}`, at: 0 };
        const open = { session: 'c1', role: 'assistant' as const, text: '', message: stream.message, final: false };
        void sessions.command({ type: 'message.add', id, ...open });
      } else {
        const text = `word ${step} `;
        const end = random() < 0.2;
        void sessions.command({ type: 'message.delta', session: 'c1', ...stream, text, end });
        stream = end ? null : { message: stream.message, at: stream.at + text.length };
      }
      exports.push(exported(world));
      await clock.advance(Math.floor(random() * 120));
    }
    await world.clock.advance(10_000);
    exports.push(exported(world));
    const views = prefixes(watcher);
    const seen = new Set<number>();
    const summaries = new Set<string>();
    for (const text of await Promise.all(exports)) {
      const seq = Number(/^seq: (\d+)$/m.exec(text)?.[1]);
      seen.add(seq);
      summaries.add(/^ {2}(?:asOf|image): .*$/gm.exec(text)?.[0] ?? '');
      const at = /^at: "(.*)"$/m.exec(text)?.[1] ?? '';
      const view = views.get(seq);
      if (view === undefined) throw new Error(`an export of ${seq}, which is no record`);
      expect(view.earlier).toBe(0);
      const pieces = documentPieces({ view, at, messages: view.messages, leftOut: 0 }, []);
      expect(text.slice(text.indexOf('session: '))).toBe([...pieces].join(''));
    }
    // Else nothing has raced.
    expect(seen.size).toBeGreaterThan(60);
    expect(summaries.size).toBeGreaterThan(5);
    expect(world.errors).toEqual([]);
  });

  it('[X1] reading a session that is not in memory leaves it there, and does not keep a live one', async () => {
    const world = new Harness({ answers: ready, passivateAfterMs: 1_000 });
    await world.open();
    await world.say('Hello.');
    await world.clock.advance(60_000);
    expect(world.sessions.liveCount).toBe(0);
    expect(await exported(world)).toContain('> Hello.');
    expect(world.sessions.liveCount).toBe(0);
    const asleep = await exported(world);
    await world.view();
    expect(await exported(world)).toBe(asleep);
    for (let i = 0; i < 20; i += 1) {
      await exported(world);
      await world.clock.advance(500);
    }
    expect(world.sessions.liveCount).toBe(0);
  });
});

async function exported(world: Harness): Promise<string> {
  const made = await buildExport(world.sessions, 'c1', setImmediate);
  if ('refused' in made) throw new Error(made.refused.message);
  return made.bytes.toString();
}

/** The view after each record that was sent. */
function prefixes(watcher: Watcher): Map<number, View> {
  const views = new Map<number, View>();
  let view = emptyView('c1');
  for (const frame of watcher.frames) {
    if (frame.type === 'snapshot') view = frame.view;
    else if (frame.type === 'record') view = fold(view, frame.record);
    else continue;
    views.set(view.seq, view);
  }
  return views;
}
