import { describe, expect, it } from 'vitest';
import { MemoryJournal } from '../../../src/adapters/journal-memory.ts';
import type { Journal } from '../../../src/ports/journal.ts';
import type { Fact, PaneDeclaration, Rec } from '../../../src/protocol/records.ts';
import { emptyState, foldState, type State } from '../../../src/protocol/state.ts';
import { documentPieces } from '../../../src/server/export/document.ts';
import {
  messageOverheadBytes,
  readTranscript,
  transcriptBounds,
  type Transcript,
} from '../../../src/server/export/transcript.ts';
import { seed } from '../../support/seed.ts';
import { numbers } from './numbers.ts';
import { assetPath } from './source.ts';

const declaration: PaneDeclaration = {
  kind: 'history',
  phases: ['summarizing'],
  driven: true,
  enabled: true,
  policy: 'supersede',
  startOn: 'message',
  replyWaitMs: 1,
  debounceMs: 1,
  debounceMaxMs: 1,
  timeoutMs: 1,
  idleTimeoutMs: 1,
  retries: 0,
  maxChars: 1,
  window: 1,
};

/** Writes records of one session into a journal, one entry at a time, and remembers the state after each record. */
class Writer {
  state = emptyState('c1');
  readonly states = new Map<number, State>();
  readonly #journal: Journal;
  readonly #epoch: string;

  constructor(journal: Journal, epoch = 'e1') {
    this.#journal = journal;
    this.#epoch = epoch;
  }

  async write(...facts: Fact[]): Promise<void> {
    const { seq } = this.state.view;
    const records = facts.map((fact, i): Rec => {
      const at = new Date(1_767_225_600_000 + (seq + i) * 1_000).toISOString();
      return { seq: seq + i + 1, at, ...fact };
    });
    for (const record of records) {
      this.state = foldState(this.state, record);
      this.states.set(record.seq, this.state);
    }
    const entry = { records, keys: [], unfinished: false, summary: {}, atMs: 0 };
    await this.#journal.append('c1', seq, seq === 0 ? { ...entry, epoch: this.#epoch } : entry);
  }

  open(): Promise<void> {
    return this.write({ type: 'session.opened', panes: { history: declaration, illustrations: declaration } });
  }

  say(id: string, text: string): Promise<void> {
    return this.write(said(id, text));
  }
}

function said(id: string, text: string, more: { final?: boolean; replaces?: string; generation?: number } = {}): Fact {
  return {
    type: 'message.added',
    message: { id, role: 'assistant', text, generation: 1, final: true, reply: 'none', ...more },
  };
}

async function read(
  journal: Journal,
  bounds: Partial<typeof transcriptBounds> = {},
  folded?: State,
): Promise<Transcript> {
  const found = await readTranscript(journal, 'c1', () => folded, { ...transcriptBounds, ...bounds });
  if ('refused' in found) throw new Error(found.refused.code);
  return found;
}

function rendered(transcript: Transcript): string {
  return [...documentPieces(transcript, [])].join('');
}

/** The export of a state whose view holds all messages: what the fold says, without the journal's transcript. */
function expected({ view, private: known }: State): string {
  expect(view.earlier).toBe(0);
  return rendered({ view, at: known.at, messages: view.messages, leftOut: 0 });
}

describe('reading a session', () => {
  it('[X1] begins from nothing, a saved state or one in memory, with the same result', async () => {
    const journal = new MemoryJournal();
    const writer = new Writer(journal);
    await writer.open();
    for (let i = 0; i < 7; i += 1) await writer.say(`m${i}`, `text ${i}`);
    const early = writer.state;
    await writer.write({ type: 'message.edited', message: 'm3', text: 'new', generation: 2 });
    await writer.write({ type: 'message.removed', message: 'm4', generation: 3 });
    const whole = await read(journal, { pageMessages: 2 });
    expect(rendered(whole)).toBe(expected(writer.state));
    expect(whole.messages.map(({ id, rev }) => [id, rev])).toContainEqual(['m3', 1]);
    expect(await read(journal, {}, early)).toEqual(whole);
    expect(await read(journal, {}, writer.state)).toEqual(whole);
    await journal.saveState('c1', early.view.seq, JSON.parse(JSON.stringify(early)));
    await journal.trim('c1', early.view.seq);
    expect(await read(journal)).toEqual(whole);
  });

  it('[X1] a session that is absent or erased is NOT_FOUND', async () => {
    const journal = new MemoryJournal();
    const found = async () => readTranscript(journal, 'c1', () => undefined);
    expect(await found()).toMatchObject({ refused: { code: 'NOT_FOUND' } });
    await new Writer(journal).open();
    expect(await found()).toMatchObject({ view: { seq: 1 } });
    await journal.erase('c1', { id: 'k', digest: 'd', ack: {} }, 0);
    expect(await found()).toMatchObject({ refused: { code: 'NOT_FOUND' } });
  });

  it('[X4] keeps the newest messages that fit, on both sides of the bound', async () => {
    const journal = new MemoryJournal();
    const writer = new Writer(journal);
    await writer.open();
    for (let i = 0; i < 10; i += 1) await writer.say(`m${i}`, 'é'.repeat(100));
    const cost = 200 + messageOverheadBytes;
    const kept = async (maxBytes: number) => {
      const { messages, leftOut } = await read(journal, { maxBytes, pageMessages: 2 });
      return [messages.length, messages[0]?.id, leftOut];
    };
    expect(await kept(cost * 10)).toEqual([10, 'm0', 0]);
    expect(await kept(cost * 10 - 1)).toEqual([9, 'm1', 1]);
    expect(await kept(cost * 3)).toEqual([3, 'm7', 7]);
    expect(await kept(cost * 3 - 1)).toEqual([2, 'm8', 8]);
    expect(await kept(cost - 1)).toEqual([0, undefined, 10]);
  });

  it('[X5] a change to a message that does not fit leaves it out', async () => {
    const journal = new MemoryJournal();
    const writer = new Writer(journal);
    await writer.open();
    for (let i = 0; i < 10; i += 1) await writer.say(`m${i}`, 'x');
    let changes = 2;
    const restless = wrapped(journal, async (call) => {
      if (call !== 'head' || changes === 0) return;
      changes -= 1;
      await writer.write({ type: 'message.edited', message: 'm0', text: 'y', generation: 2 });
    });
    const { messages, leftOut, view } = await read(restless, {
      maxBytes: 3 * (1 + messageOverheadBytes),
      pageMessages: 2,
    });
    expect([messages.map(({ id }) => id), leftOut, view.seq]).toEqual([['m7', 'm8', 'm9'], 7, 13]);
  });

  it('[X4] a session of 10,000 messages is read whole, a page at a time', async () => {
    const journal = new MemoryJournal();
    const writer = new Writer(journal);
    await writer.open();
    for (let from = 0; from < 10_000; from += 250)
      await writer.write(...Array.from({ length: 250 }, (_, i) => said(`m${from + i}`, `message number ${from + i}`)));
    let most = 0;
    const counted = wrapped(
      journal,
      () => Promise.resolve(),
      (limit) => (most = Math.max(most, limit)),
    );
    const { messages, leftOut } = await read(counted);
    expect([messages.length, leftOut, most]).toEqual([10_000, 0, transcriptBounds.pageMessages]);
    expect([messages[0]?.id, messages[9_999]?.id]).toEqual(['m0', 'm9999']);
  });

  it('[X5] gives up on a session that does not stand still, and not before', async () => {
    const journal = new MemoryJournal();
    const writer = new Writer(journal);
    await writer.open();
    let changes = 0;
    // A record before each look at the head.
    const restless = wrapped(journal, async (call) => {
      if (call !== 'head' || changes === 0) return;
      changes -= 1;
      await writer.say(`n${writer.state.view.seq}`, 'one more');
    });
    // Each of the three attempts looks once before it reads the state, and once in each of its rounds.
    changes = 17;
    expect((await read(restless, { maxRounds: 5 })).messages).toHaveLength(17);
    changes = 18;
    const refused = await readTranscript(restless, 'c1', () => undefined, { ...transcriptBounds, maxRounds: 5 });
    expect(refused).toMatchObject({ refused: { code: 'OVERLOADED', retryable: true } });
  });

  it('[X5] another life of the session is read from its beginning', async () => {
    const journal = new MemoryJournal();
    const first = new Writer(journal);
    await first.open();
    await first.say('old', 'of the first life');
    let done = false;
    const second = new Writer(journal, 'e2');
    const restless = wrapped(journal, async (call) => {
      if (call !== 'messages' || done) return;
      done = true;
      await journal.erase('c1', { id: 'k', digest: 'd', ack: {} }, 0);
      await second.open();
      await second.write(said('new', 'of the second life', { generation: 5 }));
    });
    expect(rendered(await read(restless))).toBe(expected(second.state));
  });

  it('[X5] races with edits, deltas, removals and commits of panes: each reading is one prefix, none mixes two', async () => {
    let readings = 0;
    let behind = 0;
    for (let run = 0; run < 12; run += 1) {
      const random = numbers(seed + run);
      const journal = new MemoryJournal();
      const writer = new Writer(journal);
      await writer.open();
      for (let i = 0; i < 30; i += 1) await writer.say(`m${i}`, `begin ${i} `);
      const slow = wrapped(journal, () => turns(Math.floor(random() * 3)));
      const writes = { over: false };
      const written = (async () => {
        for (let step = 0; step < 60; step += 1) {
          await turns(Math.floor(random() * 9));
          await writer.write(...change(writer.state, step, random));
        }
        writes.over = true;
      })();
      while (!writes.over) {
        const bounds = { pageMessages: 1 + Math.floor(random() * 7) };
        const begun = writer.state.view.seq;
        const transcript = await read(slow, bounds, random() < 0.5 ? committed(writer) : undefined);
        const state = writer.states.get(transcript.view.seq);
        if (state === undefined) throw new Error(`no state ${transcript.view.seq}`);
        expect(rendered(transcript)).toBe(expected(state));
        readings += 1;
        if (transcript.view.seq > begun) behind += 1;
      }
      await written;
      expect(rendered(await read(slow))).toBe(expected(writer.state));
    }
    // Else nothing has raced.
    expect(readings).toBeGreaterThan(50);
    expect(behind).toBeGreaterThan(25);
  });
});

/** A state that lies behind the journal, as that of a session in memory may. */
function committed(writer: Writer): State {
  return writer.states.get(Math.max(1, writer.state.view.seq - 5)) ?? writer.state;
}

/** One turn of a lively session. */
function change({ view, private: known }: State, step: number, random: () => number): Fact[] {
  const any = view.messages[Math.floor(random() * view.messages.length)]?.id ?? 'm0';
  const open = Object.entries(known.open)[0];
  const generation = view.generation + 1;
  switch (Math.floor(random() * 7)) {
    case 0:
      return [said(`n${step}`, `said ${step}`)];
    case 1:
      return [said(`n${step}`, '', { final: false, replaces: any }), text(`n${step}`, 0, 'first')];
    case 2:
      if (open === undefined) return [said(`n${step}`, '', { final: false })];
      return [text(open[0], open[1].length, ` add ${step}`)];
    case 3:
      if (open === undefined) return [said(`n${step}`, 'whole', { replaces: any })];
      return [text(open[0], open[1].length, '.'), { type: 'message.ended', message: open[0], outcome: 'complete' }];
    case 4:
      return [{ type: 'message.edited', message: any, text: `edit ${step}`, generation }];
    case 5:
      return [{ type: 'message.removed', message: any, generation }];
    default:
      return [...committedPanes(view.transcript, any, step)];
  }
}

function text(message: string, at: number, add: string): Fact {
  return { type: 'message.text', text: { message, at, add } };
}

function committedPanes(covers: number, message: string, step: number): Fact[] {
  const run = `r${step}`;
  const base = { type: 'pane.phase' as const, pane: 'history', run, generation: 1, attempt: 1 };
  const value = {
    message,
    rev: 0,
    offset: 0,
    length: 2,
    prompt: `p${step}`,
    asset: assetPath('c1', run),
    status: 'ok',
  };
  return [
    { ...base, phase: 'summarizing' },
    { ...base, phase: 'updated', covers, content: { text: `sum ${step}`, engine: 'e', asOf: message } },
    { type: 'pane.content', pane: 'illustrations', run, key: `k${step % 5}`, value, version: step + 1 },
  ];
}

/** A journal that does something before each call of a reader. */
function wrapped(
  journal: Journal,
  before: (call: 'head' | 'read' | 'messages' | 'message') => Promise<void>,
  paged: (limit: number) => void = () => undefined,
): Journal {
  return new Proxy(journal, {
    get(target, name: keyof Journal) {
      if (name === 'head') return async (session: string) => (await before(name), target.head(session));
      if (name === 'message')
        return async (session: string, id: string) => (await before(name), target.message(session, id));
      if (name === 'messages')
        return async (session: string, from: string | null, limit: number) => {
          await before(name);
          paged(limit);
          return target.messages(session, from, limit);
        };
      if (name === 'read')
        return async function* (session: string, after: number) {
          await before(name);
          yield* target.read(session, after);
        };
      return target[name].bind(target);
    },
  });
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i += 1)
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
}
