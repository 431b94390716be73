import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { entryLimits, type Entry, type Journal } from '../../src/ports/journal.ts';
import type { Fact, Rec } from '../../src/protocol/records.ts';
import { fold } from '../../src/protocol/fold.ts';
import { emptyView } from '../../src/protocol/view.ts';
import { added, all, at0Ms, dayMs, entry, key, phase, records } from './journal.contract-data.ts';

/** A commit as `observe` of both journals tells it. */
export interface SeenCommit {
  records: number;
  bytes: number;
}

/** A journal under test. `reopen` closes it and opens what it left; absent where nothing is left. */
export interface Subject {
  journal: Journal;
  commits: SeenCommit[];
  reopen?(): Promise<Journal>;
  dispose(): Promise<void>;
}

function streamed(message: string, at: number, add: string): Fact {
  return { type: 'message.text', text: { message, at, add } };
}

const ended = (message: string): Fact => ({ type: 'message.ended', message, outcome: 'complete' });
const removed = (message: string): Fact => ({ type: 'message.removed', message, generation: 2 });

/** `count` records that together have exactly `bytes` of JSON, with the summary `{}`. */
function sized(count: number, bytes: number): Entry {
  const make = (length: number): Entry =>
    entry(0, [
      ...Array.from({ length: count - 1 }, () => phase),
      { type: 'session.closed', reason: 'x'.repeat(length) },
    ]);
  const empty = Buffer.byteLength(JSON.stringify(make(0).records)) + 2;
  return make(bytes - empty);
}

/** The exam of every Journal. */
export function journalContract(name: string, make: () => Promise<Subject>): void {
  describe(name, () => {
    let subject: Subject;
    let journal: Journal;

    beforeEach(async () => {
      subject = await make();
      journal = subject.journal;
    });
    afterEach(() => subject.dispose());

    /** Appends the facts one entry each and resolves with the head. */
    const grow = async (session: string, ...facts: Fact[]): Promise<number> => {
      let seq = (await journal.head(session))?.seq ?? 0;
      for (const fact of facts) seq = await journal.append(session, seq, entry(seq, [fact]));
      return seq;
    };

    describe('append and read', () => {
      test('[P5] gives back all records in order, without gaps, whatever entries they came in', async () => {
        const whole: Rec[] = [];
        let seq = 0;
        for (const size of [1, 3, 2, 64, 1]) {
          const one = entry(
            seq,
            Array.from({ length: size }, () => phase),
          );
          whole.push(...one.records);
          seq = await journal.append('s', seq, one);
        }
        expect(seq).toBe(71);
        expect(await all(journal.read('s', 0))).toEqual(whole);
        expect(await all(journal.read('s', 2))).toEqual(whole.slice(2));
        expect(await all(journal.read('s', 2, 5))).toEqual(whole.slice(2, 7));
        expect(await all(journal.read('s', 71))).toEqual([]);
        expect(await all(journal.read('s', 99))).toEqual([]);
        expect(await all(journal.read('absent', 0))).toEqual([]);
      });

      test('keeps any JSON text: NUL, half surrogate pairs, U+2028, 4-byte characters, also in names', async () => {
        const text = 'a\0b \ud800 \u2028 \u{1f600} "\\';
        await grow('s', added('m1', text), { type: 'session.closed', reason: text });
        expect((await all(journal.read('s', 1)))[0]).toMatchObject({ reason: text });
        expect((await journal.message('s', 'm1'))?.text).toBe(text);
      });

      test('rejects stale_writer when the head is another, and stores nothing', async () => {
        await grow('s', phase, phase);
        await expect(journal.append('s', 1, entry(1))).rejects.toMatchObject({ code: 'stale_writer' });
        await expect(journal.append('s', 3, entry(3))).rejects.toMatchObject({ code: 'stale_writer' });
        await expect(journal.append('s', 0, entry(0))).rejects.toMatchObject({ code: 'stale_writer' });
        await expect(journal.append('new', 1, entry(1))).rejects.toMatchObject({ code: 'stale_writer' });
        expect(await journal.head('s')).toEqual({ epoch: 'e1', seq: 2 });
        expect(await journal.head('new')).toBeUndefined();
      });

      test('of two appends after the same head in one tick the first is stored, the second is stale', async () => {
        const results = await Promise.allSettled([journal.append('s', 0, entry(0)), journal.append('s', 0, entry(0))]);
        expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
        expect((await journal.head('s'))?.seq).toBe(1);
      });

      test('refuses records that do not continue the journal', async () => {
        const gap = { ...entry(0), records: records(1, phase) };
        await expect(journal.append('s', 0, gap)).rejects.toMatchObject({ code: 'stale_writer' });
        expect(await journal.head('s')).toBeUndefined();
      });

      test('stores the entry as it was at the call', async () => {
        const one = entry(0, [added('m1', 'before')]);
        const stored = journal.append('s', 0, one);
        one.records.length = 0;
        one.records.push(...records(0, added('m1', 'after')));
        await stored;
        expect((await all(journal.read('s', 0)))[0]).toMatchObject({ message: { text: 'before' } });
      });
    });

    describe('group commit', () => {
      test('[P4] stores what 64 sessions append in one tick with one commit', async () => {
        await Promise.all(Array.from({ length: 64 }, (_, i) => journal.append(`s${i}`, 0, entry(0, [phase, phase]))));
        expect(subject.commits).toHaveLength(1);
        expect(subject.commits[0]?.records).toBe(128);
        expect(await journal.sessions(100)).toHaveLength(64);
      });

      test('one entry after another of the same session fits in one commit', async () => {
        await Promise.all([0, 1, 2].map((seq) => journal.append('s', seq, entry(seq))));
        expect(subject.commits).toHaveLength(1);
        expect(await all(journal.read('s', 0))).toHaveLength(3);
      });

      test('a failing append does not fail the others of its commit', async () => {
        await grow('b', phase);
        const results = await Promise.allSettled([
          journal.append('a', 0, entry(0)),
          journal.append('b', 0, entry(0)),
          journal.append('c', 0, sized(1, entryLimits.bytes + 1)),
          journal.append('d', 0, entry(0)),
        ]);
        expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
        expect((await journal.head('a'))?.seq).toBe(1);
        expect((await journal.head('d'))?.seq).toBe(1);
        expect(subject.commits).toHaveLength(2);
      });

      test('nothing that is not committed can be read', async () => {
        const stored = journal.append('s', 0, entry(0, [added('m1', 'x')], { keys: [key('k')] }));
        expect(await journal.head('s')).toBeUndefined();
        expect(await all(journal.read('s', 0))).toEqual([]);
        expect(await journal.command('s', 'k', at0Ms)).toBeUndefined();
        await stored;
        expect(await journal.head('s')).toEqual({ epoch: 'e1', seq: 1 });
      });
    });

    describe('limits of an entry', () => {
      test(`takes ${entryLimits.records} records, refuses ${entryLimits.records + 1}`, async () => {
        const facts = (count: number): Fact[] => Array.from({ length: count }, () => phase);
        const over = entry(0, facts(entryLimits.records + 1));
        await expect(journal.append('s', 0, over)).rejects.toMatchObject({ code: 'too_large' });
        expect(await journal.head('s')).toBeUndefined();
        expect(await journal.append('s', 0, entry(0, facts(entryLimits.records)))).toBe(entryLimits.records);
      });

      test(`takes ${entryLimits.bytes} bytes, refuses ${entryLimits.bytes + 1}`, async () => {
        const over = sized(3, entryLimits.bytes + 1);
        await expect(journal.append('s', 0, over)).rejects.toMatchObject({ code: 'too_large' });
        await journal.append('s', 0, sized(3, entryLimits.bytes));
        expect(subject.commits).toMatchObject([{ records: 3, bytes: entryLimits.bytes }]);
      });
    });

    describe('command keys', () => {
      test('[P4] finds a command for 24 h, and not a ms longer', async () => {
        await journal.append('s', 0, entry(0, [phase], { keys: [key('k1'), key('k2')] }));
        expect(await journal.command('s', 'k1', at0Ms + dayMs)).toEqual(key('k1'));
        expect(await journal.command('s', 'k2', at0Ms)).toEqual(key('k2'));
        expect(await journal.command('s', 'k1', at0Ms + dayMs + 1)).toBeUndefined();
        expect(await journal.command('s', 'other', at0Ms)).toBeUndefined();
        expect(await journal.command('other', 'k1', at0Ms)).toBeUndefined();
      });

      test('an entry without records remembers its command and moves nothing else', async () => {
        await grow('s', phase);
        expect(await journal.append('s', 1, entry(1, [], { keys: [key('k')], atMs: at0Ms + 5 }))).toBe(1);
        expect(await journal.command('s', 'k', at0Ms)).toEqual(key('k'));
        expect(await all(journal.read('s', 0))).toHaveLength(1);
        expect(await journal.append('s', 1, entry(1))).toBe(2);
      });

      test('expire deletes keys older than 24 h and no others', async () => {
        await journal.append('s', 0, entry(0, [phase], { keys: [key('old')] }));
        await journal.append('s', 1, entry(1, [phase], { keys: [key('new')], atMs: at0Ms + 1 }));
        expect(await journal.expire(at0Ms + dayMs)).toBe(0);
        expect(await journal.expire(at0Ms + dayMs + 1)).toBe(1);
        expect(await journal.command('s', 'old', at0Ms)).toBeUndefined();
        expect(await journal.command('s', 'new', at0Ms)).toEqual(key('new'));
      });

      test('expire deletes a bounded number a call', async () => {
        for (let seq = 0; seq < 12; seq += 1) {
          const keys = Array.from({ length: 100 }, (_, i) => key(`k${seq}-${i}`));
          await journal.append('s', seq, entry(seq, [phase], { keys }));
        }
        expect(await journal.expire(at0Ms + 2 * dayMs)).toBe(1_000);
        expect(await journal.expire(at0Ms + 2 * dayMs)).toBe(200);
        expect(await journal.expire(at0Ms + 2 * dayMs)).toBe(0);
      });
    });

    describe('transcript', () => {
      test('keeps the whole text of a streamed message, by UTF-16 offset, while it is written and after', async () => {
        await grow(
          's',
          added('m1', '', { final: false }),
          streamed('m1', 0, 'Hi \u{1f600}'),
          streamed('m1', 5, ' there'),
        );
        expect(await journal.message('s', 'm1')).toMatchObject({
          text: 'Hi \u{1f600} there',
          final: false,
          removed: false,
        });
        await grow('s', streamed('m1', 5, '!'), streamed('m1', 99, 'beyond'));
        expect((await journal.message('s', 'm1'))?.text).toBe('Hi \u{1f600}!');
        await grow('s', ended('m1'));
        expect(await journal.message('s', 'm1')).toMatchObject({
          text: 'Hi \u{1f600}!',
          final: true,
          outcome: 'complete',
        });
      });

      test('an edit replaces the text; a removal leaves a tombstone without text', async () => {
        await grow('s', added('m1', 'one'), added('m2', 'two'));
        await grow('s', { type: 'message.edited', message: 'm1', text: 'uno', generation: 2 }, removed('m2'));
        expect((await journal.messages('s', null, 10)).map(({ text }) => text)).toEqual(['uno']);
        expect(await journal.message('s', 'm2')).toMatchObject({ id: 'm2', removed: true, text: '' });
        await grow('s', streamed('m2', 0, 'ghost'), {
          type: 'message.edited',
          message: 'm2',
          text: 'ghost',
          generation: 3,
        });
        expect(await journal.message('s', 'm2')).toMatchObject({ removed: true, text: '' });
        expect(await journal.message('s', 'absent')).toBeUndefined();
      });

      test('a message that replaces another removes it when it ends with text, never before and not when empty', async () => {
        const again = { final: false, replaces: 'm1' };
        await grow('s', added('m1', 'first'), added('m2', '', again), ended('m2'));
        expect(await journal.message('s', 'm1')).toMatchObject({ removed: false });
        await grow('s', added('m3', '', again), streamed('m3', 0, 'better'));
        expect(await journal.message('s', 'm1')).toMatchObject({ removed: false });
        await grow('s', ended('m3'));
        expect(await journal.message('s', 'm1')).toMatchObject({ removed: true });
        await grow('s', added('m4', 'best', { replaces: 'm3' }));
        expect((await journal.messages('s', null, 10)).map(({ id }) => id)).toEqual(['m2', 'm4']);
      });

      test('pages backwards: the newest `limit` before a message, oldest first, without removed ones', async () => {
        await grow('s', ...[1, 2, 3, 4, 5, 6].map((n) => added(`m${n}`, `text ${n}`)), removed('m4'));
        const ids = async (before: string | null, limit: number): Promise<string[]> =>
          (await journal.messages('s', before, limit)).map(({ id }) => id);
        expect(await ids(null, 2)).toEqual(['m5', 'm6']);
        expect(await ids('m5', 2)).toEqual(['m2', 'm3']);
        expect(await ids('m4', 9)).toEqual(['m1', 'm2', 'm3']);
        expect(await ids('m1', 9)).toEqual([]);
        expect(await ids('absent', 9)).toEqual([]);
        expect(await ids(null, 0)).toEqual([]);
      });

      test('equals the messages of the view, folded from the same records', async () => {
        const facts = [
          added('u1', 'question', { role: 'user' }),
          added('a1', '', { final: false }),
          streamed('a1', 0, 'some'),
          streamed('a1', 4, ' text'),
          ended('a1'),
          added('a2', 'x', { final: false, replaces: 'a1' }),
          { type: 'message.edited', message: 'u1', text: 'better question', generation: 2 } as const,
          streamed('a2', 1, 'yz'),
          ended('a2'),
          added('a3', 'gone'),
          removed('a3'),
        ];
        await journal.append('s', 0, entry(0, facts));
        const view = records(0, ...facts).reduce(fold, emptyView('s'));
        expect(await journal.messages('s', null, 99)).toEqual(view.messages);
        expect(view.messages.map(({ id }) => id)).toEqual(['u1', 'a2']);
      });
    });

    describe('sessions', () => {
      test('lists sessions by newest activity, and of these the unfinished ones', async () => {
        await journal.append('a', 0, entry(0, [phase], { atMs: 1, unfinished: true }));
        await journal.append('b', 0, entry(0, [phase], { atMs: 3, unfinished: true, summary: { history: 'idle' } }));
        await journal.append('c', 0, entry(0, [phase], { atMs: 2 }));
        expect(await journal.count()).toBe((await journal.sessions(100)).length);
        const lines = await journal.sessions(2);
        expect(lines.map(({ session }) => session)).toEqual(['b', 'c']);
        expect(lines[0]).toEqual({ session: 'b', seq: 1, atMs: 3, unfinished: true, summary: { history: 'idle' } });
        expect(await all(journal.unfinished())).toEqual(['b', 'a']);
        await journal.append('a', 1, entry(1, [], { atMs: 4 }));
        expect(await all(journal.unfinished())).toEqual(['b']);
        expect((await journal.sessions(1))[0]).toMatchObject({ session: 'a', atMs: 4, seq: 1 });
      });

      test('erases all but the keys; a session of the same name begins anew with its own epoch', async () => {
        await journal.append('s', 0, entry(0, [added('m1', 'secret')], { keys: [key('k1')], unfinished: true }));
        await journal.append('s', 1, entry(1, [added('m2', '', { final: false }), streamed('m2', 0, 'more')]));
        await journal.saveState('s', 1, { a: 1 });
        await journal.erase('s', key('delete'), at0Ms);
        expect(await journal.head('s')).toBeUndefined();
        expect(await all(journal.read('s', 0))).toEqual([]);
        expect(await journal.message('s', 'm1')).toBeUndefined();
        expect(await journal.messages('s', null, 9)).toEqual([]);
        expect(await journal.loadState('s')).toBeUndefined();
        expect(await journal.sessions(9)).toEqual([]);
        expect(await journal.count()).toBe(0);
        expect(await all(journal.unfinished())).toEqual([]);
        expect(await journal.command('s', 'k1', at0Ms)).toEqual(key('k1'));
        expect(await journal.command('s', 'delete', at0Ms + dayMs)).toEqual(key('delete'));
        expect(await journal.append('s', 0, entry(0, [added('m1', 'new')], { epoch: 'e2' }))).toBe(1);
        expect(await journal.head('s')).toEqual({ epoch: 'e2', seq: 1 });
        expect((await journal.message('s', 'm1'))?.text).toBe('new');
      });

      test('erase and the append that creates the session again fit in one commit', async () => {
        await grow('s', phase, phase);
        await Promise.all([
          journal.erase('s', key('d'), at0Ms),
          journal.append('s', 0, entry(0, [phase], { epoch: 'e2' })),
        ]);
        expect(await journal.head('s')).toEqual({ epoch: 'e2', seq: 1 });
      });
    });

    describe('saved state and trim', () => {
      test('keeps the newest state, at most at the head', async () => {
        await grow('s', phase, phase, phase);
        expect(await journal.loadState('s')).toBeUndefined();
        await journal.saveState('s', 2, { n: 2 });
        await journal.saveState('s', 1, { n: 1 });
        expect(await journal.loadState('s')).toEqual({ seq: 2, state: { n: 2 } });
        await journal.saveState('s', 3, { n: 3 });
        expect(await journal.loadState('s')).toEqual({ seq: 3, state: { n: 3 } });
        await expect(journal.saveState('s', 4, {})).rejects.toMatchObject({ code: 'stale_writer' });
        await expect(journal.saveState('absent', 0, {})).rejects.toMatchObject({ code: 'stale_writer' });
      });

      test('never trims beyond the saved state', async () => {
        await grow('s', phase, phase, phase, phase);
        await journal.trim('s', 4);
        expect(await all(journal.read('s', 0))).toHaveLength(4);
        await journal.saveState('s', 2, {});
        await journal.trim('s', 4);
        expect((await all(journal.read('s', 2))).map(({ seq }) => seq)).toEqual([3, 4]);
        await expect(all(journal.read('s', 1))).rejects.toMatchObject({ code: 'trimmed' });
      });

      test('never trims the newest entry, nor a part of an entry', async () => {
        await journal.append('s', 0, entry(0, [phase, phase, phase]));
        await journal.append('s', 3, entry(3, [phase, phase]));
        await journal.saveState('s', 5, {});
        await journal.trim('s', 2);
        expect(await all(journal.read('s', 0))).toHaveLength(5);
        await journal.trim('s', 5);
        expect((await all(journal.read('s', 3))).map(({ seq }) => seq)).toEqual([4, 5]);
        await expect(all(journal.read('s', 2))).rejects.toMatchObject({ code: 'trimmed' });
        await journal.trim('s', 5);
        expect(await grow('s', phase)).toBe(6);
        expect((await all(journal.read('s', 3))).map(({ seq }) => seq)).toEqual([4, 5, 6]);
      });

      test('a trimmed session is still erased whole, and the transcript survives trimming', async () => {
        await grow('s', added('m1', 'a'), added('m2', 'b'), phase);
        await journal.saveState('s', 3, {});
        await journal.trim('s', 3);
        expect(await journal.messages('s', null, 9)).toHaveLength(2);
        await journal.erase('s', key('d'), at0Ms);
        expect(await journal.head('s')).toBeUndefined();
      });
    });

    describe('life', () => {
      test('probe resolves when the store can be written', async () => {
        await journal.probe();
        await journal.probe();
      });

      test('close stores what was queued, then refuses everything', async () => {
        const stored = journal.append('s', 0, entry(0));
        await journal.close();
        await expect(stored).resolves.toBe(1);
        const closed = { code: 'closed' };
        await expect(journal.append('s', 1, entry(1))).rejects.toMatchObject(closed);
        await expect(journal.head('s')).rejects.toMatchObject(closed);
        await expect(all(journal.read('s', 0))).rejects.toMatchObject(closed);
        await expect(journal.probe()).rejects.toMatchObject(closed);
        await journal.close();
      });

      test('[P4] [P5] a reopened journal holds everything', async ({ skip }) => {
        if (subject.reopen === undefined) skip();
        await journal.append('s', 0, entry(0, [added('m1', 'text')], { keys: [key('k')], unfinished: true, atMs: 7 }));
        await grow('s', added('m2', '', { final: false }), streamed('m2', 0, 'half'));
        await journal.saveState('s', 2, { a: [1] });
        const before = await all(journal.read('s', 0));
        const lines = await journal.sessions(9);
        const again = await subject.reopen?.();
        if (again === undefined) return;
        expect(await all(again.read('s', 0))).toEqual(before);
        expect(await again.sessions(9)).toEqual(lines);
        expect(await again.head('s')).toEqual({ epoch: 'e1', seq: 3 });
        expect(await again.command('s', 'k', 7)).toEqual(key('k'));
        expect((await again.message('s', 'm2'))?.text).toBe('half');
        expect(await again.loadState('s')).toEqual({ seq: 2, state: { a: [1] } });
        expect(await again.append('s', 3, entry(3))).toBe(4);
      });
    });
  });
}
