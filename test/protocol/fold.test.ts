/* oxlint-disable typescript/no-unsafe-type-assertion -- a JSON round trip */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fold } from '../../src/protocol/fold.ts';
import { limits } from '../../src/protocol/names.ts';
import type { Fact, PaneDeclaration, Rec, TaskChange, TaskStatus } from '../../src/protocol/records.ts';
import { utf8Bytes, wholeCharacters } from '../../src/protocol/text.ts';
import { emptyView, type View } from '../../src/protocol/view.ts';

const at = '2026-01-01T00:00:00.000Z';

function fromFacts(facts: readonly Fact[], from: View = emptyView('s')): View {
  return facts.reduce((view, fact) => fold(view, { seq: view.seq + 1, at, ...fact }), from);
}

function declared(driven = true): PaneDeclaration {
  return {
    kind: 'history',
    phases: ['evaluating', 'summarizing'],
    driven,
    enabled: true,
    policy: 'supersede',
    startOn: 'message',
    replyWaitMs: 1,
    debounceMs: 1,
    debounceMaxMs: 1,
    timeoutMs: 1,
    idleTimeoutMs: 1,
    retries: 1,
    maxChars: 1,
    window: 1,
  };
}

const opened: Fact = { type: 'session.opened', panes: { history: declared(), reply: declared(false) } };

function added(
  id: string,
  text: string,
  more: Partial<Extract<Fact, { type: 'message.added' }>['message']> = {},
): Fact {
  return {
    type: 'message.added',
    message: { id, role: 'user', text, generation: 1, final: true, reply: 'none', ...more },
  };
}

function phase(run: string, name: string, more: Partial<Extract<Fact, { type: 'pane.phase' }>> = {}): Fact {
  return { type: 'pane.phase', pane: 'history', run, generation: 1, phase: name, attempt: 1, ...more };
}

const textOf = (view: View) => view.messages.map((message) => message.text).join('');

describe('messages in the view', () => {
  test('a message says how it ended, and why', () => {
    const draft = added('m1', 'so', { role: 'assistant', final: false });
    const ended = { type: 'message.ended', message: 'm1', outcome: 'stopped' } as const;
    expect(fromFacts([draft, { ...ended, reason: 'superseded' }]).messages[0]).toMatchObject({
      final: true,
      outcome: 'stopped',
      reason: 'superseded',
    });
    expect(fromFacts([draft, ended]).messages[0]).not.toHaveProperty('reason');
  });

  test('a final message moves generation, transcript and seq', () => {
    expect(fromFacts([opened, added('m1', 'a', { generation: 4 })])).toMatchObject({
      generation: 4,
      transcript: 2,
      seq: 2,
      messages: [{ id: 'm1', final: true, outcome: null }],
    });
  });

  test('a streamed one moves the transcript when it ends', () => {
    const open = fromFacts([opened, added('m1', 'ab', { role: 'assistant', final: false })]);
    expect(open).toMatchObject({ transcript: 0, messages: [{ final: false, outcome: null }] });
    const ended = fromFacts(
      [
        { type: 'message.text', text: { message: 'm1', at: 2, add: 'cd' } },
        { type: 'message.ended', message: 'm1', outcome: 'stopped' },
      ],
      open,
    );
    expect(ended).toMatchObject({ transcript: 4, messages: [{ text: 'abcd', final: true, outcome: 'stopped' }] });
  });

  test('recorded text overwrites from its place, and is ignored beyond the known end', () => {
    const open = fromFacts([added('m1', 'abcd', { final: false })]);
    expect(textOf(fromFacts([{ type: 'message.text', text: { message: 'm1', at: 2, add: 'XYZ' } }], open))).toBe(
      'abXYZ',
    );
    expect(textOf(fromFacts([{ type: 'message.text', text: { message: 'm1', at: 5, add: 'X' } }], open))).toBe('abcd');
  });

  test('200 messages stay; the 201st evicts the oldest', () => {
    const view = fromFacts(Array.from({ length: limits.viewMessages }, (_, i) => added(`m${i}`, 'x')));
    expect(view).toMatchObject({ earlier: 0 });
    expect(view.messages).toHaveLength(200);
    const more = fromFacts([added('last', 'x')], view);
    expect(more.messages).toHaveLength(200);
    expect([more.earlier, more.messages[0]?.id, more.messages.at(-1)?.id]).toEqual([1, 'm1', 'last']);
  });

  test('256 KiB of text stay; one byte more evicts the oldest', () => {
    const half = 'x'.repeat(limits.viewTextBytes / 2);
    const full = fromFacts([added('a', half), added('b', half)]);
    expect([full.messages.length, full.earlier]).toEqual([2, 0]);
    const over = fromFacts([added('c', 'x')], full);
    expect([over.messages.map((message) => message.id), over.earlier]).toEqual([['b', 'c'], 1]);
  });

  test('eviction counts UTF-8, not units: 3 bytes for €', () => {
    const euros = '€'.repeat(Math.floor(limits.viewTextBytes / 3));
    const view = fromFacts([added('a', 'xx'), added('b', euros)]);
    expect(utf8Bytes(euros)).toBe(limits.viewTextBytes - 1);
    expect(view.messages.map((message) => message.id)).toEqual(['b']);
    expect(fromFacts([added('a', 'x'), added('b', euros)]).messages).toHaveLength(2);
  });

  test('text that grows evicts as well', () => {
    const view = fromFacts([
      added('a', 'x'.repeat(100)),
      added('b', '', { final: false }),
      { type: 'message.text', text: { message: 'b', at: 0, add: 'x'.repeat(limits.viewTextBytes - 99) } },
    ]);
    expect([view.messages.map((message) => message.id), view.earlier]).toEqual([['b'], 1]);
  });

  test('a single message of just 256 KiB is whole, a longer one is cut', () => {
    const whole = fromFacts([added('a', 'x'.repeat(limits.viewTextBytes))]);
    expect(whole.messages[0]).not.toHaveProperty('cut');
    const cut = fromFacts([added('a', 'x'.repeat(limits.viewTextBytes + 1))]);
    expect(cut.messages[0]).toMatchObject({ cut: true });
    expect(cut.messages[0]?.text.length).toBe(limits.viewTextBytes);
  });

  test('a cut does not fall into a surrogate pair', () => {
    const text = `${'x'.repeat(limits.viewTextBytes - 2)}😀`;
    const cut = fromFacts([added('a', text)]);
    expect(cut.messages[0]?.text).toBe('x'.repeat(limits.viewTextBytes - 2));
  });

  test('a cut message takes no more text, and an edit makes it whole again', () => {
    const cut = fromFacts([added('a', 'x'.repeat(limits.viewTextBytes + 1), { final: false })]);
    const after = fromFacts(
      [{ type: 'message.text', text: { message: 'a', at: limits.viewTextBytes, add: 'yy' } }],
      cut,
    );
    expect(textOf(after)).toBe(textOf(cut));
    const edited = fromFacts([{ type: 'message.edited', message: 'a', text: 'short', generation: 2 }], after);
    expect(edited.messages[0]).toMatchObject({ text: 'short' });
    expect(edited.messages[0]).not.toHaveProperty('cut');
  });

  test('an edit or removal moves generation and transcript', () => {
    const base = fromFacts([added('a', 'one'), added('b', 'two')]);
    const edited = fromFacts([{ type: 'message.edited', message: 'a', text: 'ONE', generation: 2 }], base);
    expect(edited).toMatchObject({ generation: 2, transcript: 3, messages: [{ text: 'ONE' }, {}] });
    const removed = fromFacts([{ type: 'message.removed', message: 'a', generation: 3 }], edited);
    expect(removed).toMatchObject({ generation: 3, transcript: 4, earlier: 0, messages: [{ id: 'b' }] });
  });

  test('a change to a message that the view no longer holds only moves generation, transcript, earlier', () => {
    const many = fromFacts(Array.from({ length: 203 }, (_, i) => added(`m${i}`, 'x')));
    const edited = fromFacts([{ type: 'message.edited', message: 'm0', text: 'y', generation: 9 }], many);
    expect(edited).toEqual({ ...many, generation: 9, transcript: 204, seq: 204 });
    const removed = fromFacts([{ type: 'message.removed', message: 'm0', generation: 10 }], edited);
    expect(removed).toEqual({ ...edited, generation: 10, transcript: 205, seq: 205, earlier: 2 });
  });

  test('replaces: the old answer goes when the new one ends with text, never before, and not when it ends empty', () => {
    const base = fromFacts([
      added('q', '?'),
      added('old', 'old', { role: 'assistant' }),
      added('new', '', { role: 'assistant', final: false, replaces: 'old' }),
    ]);
    const ids = (view: View) => view.messages.map((message) => message.id);
    expect(ids(base)).toEqual(['q', 'old', 'new']);
    const empty = fromFacts([{ type: 'message.ended', message: 'new', outcome: 'failed' }], base);
    expect(ids(empty)).toEqual(['q', 'old', 'new']);
    const written = fromFacts(
      [
        { type: 'message.text', text: { message: 'new', at: 0, add: 'n' } },
        { type: 'message.ended', message: 'new', outcome: 'stopped' },
      ],
      base,
    );
    expect(ids(written)).toEqual(['q', 'new']);
  });
});

describe('panes in the view', () => {
  test('session.opened makes panes once, and later ones keep what they are', () => {
    const view = fromFacts([opened, phase('r1', 'evaluating'), opened]);
    expect(view.panes['history']).toMatchObject({ phase: 'evaluating', run: 'r1' });
  });

  test('content comes with updated only, and a failing run leaves it alone', () => {
    const good = fromFacts([
      opened,
      added('m', 'x'),
      phase('r1', 'evaluating'),
      phase('r1', 'updated', { content: { text: 'a' }, covers: 2 }),
    ]);
    expect(good.panes['history']).toMatchObject({
      content: { text: 'a' },
      contentGeneration: 1,
      covers: 2,
      fresh: true,
    });
    const error = { code: 'provider', message: 'x', retryable: true } as const;
    for (const [name, more] of [
      ['error', { error }],
      ['imaging_failed', { error }],
      ['cancelled', { reason: 'user' }],
      ['unchanged', { covers: 2 }],
    ] as const) {
      const after = fromFacts(
        [phase('r2', 'evaluating', { generation: 2 }), phase('r2', name, { generation: 2, ...more })],
        good,
      );
      expect(after.panes['history'], name).toMatchObject({
        phase: name,
        content: { text: 'a' },
        contentGeneration: 1,
        covers: 2,
      });
    }
  });

  test('reason, error and retryAt belong to the phase that names them', () => {
    const error = { code: 'provider', message: 'x', retryable: true } as const;
    const view = fromFacts([
      opened,
      phase('r', 'evaluating'),
      phase('r', 'retrying', { error, retryAt: at }),
      phase('r', 'evaluating', { attempt: 2 }),
    ]);
    expect(view.panes['history']).toMatchObject({ attempt: 2, error: null, retryAt: null, reason: null });
  });

  test('fresh follows the transcript: true when covered, false when it moves, null for panes that it does not drive', () => {
    const view = fromFacts([opened, added('m', 'x')]);
    expect(view.panes['history']?.fresh).toBe(false);
    const covered = fromFacts([phase('r', 'unchanged', { covers: 2 })], view);
    expect(covered.panes['history']?.fresh).toBe(true);
    expect(fromFacts([added('m2', 'y')], covered).panes['history']?.fresh).toBe(false);
    expect(covered.panes['reply']?.fresh).toBeNull();
  });

  test('queued runs stand behind the current one, in order, until they begin or end', () => {
    const view = fromFacts([
      opened,
      phase('r1', 'evaluating'),
      phase('r2', 'queued'),
      phase('r3', 'queued'),
      phase('r4', 'queued'),
    ]);
    expect(view.panes['history']).toMatchObject({ phase: 'evaluating', run: 'r1', queued: ['r2', 'r3', 'r4'] });
    const cancelled = fromFacts([phase('r3', 'cancelled', { reason: 'user' })], view);
    expect(cancelled.panes['history']).toMatchObject({ phase: 'evaluating', run: 'r1', queued: ['r2', 'r4'] });
    const begun = fromFacts([phase('r1', 'unchanged'), phase('r2', 'evaluating')], cancelled);
    expect(begun.panes['history']).toMatchObject({ run: 'r2', queued: ['r4'] });
    expect(fromFacts([phase('r4', 'queued')], view).panes['history']?.queued).toEqual(['r2', 'r3', 'r4']);
  });

  test('paused is a property of the pane', () => {
    const view = fromFacts([opened, { type: 'pane.paused', pane: 'history', paused: true }, phase('r', 'paused')]);
    expect(view.panes['history']).toMatchObject({ paused: true, phase: 'paused' });
  });

  test('a keyed part keeps its run and version', () => {
    const view = fromFacts([
      opened,
      { type: 'pane.content', pane: 'history', run: 'r', key: 'c1', value: 'draft', version: 1 },
      { type: 'pane.content', pane: 'history', run: 'r', key: 'c1', value: 'text', version: 2 },
    ]);
    expect(view.panes['history']?.parts).toEqual({
      c1: { value: 'text', version: 2, run: 'r', seq: 3, earlier: [{ value: 'draft', version: 1, run: 'r' }] },
    });
  });

  test('a part keeps five earlier versions, and a pane the 256 parts that were committed last', () => {
    const commit = (key: string, version: number): Fact => ({
      type: 'pane.content',
      pane: 'history',
      run: 'r',
      key,
      value: version,
      version,
    });
    const often = Array.from({ length: limits.partVersions + 2 }, (_, index) => commit('k', index + 1));
    const versions = fromFacts([opened, ...often]).panes['history']?.parts['k'];
    expect(versions?.version).toBe(limits.partVersions + 2);
    expect(versions?.earlier.map(({ version }) => version)).toEqual([6, 5, 4, 3, 2]);
    expect(fromFacts([opened, ...often.slice(0, -1)]).panes['history']?.parts['k']?.earlier).toHaveLength(5);
    const many = Array.from({ length: limits.maxParts }, (_, index) => commit(`k${index}`, 1));
    const full = fromFacts([opened, ...many, commit('k0', 2)]);
    expect(Object.keys(full.panes['history']?.parts ?? {})).toHaveLength(limits.maxParts);
    const over = Object.keys(fromFacts([commit('new', 1)], full).panes['history']?.parts ?? {});
    expect(over).toHaveLength(limits.maxParts);
    expect(over).toEqual(expect.arrayContaining(['new', 'k0']));
    expect(over).not.toContain('k1');
  });

  test('tasks of an older run are ignored, and a new run begins without', () => {
    const task = (id: string, run: string): Fact => ({
      type: 'tasks',
      pane: 'history',
      run,
      tasks: [{ id, label: id, status: 'running', attempt: 1 }],
    });
    const view = fromFacts([opened, phase('r1', 'evaluating'), task('t1', 'r1'), task('t2', 'r0')]);
    expect(Object.keys(view.panes['history']?.tasks ?? {})).toEqual(['t1']);
    expect(fromFacts([phase('r2', 'evaluating')], view).panes['history']).toMatchObject({ tasks: {}, counts: null });
  });

  test('records of unknown panes and messages change seq only', () => {
    const view = fromFacts([opened]);
    const facts: Fact[] = [
      { type: 'pane.phase', pane: 'nobody', run: 'r', generation: 1, phase: 'x', attempt: 1 },
      { type: 'message.text', text: { message: 'nobody', at: 0, add: 'x' } },
      { type: 'session.closed', reason: 'closed' },
      { type: 'session.recovered', runs: [] },
    ];
    for (const fact of facts) expect(fromFacts([fact], view)).toEqual({ ...view, seq: 2 });
  });
});

// ---- properties

const ids = ['a', 'b', 'c', 'd'];
const runs = ['r1', 'r2', 'r3'];
const text = fc.oneof(
  fc.string({ maxLength: 20, unit: fc.constantFrom('x', '€', '😀', 'é') }),
  fc.constantFrom('y'.repeat(100_000), '€'.repeat(60_000), '😀'.repeat(80_000)),
);
const status = fc.constantFrom<TaskStatus>('queued', 'running', 'succeeded', 'failed', 'cancelled');

const fact: fc.Arbitrary<Fact> = fc.oneof(
  fc.constant(opened),
  fc.record({
    type: fc.constant('message.added' as const),
    message: fc.record(
      {
        id: fc.constantFrom(...ids),
        role: fc.constantFrom('user' as const, 'assistant' as const),
        text,
        generation: fc.nat(5),
        final: fc.boolean(),
        reply: fc.constant('none' as const),
        replaces: fc.constantFrom(...ids),
      },
      { requiredKeys: ['id', 'role', 'text', 'generation', 'final', 'reply'] },
    ),
  }),
  fc.record({
    type: fc.constant('message.text' as const),
    text: fc.record({ message: fc.constantFrom(...ids), at: fc.nat(30), add: text }),
  }),
  fc.record({
    type: fc.constant('message.ended' as const),
    message: fc.constantFrom(...ids),
    outcome: fc.constantFrom('complete' as const, 'failed' as const),
  }),
  fc.record({
    type: fc.constant('message.edited' as const),
    message: fc.constantFrom(...ids),
    text,
    generation: fc.nat(9),
  }),
  fc.record({ type: fc.constant('message.removed' as const), message: fc.constantFrom(...ids), generation: fc.nat(9) }),
  fc.record(
    {
      type: fc.constant('pane.phase' as const),
      pane: fc.constantFrom('history', 'reply', 'nobody'),
      run: fc.constantFrom(...runs),
      generation: fc.nat(5),
      phase: fc.constantFrom('queued', 'waiting', 'evaluating', 'updated', 'unchanged', 'cancelled', 'error'),
      attempt: fc.nat(3),
      reason: fc.constant('user'),
      covers: fc.nat(20),
      content: fc.constant({ text: 'c' }),
    },
    { requiredKeys: ['type', 'pane', 'run', 'generation', 'phase', 'attempt'] },
  ),
  fc.record({ type: fc.constant('pane.paused' as const), pane: fc.constant('history'), paused: fc.boolean() }),
  fc.record({
    type: fc.constant('pane.content' as const),
    pane: fc.constant('history'),
    run: fc.constantFrom(...runs),
    key: fc.constantFrom('k', '__proto__', 'constructor'),
    value: fc.constant(1),
    version: fc.nat(3),
  }),
  fc.record({
    type: fc.constant('tasks' as const),
    pane: fc.constant('history'),
    run: fc.constantFrom(...runs),
    tasks: fc.array(
      fc.record({ id: fc.constantFrom('t1', '__proto__', '3'), label: fc.constant('t'), status, attempt: fc.nat(3) }),
      { maxLength: 3 },
    ),
  }),
);

const facts = fc.array(fact, { minLength: 1, maxLength: 40, size: 'max' });

function roundTrip<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

describe('the fold', () => {
  test('for every n: the snapshot at n, sent as JSON, plus the records after it, is the fold from the start', () => {
    fc.assert(
      fc.property(facts, fc.nat(40), (all, cut) => {
        const records = all.map((one, i): Rec => ({ seq: i + 1, at, ...one }));
        const whole = records.reduce(fold, emptyView('s'));
        const snapshot = roundTrip(records.slice(0, cut).reduce(fold, emptyView('s')));
        const resumed = records.slice(cut).map(roundTrip).reduce(fold, snapshot);
        expect(resumed).toEqual(whole);
        expect(JSON.stringify(resumed)).toBe(JSON.stringify(whole));
      }),
      { numRuns: 150 },
    );
  });

  test('the view keeps its limits, and no text is cut inside a surrogate pair', () => {
    fc.assert(
      fc.property(facts, (all) => {
        const view = fromFacts(all);
        expect(view.messages.length).toBeLessThanOrEqual(limits.viewMessages);
        const bytes = view.messages.reduce((sum, message) => sum + utf8Bytes(message.text), 0);
        expect(bytes).toBeLessThanOrEqual(limits.viewTextBytes);
        expect(view.earlier).toBeGreaterThanOrEqual(0);
        for (const message of view.messages)
          // Not `toBe`: nobody can read a difference in 256 KiB. Halves that a text had before are its own.
          if (message.cut === true) expect(wholeCharacters(message.text) === message.text).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  test('the fold changes nothing that it was given', () => {
    fc.assert(
      fc.property(facts, fact, (all, next) => {
        const view = fromFacts(all);
        const before = JSON.stringify(view);
        fold(view, { seq: view.seq + 1, at, ...next });
        expect(JSON.stringify(view)).toBe(before);
      }),
      { numRuns: 60 },
    );
  });

  test('counts: done ≤ total = done + pending, total never decreases within a run', () => {
    const task = fc.record({
      id: fc.constantFrom('t1', 't2', 't3'),
      label: fc.constant('t'),
      status,
      attempt: fc.nat(2),
    });
    fc.assert(
      fc.property(fc.array(task, { maxLength: 20 }), (tasks: TaskChange[]) => {
        let view = fromFacts([opened, phase('r', 'imaging')]);
        let total = 0;
        for (const one of tasks) {
          view = fromFacts([{ type: 'tasks', pane: 'history', run: 'r', tasks: [one] }], view);
          const counts = view.panes['history']?.counts;
          expect(counts).toBeTruthy();
          if (counts === null || counts === undefined) continue;
          expect(counts.done + counts.pending).toBe(counts.total);
          expect(counts.ok + counts.failed).toBeLessThanOrEqual(counts.done);
          expect(counts.total).toBeGreaterThanOrEqual(total);
          total = counts.total;
        }
      }),
      { numRuns: 60 },
    );
  });
});
