import * as fc from 'fast-check';
import { describe, test } from 'vitest';
import { changed } from '../../src/server/limits/host-limit.ts';
import {
  createLimits,
  type HostLimit,
  type HostLimitChange,
  type Limits,
  type Slot,
} from '../../src/server/limits/limits.ts';
import { windowMs } from '../../src/server/limits/rate-window.ts';
import { seed } from '../support/seed.ts';
import { SimClock, simStartMs } from '../support/sim-clock.ts';

const host = 'http://127.0.0.1:11434';

type Step =
  | { do: 'call'; session: string; pane: string; safe: boolean }
  | { do: 'release' | 'abort' | 'drain' | 'prioritize' | 'settle'; pick: number }
  | { do: 'advance'; ms: number }
  | { do: 'spend'; pick: number; tokens: number }
  | { do: 'jump'; ms: number }
  | { do: 'change'; values: HostLimitChange };

const pick = fc.nat(1000);
const call = fc.record({
  do: fc.constant('call' as const),
  session: fc.constantFrom('a', 'b', 'c', 'd'),
  pane: fc.constantFrom('reply', 'history', 'scene', 'other'),
  safe: fc.boolean(),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: call, weight: 6 },
  {
    arbitrary: fc.record({
      do: fc.constantFrom(
        'release' as const,
        'release' as const,
        'abort' as const,
        'drain' as const,
        'prioritize' as const,
        'settle' as const,
      ),
      pick,
    }),
    weight: 6,
  },
  { arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(1, 60, 250, 20_000) }), weight: 3 },
  { arbitrary: fc.record({ do: fc.constant('spend' as const), pick, tokens: fc.nat(40) }), weight: 1 },
  {
    arbitrary: fc.record({ do: fc.constant('jump' as const), ms: fc.integer({ min: -100_000, max: 100_000 }) }),
    weight: 1,
  },
  {
    arbitrary: fc.record({
      do: fc.constant('change' as const),
      values: fc.record(
        {
          concurrency: fc.integer({ min: 1, max: 4 }),
          minIntervalMs: fc.constantFrom(0, 50, 400),
          requestsPerMinute: fc.constantFrom(null, 2, 5),
          tokensPerMinute: fc.constantFrom(null, 50),
        },
        { requiredKeys: [] },
      ),
    }),
    weight: 1,
  },
);

interface Ask {
  id: number;
  session: string;
  pane: string;
  priority: number;
  safe: boolean;
  controller: AbortController;
  state: 'waiting' | 'running' | 'draining' | 'over';
  /** Allowed to overtake its session's calls. */
  moved: boolean;
  slot: Slot | undefined;
}

const rank: { readonly [pane: string]: number } = { reply: 0, history: 1, scene: 2, other: 3 };

/** One host under any steps, and what must hold at each of its starts. */
class Trial {
  readonly clock = new SimClock();
  readonly limits: Limits;
  readonly asks: Ask[] = [];
  /** What did not hold: whoever is called by the limits must not throw. */
  readonly violations: string[] = [];
  limit: HostLimit;
  #jumpedMs = 0;
  /** Steady times. */
  #starts: number[] = [];
  #counted: number[] = [];
  #spent: { atMs: number; tokens: number }[] = [];
  /** By priority and waiting session: turns of the others since it began to wait, or had one. */
  readonly #turns = new Map<string, Map<string, number>>();

  constructor(limit: HostLimit) {
    this.limit = limit;
    this.limits = createLimits(
      { hosts: { [host]: limit }, observe: ({ pane }) => this.#started(Number(pane)) },
      this.clock,
    );
  }

  get load() {
    return this.limits.snapshot()[host];
  }

  in(...states: Ask['state'][]): Ask[] {
    return this.asks.filter(({ state }) => states.includes(state));
  }

  ask(session: string, pane: string, safe: boolean, yielded = false): void {
    const ask: Ask = {
      id: this.asks.length,
      session,
      pane,
      priority: rank[pane] ?? 3,
      safe,
      controller: new AbortController(),
      state: 'waiting',
      moved: yielded,
      slot: undefined,
    };
    const key = `${ask.priority}/${session}`;
    if (!this.#turns.has(key)) this.#turns.set(key, new Map());
    this.asks.push(ask);
    // The call goes under its number for a pane: `observe` tells no more of it.
    const request = { host, priority: ask.priority, session, pane: String(ask.id), tag: 'tag', yielded };
    this.limits.acquire({ ...request, mayYield: () => safe }, ask.controller.signal).then(
      (slot) => {
        ask.slot = slot;
        slot.yielded.addEventListener('abort', () => this.#yielded(ask));
        if (slot.yielded.aborted) this.#yielded(ask);
      },
      () => this.over(ask),
    );
  }

  over(ask: Ask): void {
    ask.state = 'over';
    this.#forgetTurns(ask);
  }

  spend(ask: Ask | undefined, tokens: number): void {
    if (ask?.slot === undefined) return;
    if (this.limit.tokensPerMinute !== null) this.#spent.push({ atMs: this.#nowMs(), tokens });
    ask.slot.spent(tokens);
  }

  jump(ms: number): void {
    this.#jumpedMs += ms;
    this.clock.jump(ms);
  }

  change(values: HostLimitChange): void {
    this.limit = changed(this.limit, values);
    // What came before there was a rate is not counted.
    if (this.limit.requestsPerMinute === null) this.#counted = [];
    if (this.limit.tokensPerMinute === null) this.#spent = [];
    this.limits.change(host, values);
  }

  /** Where nothing else holds them back, replies have got all the slots that could be taken back. */
  checkReplies(): void {
    const { minIntervalMs, requestsPerMinute, tokensPerMinute, concurrency } = this.limit;
    if (minIntervalMs > 0 || requestsPerMinute !== null || tokensPerMinute !== null) return;
    const running = this.in('running');
    const waiting = this.in('waiting').filter(({ priority }) => priority === 0).length;
    const could = running.find(({ priority, safe }) => priority > 0 && safe);
    if (could !== undefined && running.length <= concurrency && waiting > concurrency - running.length)
      this.#wrong(`${waiting} replies wait while ${could.id} could have yielded`);
  }

  #wrong(what: string): void {
    this.violations.push(what);
  }

  #nowMs(): number {
    return this.clock.now() - simStartMs - this.#jumpedMs;
  }

  #yielded(ask: Ask): void {
    if (ask.state !== 'running') this.#wrong(`${ask.id} was taken back and did not run`);
    if (ask.priority === 0 || !ask.safe) this.#wrong(`${ask.id} was taken back and may not yield`);
    const replies = this.in('waiting').filter(({ priority }) => priority === 0).length;
    // The victim still counts as running here.
    const free = this.limit.concurrency - this.in('running').length;
    if (replies <= free)
      this.#wrong(`${ask.id} was taken back for nobody: ${replies} replies wait, ${free} slots come`);
    const other = this.in('running').find(({ safe, priority }) => safe && priority > ask.priority);
    if (other !== undefined) this.#wrong(`${ask.id} was taken back before the less urgent ${other.id}`);
    ask.state = 'draining';
  }

  #started(id: number): void {
    const ask = this.asks[id];
    if (ask?.state !== 'waiting') return this.#wrong(`${id} started, and was ${ask?.state ?? 'never asked for'}`);
    ask.state = 'running';
    this.#checkPace();
    this.#checkOrder(ask);
    this.#checkTurns(ask);
  }

  #checkPace(): void {
    const { concurrency, minIntervalMs, requestsPerMinute, tokensPerMinute } = this.limit;
    const nowMs = this.#nowMs();
    const load = this.load;
    if (
      this.in('running', 'draining').length > concurrency ||
      (load?.running ?? 0) + (load?.draining ?? 0) > concurrency
    )
      this.#wrong(`${load?.running} running, ${load?.draining} draining, allowed ${concurrency}`);
    const sinceMs = nowMs - (this.#starts.at(-1) ?? -Infinity);
    if (sinceMs < minIntervalMs) this.#wrong(`${sinceMs} ms after the start before, allowed ${minIntervalMs}`);
    this.#starts.push(nowMs);
    if (requestsPerMinute !== null) {
      this.#counted.push(nowMs);
      const starts = this.#counted.filter((atMs) => atMs > nowMs - windowMs).length;
      if (starts > requestsPerMinute) this.#wrong(`${starts} starts in a minute, allowed ${requestsPerMinute}`);
    }
    let tokens = 0;
    for (const spent of this.#spent) if (spent.atMs > nowMs - windowMs) tokens += spent.tokens;
    if (tokensPerMinute !== null && tokens >= tokensPerMinute)
      this.#wrong(`a start after ${tokens} tokens in a minute, allowed ${tokensPerMinute}`);
  }

  #checkOrder(ask: Ask): void {
    for (const other of this.in('waiting')) {
      if (other.priority < ask.priority) this.#wrong(`${ask.id} started while the more urgent ${other.id} waits`);
      const own = other.session === ask.session && other.priority === ask.priority;
      if (own && other.id < ask.id && !ask.moved) this.#wrong(`${ask.id} overtook ${other.id} of its session`);
    }
  }

  /** Nobody has a second turn while another session of the priority waits for its first. */
  #checkTurns(ask: Ask): void {
    for (const [key, turns] of this.#turns) {
      if (!key.startsWith(`${ask.priority}/`) || key === `${ask.priority}/${ask.session}`) continue;
      const count = (turns.get(ask.session) ?? 0) + 1;
      if (count > 1) this.#wrong(`turn ${count} of ${ask.session} while ${key} waits for one`);
      turns.set(ask.session, count);
    }
    this.#turns.set(`${ask.priority}/${ask.session}`, new Map());
    this.#forgetTurns(ask);
  }

  #forgetTurns({ priority, session }: Ask): void {
    const waits = this.in('waiting').some((other) => other.priority === priority && other.session === session);
    if (!waits) this.#turns.delete(`${priority}/${session}`);
  }
}

function take(trial: Trial, step: Step): void {
  const of = (asks: Ask[], number: number): Ask | undefined => asks[number % Math.max(1, asks.length)];
  switch (step.do) {
    case 'call':
      return trial.ask(step.session, step.pane, step.safe);
    case 'release': {
      const ask = of(
        trial.in('running').filter(({ slot }) => slot !== undefined),
        step.pick,
      );
      if (ask === undefined) return;
      trial.over(ask);
      return ask.slot?.release();
    }
    case 'drain': {
      const ask = of(
        trial.in('running').filter(({ slot }) => slot !== undefined),
        step.pick,
      );
      if (ask === undefined) return;
      ask.state = 'draining';
      return ask.slot?.drain();
    }
    case 'settle': {
      const ask = of(trial.in('draining'), step.pick);
      if (ask === undefined) return;
      trial.over(ask);
      ask.slot?.release();
      return ask.slot?.yielded.aborted === true ? trial.ask(ask.session, ask.pane, ask.safe, true) : undefined;
    }
    case 'abort': {
      const ask = of(trial.in('waiting'), step.pick);
      if (ask === undefined) return;
      trial.over(ask);
      return ask.controller.abort(new Error('superseded'));
    }
    case 'prioritize': {
      const ask = of(trial.in('waiting'), step.pick);
      if (ask === undefined) return;
      ask.moved = true;
      if (!trial.limits.prioritize(ask.session, String(ask.id), 'tag')) throw new Error(`${ask.id} was not found`);
      return;
    }
    case 'spend':
      return trial.spend(of(trial.in('running', 'draining'), step.pick), step.tokens);
    case 'change':
      return trial.change(step.values);
    case 'jump':
      return trial.jump(step.ms);
    case 'advance':
  }
}

describe('[Q1] [Q2] [Q3] [Q4] [Q5] [Q6] any arrivals, ends, aborts, drains, changes', () => {
  test('every start is within the limits and in order, and no call is lost or started twice', async () => {
    const limit: fc.Arbitrary<HostLimit> = fc.record({
      concurrency: fc.integer({ min: 1, max: 4 }),
      minIntervalMs: fc.constantFrom(0, 0, 70),
      requestsPerMinute: fc.constantFrom(null, null, 4),
      tokensPerMinute: fc.constantFrom(null, null, 60),
    });
    const property = fc.asyncProperty(limit, fc.array(step, { maxLength: 80 }), async (first, steps) => {
      const trial = new Trial(first);
      for (const one of steps) {
        take(trial, one);
        await (one.do === 'advance' ? trial.clock.advance(one.ms) : trial.clock.settle());
        trial.checkReplies();
        if (trial.violations.length > 0) throw new Error(trial.violations.join('; '));
        const { running = 0, draining = 0, waiting = 0 } = trial.load ?? {};
        const counted = [running, draining, waiting].join();
        const seen = [trial.in('running').length, trial.in('draining').length, trial.in('waiting').length].join();
        if (counted !== seen) throw new Error(`counted ${counted} running, draining, waiting; there are ${seen}`);
      }
      trial.change({ minIntervalMs: 0, requestsPerMinute: null, tokensPerMinute: null });
      await trial.clock.settle();
      for (let open = trial.in('running', 'draining'); open.length > 0; open = trial.in('running', 'draining')) {
        for (const ask of open) {
          trial.over(ask);
          ask.slot?.release();
        }
        await trial.clock.settle();
      }
      if (trial.violations.length > 0) throw new Error(trial.violations.join('; '));
      const lost = trial.asks.filter(({ state }) => state !== 'over').map(({ id }) => id);
      if (lost.length > 0) throw new Error(`never started: ${lost.join()}`);
      await trial.clock.advance(2 * windowMs);
      if (trial.clock.pending > 0) throw new Error(`${trial.clock.pending} timers are left`);
    });
    // fast-check prints the seed and the shrunk steps of a failure; SEED=… repeats it.
    await fc.assert(property, { seed, numRuns: 500 });
  });
});
