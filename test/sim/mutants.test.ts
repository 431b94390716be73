import { afterEach, describe, expect, it, vi } from 'vitest';
import type { BodyEvent } from '../../src/server/sessions/body.ts';
import { JournalError, ProviderError } from '../../src/ports/errors.ts';
import type { Entry, Journal } from '../../src/ports/journal.ts';
import type { PaneDefinition, Stage } from '../../src/panes/define.ts';
import type { Limits } from '../../src/server/limits/limits.ts';
import type { SessionHost } from '../../src/server/session-api.ts';
import { Batch } from '../../src/server/transport/stream.ts';
import type { Session as RealSession } from '../../src/server/sessions/session.ts';
import type { WatchNews } from '../../src/server/sessions/watches.ts';
import type { State } from '../../src/protocol/state.ts';
import type { Command } from '../../src/protocol/commands.ts';
import type { Op } from './plan.ts';
import { opsOf, simulate } from './run.ts';
import { passivateAfterMs, type Wrap } from './world.ts';

/** Which sabotage of `Session` is on: it cannot be reached through a port. */
const sabotage = vi.hoisted(() => ({ session: '', tasks: '' }));

vi.mock('../../src/server/sessions/session.ts', async (original) => {
  const real = await original<typeof import('../../src/server/sessions/session.ts')>();
  class Session extends real.Session {
    /** Records are shown as soon as they are decided. */
    constructor(...given: ConstructorParameters<typeof RealSession>) {
      super(...given);
      if (sabotage.session === 'late') this.#reportLate();
      if (sabotage.tasks === 'unstopped') this.#goOn();
      if (sabotage.session !== 'hasty') return;
      const { broadcast, gate } = this;
      const show = broadcast.records.bind(broadcast);
      broadcast.records = () => undefined;
      const turn = gate.turn.bind(gate);
      let shown = this.committed.view.seq;
      gate.turn = (fn, by) => {
        const made = turn(fn, by);
        const fresh = made.records.filter(({ seq }) => seq > shown);
        shown = fresh.at(-1)?.seq ?? shown;
        show(this.id, fresh, (seq) => this.cursor(seq));
        return made;
      };
    }

    /** Stages cannot be stopped, and what they report counts for whatever run is there by then. */
    #reportLate(): void {
      const { stages } = this;
      const start = stages.start.bind(stages);
      stages.start = (input, sendBack) => {
        const { pane } = input;
        const tell = (event: BodyEvent): void => {
          newest.set(`${this.id} ${pane}`, newest.get(`${this.id} ${pane}`) ?? sendBack);
          newest.get(`${this.id} ${pane}`)?.(event);
        };
        newest.set(`${this.id} ${pane}`, sendBack);
        start(input, (event) => {
          const view = this.proposed.view.panes[pane];
          const asCurrent = { run: view?.run ?? '', attempt: view?.attempt ?? 1 };
          this.gate.turn(() => tell(event.type === 'stage.done' ? { ...event, ...asCurrent } : event));
        });
        return () => undefined;
      };
    }

    /** Tasks go on after they were stopped. */
    #goOn(): void {
      const { stages } = this;
      const start = stages.start.bind(stages);
      stages.start = (input, sendBack) => {
        const stop = start(input, sendBack);
        return input.task === undefined ? stop : () => undefined;
      };
    }

    /** Runs that a crash has interrupted are left lying. */
    override begin(texts: ReadonlyMap<string, string>): void {
      if (sabotage.session !== 'forgets') super.begin(texts);
    }
  }
  const newest = new Map<string, (event: BodyEvent) => void>();
  return { ...real, Session: Session satisfies typeof RealSession };
});

vi.mock('../../src/server/sessions/watches.ts', async (original) => {
  const real = await original<typeof import('../../src/server/sessions/watches.ts')>();
  class Watches extends real.Watches {
    #later: readonly WatchNews[] = [];

    override take(): readonly WatchNews[] {
      const news = super.take();
      if (sabotage.tasks === 'unfinished') return news.filter(({ type }) => type !== 'finished');
      if (sabotage.tasks !== 'later') return news;
      // Told with whatever comes next.
      const told = this.#later;
      this.#later = news;
      return told;
    }

    override restore(message: string, text: string, state: State): void {
      if (sabotage.tasks !== 'again') return super.restore(message, text, state);
      super.restore(message, '', state);
      this.wrote(message, text);
    }
  }
  return { ...real, Watches };
});

vi.mock('../../src/machines/tasks/items.ts', async (original) => {
  const real = await original<typeof import('../../src/machines/tasks/items.ts')>();
  const nextItem: typeof real.nextItem = (context) => {
    if (sabotage.tasks === 'restless') return real.nextItem({ ...context, pauseWanted: false });
    if (sabotage.tasks !== 'keyless') return real.nextItem(context);
    return real.nextItem({ ...context, items: context.items.map((item) => ({ ...item, key: '' })) });
  };
  return { ...real, nextItem };
});

vi.mock('../../src/machines/tasks/recover.ts', async (original) => {
  const real = await original<typeof import('../../src/machines/tasks/recover.ts')>();
  const recoverTasks: typeof real.recoverTasks = (...args) => {
    const input = real.recoverTasks(...args);
    return input === undefined || sabotage.tasks !== 'queueless' ? input : { ...input, queue: [] };
  };
  return { ...real, recoverTasks };
});

afterEach(() => {
  sabotage.session = '';
  sabotage.tasks = '';
});

/** The rules that a sabotage is caught by, over some seeds; stops as soon as one of the wanted ones has caught it. */
async function caughtBy(
  wrap: Wrap,
  wanted: string[],
  only?: { seed: number; ops: Op[] },
  seeds = 30,
): Promise<string[]> {
  const rules = new Set<string>();
  if (only !== undefined) return (await simulate(only.seed, only.ops, wrap)).violations.map(({ rule }) => rule);
  for (let seed = 1; seed <= seeds; seed += 1) {
    const { violations } = await simulate(seed, opsOf(seed, 60), wrap);
    for (const { rule } of violations) rules.add(rule);
    if (wanted.some((rule) => rules.has(rule))) break;
  }
  return [...rules];
}

/** A journal with some of its methods replaced. */
function journalWith(inner: Journal, over: Partial<Journal>): Journal {
  return new Proxy(inner, {
    get(target, name) {
      const own: unknown = Reflect.get(over, name) ?? Reflect.get(target, name);
      return typeof own === 'function' ? own.bind(Reflect.has(over, name) ? over : target) : own;
    },
  });
}

function hostWith(inner: SessionHost, over: Partial<SessionHost>): SessionHost {
  return {
    command: (command) => inner.command(command),
    subscribe: (session, cursor, subscriber) => inner.subscribe(session, cursor, subscriber),
    view: (session) => inner.view(session),
    messages: (session, before, limit) => inner.messages(session, before, limit),
    list: (limit) => inner.list(limit),
    asset: (session, name) => inner.asset(session, name),
    transcript: (session) => inner.transcript(session),
    ...over,
  };
}

/** Acks an entry at once and stores it when the disk gets to it: what a crash meets in between is lost. */
function eagerJournal(inner: Journal): Journal {
  let before: Promise<unknown> = Promise.resolve();
  return journalWith(inner, {
    append: (session: string, expected: number, entry: Entry) => {
      before = before.then(() => inner.append(session, expected, entry)).catch(() => undefined);
      return Promise.resolve(expected + entry.records.length);
    },
    head: async (session) => {
      await before;
      return inner.head(session);
    },
  });
}

/** Says that what a full disk has refused is stored. */
function lyingJournal(inner: Journal): Journal {
  return journalWith(inner, {
    append: (session: string, expected: number, entry: Entry) =>
      inner.append(session, expected, entry).catch((error: unknown) => {
        if (error instanceof JournalError && error.code === 'full') return expected + entry.records.length;
        throw error;
      }),
  });
}

function forgetfulJournal(inner: Journal): Journal {
  return journalWith(inner, { command: () => Promise.resolve(undefined) });
}

/** Loses one frame of twenty for each subscriber. */
function skippingHost(inner: SessionHost): SessionHost {
  let count = 0;
  return hostWith(inner, {
    subscribe: (session, cursor, subscriber) =>
      inner.subscribe(session, cursor, {
        push: (batch) => {
          const kept = batch.frames.filter((frame) => frame.kind !== 'record' || (count += 1) % 20 !== 0);
          if (kept.length > 0) subscriber.push(new Batch(kept));
        },
      }),
  });
}

/** Everything to everybody as soon as it is asked to be stored, and nothing twice. */
function hastyHost(inner: SessionHost): SessionHost {
  return hostWith(inner, {
    command: async (command) => {
      const view = await inner.view(command.session);
      const answer = inner.command(command);
      if ('refused' in view) return answer;
      // The ack that is to come, told before anything is stored.
      if (
        command.type === 'message.add' &&
        command.role === 'user' &&
        command.message === undefined &&
        command.ifGeneration === undefined
      )
        return {
          type: 'ack',
          id: command.id,
          session: command.session,
          seq: view.view.seq + 1,
          message: 'soon',
          duplicate: false,
        };
      return answer;
    },
  });
}

/** A stage that takes any failure of its provider for "nothing new". */
function forgivingPanes(panes: PaneDefinition[]): PaneDefinition[] {
  const forgive = (stage: Stage): Stage => ({
    name: stage.name,
    run: async (context) => {
      try {
        return await stage.run(context);
      } catch (error) {
        if (error instanceof ProviderError) return { outcome: 'unchanged' };
        throw error;
      }
    },
  });
  return panes.map((pane) => {
    const [first, ...rest] = pane.stages;
    return { ...pane, stages: [forgive(first), ...rest.map(forgive)] };
  });
}

/** First come, first served. */
function fairLimits(inner: Limits): Limits {
  return {
    ...inner,
    acquire: (request, signal, onWait) =>
      inner.acquire({ ...request, priority: request.priority === 0 ? 9 : 0 }, signal, onWait),
  };
}

/** Waits with each answer until the panes are at rest. */
function patientHost(inner: SessionHost, busy: () => boolean, later: (fn: () => void) => void): SessionHost {
  const rest = async (): Promise<void> => {
    while (busy()) await new Promise<void>((resolve) => later(resolve));
  };
  return hostWith(inner, {
    command: async (command: Command) => {
      const answer = await inner.command(command);
      await rest();
      return answer;
    },
  });
}

const mutants: {
  what: string;
  wrap: Wrap;
  session?: string;
  tasks?: string;
  only?: { seed: number; ops: Op[] };
  by: string[];
}[] = [
  { what: '[T45] tasks that go on after they were stopped', wrap: {}, tasks: 'unstopped', by: ['T45'] },
  {
    what: '[T27] tasks that are on record later than the text that has asked for them',
    wrap: {},
    tasks: 'later',
    by: ['T27', 'T68'],
  },
  {
    what: '[T68] tasks that are found again after a restart',
    wrap: {},
    tasks: 'again',
    only: {
      seed: 1_097,
      ops: [
        { op: 'stream', s: 0, role: 'assistant' },
        { op: 'delta', s: 0, pick: 7, how: 'stars', ack: false },
        {
          op: 'tasks',
          s: 0,
          via: 0,
          tasks: [{ id: 't02' }, { id: 't10' }, { id: 't20' }, { id: 't32', after: ['t21'] }],
        },
        { op: 'advance', ms: 200 },
        { op: 'unknown', stored: true },
        { op: 'open', s: 0 },
      ],
    },
    by: ['T68', 'T49', 'T28'],
  },
  { what: '[T50] a run that does not hear that its message has ended', wrap: {}, tasks: 'unfinished', by: ['P1'] },
  { what: '[T46] tasks that begin in a paused pane', wrap: {}, tasks: 'restless', by: ['T46'] },
  { what: '[T48] two tasks that write one part at the same time', wrap: {}, tasks: 'keyless', by: ['T48'] },
  { what: '[T68] a recovery that drops the runs in line', wrap: {}, tasks: 'queueless', by: ['P1', 'T49'] },
  { what: 'a journal that acks before it stores', wrap: { journal: eagerJournal }, by: ['P4', 'P5'] },
  { what: 'an ack for an append that a full disk has refused', wrap: { journal: lyingJournal }, by: ['P4', 'P5'] },
  { what: 'an ack before anything is stored', wrap: { host: hastyHost }, by: ['P4'] },
  { what: 'a journal that forgets the ids of commands', wrap: { journal: forgetfulJournal }, by: ['P4'] },
  { what: 'a subscription that skips a record', wrap: { host: skippingHost }, by: ['order'] },
  { what: 'a subscription that shows a record before it is stored', wrap: {}, session: 'hasty', by: ['P5'] },
  { what: 'stages that report after they were stopped', wrap: {}, session: 'late', by: ['P2', 'P7'] },
  { what: 'a start that forgets interrupted runs', wrap: {}, session: 'forgets', by: ['P1'] },
  {
    what: 'a provider that never hears of an abort',
    wrap: {
      text: (text) => ({
        host: text.host,
        engine: (stage) => text.engine(stage),
        stream: (request, _signal, report) => text.stream(request, new AbortController().signal, report),
      }),
    },
    by: ['P7'],
  },
  { what: 'a pane that takes a failure for "nothing new"', wrap: { panes: forgivingPanes }, by: ['P8'] },
  { what: 'limits without priorities', wrap: { limits: fairLimits }, by: ['P9'] },
  {
    what: 'answers that wait for the panes',
    wrap: {
      host: (host, world) =>
        patientHost(
          host,
          () => world.calls.some(({ endMs }) => endMs === null),
          (fn) => world.clock.setTimeout(fn, 10),
        ),
    },
    by: ['P9'],
  },
  {
    what: 'a timer that is left behind',
    wrap: {
      clock: (clock) => ({
        now: () => clock.now(),
        setTimeout: (fn, ms) => {
          if (ms === passivateAfterMs / 4) clock.setTimeout(() => undefined, 86_400_000);
          return clock.setTimeout(fn, ms);
        },
        clearTimeout: (timer) => clock.clearTimeout(timer),
        defer: (fn) => clock.defer(fn),
      }),
    },
    by: ['leak'],
  },
];

describe('the checkers can fail', () => {
  it.each(mutants)(
    '$what',
    async ({ wrap, session, tasks, only, by }) => {
      sabotage.session = session ?? '';
      sabotage.tasks = tasks ?? '';
      const rules = await caughtBy(wrap, by, only);
      expect(
        rules.filter((rule) => by.includes(rule)).length,
        `caught by ${rules.join(', ') || 'nobody'}`,
      ).toBeGreaterThan(0);
    },
    60_000,
  );
});
