import type { Command } from '../../src/protocol/commands.ts';
import type { AckFrame } from '../../src/protocol/frames.ts';
import { isUnfinished } from '../../src/machines/derive.ts';
import { checkClients, checkWorld } from './checkers.ts';
import { plan, type Op } from './plan.ts';
import { asking } from '../server/sessions/task-pane.ts';
import { Random } from './random.ts';
import { paneNames, passivateAfterMs, sessionNames, World, type Violation, type Wrap } from './world.ts';

/** What a simulation has come to. */
export interface Outcome {
  seed: number;
  ops: Op[];
  violations: Violation[];
  records: number;
  calls: number;
  virtualMs: number;
}

/** The operations of a seed. */
export function opsOf(seed: number, count: number): Op[] {
  return plan(new Random(seed).fork('plan'), count);
}

/** Runs the operations against a fresh world, lets it come to rest, and checks everything. */
export async function simulate(seed: number, ops: Op[], wrap: Wrap = {}): Promise<Outcome> {
  const world = new World(seed, wrap);
  const driver = new Driver(world);
  await driver.open();
  for (const op of ops) await driver.apply(op);
  await driver.rest();
  const violations = [...checkWorld(world, true), ...checkClients(world)];
  await driver.leave();
  violations.push(...world.violations.filter((violation) => !violations.includes(violation)));
  return {
    seed,
    ops,
    violations,
    records: world.truth.lives.reduce((sum, life) => sum + life.records.length, 0),
    calls: world.calls.length,
    virtualMs: world.steady.ms,
  };
}

/** The smallest part of the operations that still fails, by leaving out ever smaller pieces. */
export async function shrink(seed: number, ops: Op[], wrap: Wrap = {}): Promise<Op[]> {
  let left = ops;
  for (let size = Math.ceil(left.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < left.length;) {
      const fewer = [...left.slice(0, at), ...left.slice(at + size)];
      const { violations } = await simulate(seed, fewer, wrap);
      if (violations.length > 0) left = fewer;
      else at += size;
    }
  }
  return left;
}

/** A failed simulation in words: the seed, the operations, what was found. */
export function explain({ seed, ops, violations }: Outcome): string {
  const lines = violations.slice(0, 12).map(({ rule, what }) => `  ${rule}: ${what}`);
  return [
    `seed ${seed}, ${violations.length} violations:`,
    ...lines,
    'operations:',
    ...ops.map((op) => `  ${JSON.stringify(op)},`),
  ].join('\n');
}

/** Carries operations out. */
class Driver {
  readonly #world: World;
  /** Text that an app has sent of each message that it streams. */
  readonly #streams = new Map<string, { session: string; text: string }>();

  constructor(world: World) {
    this.#world = world;
  }

  async open(): Promise<void> {
    for (const session of sessionNames) this.#send({ type: 'session.open', session, id: this.#world.name('k') });
    await this.#world.clock.advance(60);
    for (const client of this.#world.raw) await client.connect('none');
    await this.#world.clock.advance(60);
  }

  async apply(op: Op): Promise<void> {
    const world = this.#world;
    switch (op.op) {
      case 'advance':
        return world.clock.advance(op.ms);
      case 'attach':
        void world.raw[op.who]?.connect(op.from);
        return;
      case 'drop':
        world.raw[op.who]?.drop();
        return;
      case 'resync':
        world.raw[op.who]?.resync();
        return;
      case 'fall':
        world.stores[op.who % 2]?.fall();
        return;
      case 'reload':
        world.stores[op.who % 2]?.restart();
        return;
      case 'crash':
        await world.crash();
        await world.clock.advance(op.downMs);
        world.start();
        return;
      case 'stop':
        await world.stop(op.graceMs);
        await world.clock.advance(op.downMs);
        world.start();
        return;
      case 'full':
        world.setFull(true);
        await world.clock.advance(op.ms);
        world.setFull(false);
        return;
      case 'unknown':
        world.disturbed();
        world.memory.failNext('unknown_outcome', { stored: op.stored });
        return;
      case 'jump':
        world.disturbed();
        world.steady.jump(op.ms);
        return;
      case 'limits':
        return world.changeLimits({ concurrency: op.concurrency, minIntervalMs: op.minIntervalMs });
      case 'retry':
        return this.#retry(op);
      default:
        this.#command(op);
    }
  }

  /** Heals everything, brings everybody back, repeats what had no answer, and waits until nothing goes on any more. */
  async rest(): Promise<void> {
    const world = this.#world;
    world.setFull(false);
    await world.clock.advance(4_000);
    for (const sent of world.sent.filter(({ answer, process }) => answer === null && process !== 0))
      world.send(sent.command);
    for (let i = 0; i < 80; i += 1) {
      await world.clock.advance(2_000);
      for (const client of world.raw)
        if (!client.attached && world.truth.current(client.session) !== undefined) await this.#attach(client);
      // Nobody tells a client that somebody else has opened a deleted session again: its page is reloaded.
      for (const client of world.stores)
        if (
          client.client.getSnapshot().error?.code === 'NOT_FOUND' &&
          world.truth.current(client.session) !== undefined
        )
          client.restart();
      if (i > 8 && sessionNames.every((session) => !this.#busy(session))) break;
    }
    await world.clock.advance(2_000);
    for (const sent of world.sent) {
      if (sent.answer === null && sent.process === world.running?.number)
        world.violation('P9', `${JSON.stringify(sent.command).slice(0, 200)} has no answer`);
    }
  }

  /** Everybody goes: nothing may be left in memory, no timer, no call. */
  async leave(): Promise<void> {
    const world = this.#world;
    for (const client of world.raw) client.drop();
    for (const client of world.stores) client.close();
    await world.clock.advance(passivateAfterMs * 3);
    const { running } = world;
    if (running === null) return;
    const { liveCount } = running.sessions;
    if (liveCount > 0) world.violation('leak', `${liveCount} sessions are in memory after everybody has left`);
    if (running.clock.pending > 0)
      world.violation('leak', `${running.clock.pending} timers are set after everybody has left`);
    const open = world.calls.filter(({ endMs }) => endMs === null);
    if (open.length > 0) world.violation('leak', `call ${open[0]?.id ?? 0} of ${open[0]?.pane ?? ''} is still open`);
  }

  async #attach(client: World['raw'][number]): Promise<void> {
    const done = client.connect(client.cursor === undefined ? 'none' : 'own');
    await this.#world.clock.advance(50);
    await Promise.race([done, this.#world.clock.settle()]);
  }

  #busy(session: string): boolean {
    const life = this.#world.truth.current(session);
    return life !== undefined && isUnfinished(life.state);
  }

  async #retry(op: Extract<Op, { op: 'retry' }>): Promise<void> {
    const { sent } = this.#world;
    const old = sent.at(-1 - (op.pick % Math.max(1, sent.length)));
    if (old === undefined) return;
    if (!op.other) {
      this.#world.send(old.command);
      return;
    }
    const { id, session, type } = old.command;
    if (id === undefined || type === 'message.delta') return;
    const other = this.#world.send({ type: 'pane.cancel', session, id, pane: 'reply', run: 'another content' });
    const before = old.answer;
    if (before === null || 'refused' in before) return;
    await this.#world.clock.advance(40);
    if (other.answer !== null && !('refused' in other.answer))
      this.#world.violation('P4', `id ${id} was taken for another command`);
  }

  #command(op: Op): void {
    if (!('s' in op)) return;
    const session = sessionNames[op.s % 2] ?? 's1';
    const id = this.#world.name('k');
    const base = { session, id };
    const pane = 'pane' in op ? (paneNames[op.pane % 4] ?? 'history') : 'history';
    const state = this.#world.truth.current(session)?.state;
    switch (op.op) {
      case 'say':
        return this.#send(
          {
            ...base,
            type: 'message.add',
            role: 'user',
            text: `said ${id}`,
            ...(op.reply === undefined ? {} : { reply: op.reply }),
            ...(op.stale === true ? { ifGeneration: 0 } : {}),
          },
          op.via,
        );
      case 'answer':
        return this.#send({
          ...base,
          type: 'message.add',
          role: 'assistant',
          text: `answered ${id}${' * so'.repeat(op.stars ?? 0)}`,
        });
      case 'tasks':
        return this.#send({ ...base, type: 'pane.run', pane: 'works', input: asking(...op.tasks) }, op.via);
      case 'task':
        return this.#send({ ...base, type: `task.${op.how}`, pane: 'works', task: this.#taskOf(session, op.pick) });
      case 'works':
        return this.#works(op, base);
      case 'worksOptions':
        return this.#send({ ...base, type: 'session.open', panes: { works: op.options } });
      case 'stream': {
        const message = this.#world.name('m');
        this.#streams.set(message, { session, text: '' });
        return this.#send({ ...base, type: 'message.add', role: op.role, text: '', message, final: false });
      }
      case 'delta':
        return this.#delta(op, session, id);
      case 'edit':
      case 'remove': {
        const messages = state?.view.messages ?? [];
        const message = messages[messages.length - 1 - (op.pick % Math.max(1, messages.length))]?.id ?? 'none';
        return this.#send(
          op.op === 'edit'
            ? { ...base, type: 'message.edit', message, text: `edited ${id}` }
            : { ...base, type: 'message.remove', message },
        );
      }
      case 'run':
        return this.#send({ ...base, type: 'pane.run', pane, ...(op.via === 1 ? { input: { by: id } } : {}) }, op.via);
      case 'pause':
        return this.#send({ ...base, type: 'pane.pause', pane }, op.via);
      case 'resume':
        return this.#send({ ...base, type: 'pane.resume', pane }, op.via);
      case 'cancel':
        return this.#send({ ...base, type: 'pane.cancel', pane }, op.via);
      case 'cancelRun': {
        const run = op.past ? state?.private.panes[pane]?.past.at(-1) : state?.view.panes[pane]?.run;
        return this.#send({ ...base, type: 'pane.cancel', pane, run: run ?? 'unknown' });
      }
      case 'cancelAll':
        return this.#send({ ...base, type: 'pane.cancel' });
      case 'close':
        return this.#send({ ...base, type: 'session.close' });
      case 'delete':
        return this.#send({ ...base, type: 'session.delete' });
      case 'open':
        return this.#send({ ...base, type: 'session.open' });
      case 'options':
        return this.#send({ ...base, type: 'session.open', panes: { [pane]: op.options } });
      default:
    }
  }

  #works({ how }: Extract<Op, { op: 'works' }>, base: { session: string; id: string }): void {
    const state = this.#world.truth.current(base.session)?.state;
    const view = state?.view.panes['works'];
    if (how === 'pause' || how === 'resume') return this.#send({ ...base, type: `pane.${how}`, pane: 'works' });
    if (how === 'cancel') return this.#send({ ...base, type: 'pane.cancel', pane: 'works' });
    const run = how === 'cancelRun' ? view?.run : view?.queued[0];
    return this.#send({ ...base, type: 'pane.cancel', pane: 'works', run: run ?? 'unknown' });
  }

  #taskOf(session: string, pick: number): string {
    const state = this.#world.truth.current(session)?.state;
    const queued = (state?.private.panes['works']?.queue ?? []).flatMap(({ tasks = [] }) => tasks.map(({ id }) => id));
    const tasks = [...Object.keys(state?.view.panes['works']?.tasks ?? {}), ...queued];
    return tasks[pick % Math.max(1, tasks.length)] ?? 't00';
  }

  #delta(op: Extract<Op, { op: 'delta' }>, session: string, id: string): void {
    const mine = [...this.#streams].filter(([, stream]) => stream.session === session);
    const found = mine[mine.length - 1 - (op.pick % Math.max(1, mine.length))];
    if (found === undefined) return;
    const [message, stream] = found;
    const base = { type: 'message.delta', session, message, ...(op.ack ? { id } : {}) } as const;
    const at = stream.text.length;
    switch (op.how) {
      case 'gap':
        return this.#send({ ...base, at: at + 7, text: 'beyond' });
      case 'differs':
        return this.#send({ ...base, at: 0, text: '#another text' });
      case 'again':
        return this.#send({ ...base, at: Math.floor(at / 2), text: stream.text.slice(Math.floor(at / 2)) });
      default: {
        const text =
          op.how === 'torn'
            ? `${id} \ud83d`
            : op.how === 'end'
              ? ''
              : `${id} and so${op.how === 'stars' ? ' * and *' : ''} on. `;
        const whole = stream.text.charCodeAt(at - 1) === 0xd83d ? `\ude00${text}` : text;
        stream.text += whole;
        this.#send({ ...base, at, text: whole, ...(op.how === 'end' ? { end: true } : {}) });
      }
    }
  }

  #send(command: Command, via = 0): void {
    const client = via === 0 ? undefined : this.#world.stores.find(({ session }) => session === command.session);
    if (client === undefined) this.#world.send(command);
    else this.#world.sendVia(client, command);
  }
}

export type { AckFrame };
