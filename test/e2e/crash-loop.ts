/**
 * Many clients work on a few sessions while the server process is killed (SIGKILL) again and again at random instants; afterwards everything
 * that anybody saw is checked against everything that is there. Run by scripts/crash.ts and crash-loop.test.ts.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { View } from '../../src/protocol/view.ts';
import { check, type Evidence, type Sent } from './crash-check.ts';
import { allPanes, scriptModel, think } from './crash-load.ts';
import { advance, finish, tale, type AppStream } from './crash-stream.ts';
import { configFor, startModelServer, type ModelServer } from './model-server.ts';
import { start, startServer, type ServerProcess } from './process.ts';
import { randomFrom } from './random.ts';
import { isQuiet, nothingSeen, Wire, type Asked, type Seen } from './wire.ts';

/** What one run does. */
export interface CrashOptions {
  kills: number;
  seed: number;
  /** Default 3. */
  sessions?: number;
  /** Clients of each session. Default 2. */
  clients?: number;
  /** Longest life of a server before its kill, ms. Default 600. */
  lifeMs?: number;
  /** Longest wait for all panes to end at the end, ms. Default 60,000. */
  quietMs?: number;
  say?: (line: string) => void;
}

/** What a run has done, and what it found wrong. */
export interface CrashReport {
  kills: number;
  early: number;
  starts: number[];
  sent: number;
  acked: number;
  repeated: number;
  records: number;
  runs: number;
  /** Messages that apps have streamed, tasks that were begun, parts that were made. */
  streams: number;
  tasks: number;
  parts: number;
  logged: readonly string[];
  violations: readonly string[];
}

/** Runs the loop and checks. Rejects only when the machinery itself fails (a server that does not start). */
export async function crashLoop(options: CrashOptions): Promise<CrashReport> {
  const data = mkdtempSync(join(tmpdir(), 'mullion-crash-'));
  const model = await startModelServer();
  const world = new World(options, data, model);
  try {
    return await world.run();
  } finally {
    await world.stop();
    await model.close().catch(() => undefined);
    rmSync(data, { recursive: true, force: true });
  }
}

class World {
  readonly #options: CrashOptions;
  readonly #data: string;
  readonly #config: string;
  readonly #random: () => number;
  readonly #sent: Sent[] = [];
  readonly #contradictions: string[] = [];
  readonly #logged: string[] = [];
  readonly #starts: number[] = [];
  #early = 0;
  #streams = 0;
  #repeated = 0;
  #server: ServerProcess | undefined;
  /** Resolves with the next server that listens. */
  #next = deferred<ServerProcess>();
  /** Clients make new commands. */
  #producing = true;
  #over = false;

  constructor(options: CrashOptions, data: string, model: ModelServer) {
    this.#options = options;
    this.#data = data;
    this.#random = randomFrom(options.seed);
    this.#config = join(data, 'crash.config.json');
    const panes = {
      reply: { retries: 1 },
      history: { debounceMs: 5, debounceMaxMs: 200, retries: 1 },
      scene: { debounceMs: 5, debounceMaxMs: 200, retries: 1 },
      illustrations: { enabled: true, retries: 1 },
      chapters: { enabled: true, retries: 1 },
    };
    writeFileSync(
      this.#config,
      JSON.stringify(configFor(model, { panes, limits: { hosts: { [model.origin]: { concurrency: 64 } } } })),
    );
    scriptModel(model, this.#random);
  }

  async run(): Promise<CrashReport> {
    const { kills, sessions = 3, clients = 2, lifeMs = 600, quietMs = 60_000, say = () => undefined } = this.#options;
    const names = Array.from({ length: sessions }, (_, index) => `crash-${index}`);
    let server = await this.#up();
    for (const name of names) {
      const wire = await Wire.open(server.ws, name);
      await wire.ack({ type: 'session.open' });
      wire.close();
    }
    const followers = names.flatMap((session) =>
      Array.from({ length: clients }, () => ({ session, seen: nothingSeen() })),
    );
    // Everybody has the first snapshot, so that all records are seen by all.
    for (const { session, seen } of followers) (await Wire.follow(server.ws, session, { seen })).close();
    const work = followers.map(({ session, seen }, index) => this.#client(`c${index}`, session, seen));
    for (let n = 1; n <= kills; n += 1) {
      await after(this.#random() ** 2 * lifeMs);
      await this.#kill(server);
      if (this.#random() < 0.15) await this.#killEarly();
      server = await this.#up();
      if (n % 10 === 0) say(`${n} kills, ${this.#sent.filter(({ ack }) => ack !== undefined).length} commands acked`);
    }
    this.#producing = false;
    const rest = after(quietMs, 'late' as const, { ref: false });
    const ended = await Promise.race([Promise.all(work), rest]);
    this.#over = true;
    if (ended === 'late') this.#next.resolve(server);
    const views = Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await viewOf(server.url, name)] as const)),
    );
    const evidence: Evidence = {
      sent: this.#sent,
      followers,
      views,
      restless: names.flatMap((name) => restless(name, views[name])),
      contradictions: this.#contradictions,
    };
    const { code } = await server.end('SIGTERM');
    this.#readLog(server);
    const last = code === 0 ? [] : [`the last server ended with ${code ?? 'a signal'} on SIGTERM, expected 0 [R12]`];
    return this.#report([...check(evidence), ...last], followers);
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#server?.end('SIGKILL');
  }

  #report(violations: string[], followers: Evidence['followers']): CrashReport {
    const firsts = new Map(followers.map(({ session, seen }) => [session, seen.records]));
    const records = [...firsts.values()].flat();
    return {
      kills: this.#options.kills,
      early: this.#early,
      starts: this.#starts,
      sent: this.#sent.length,
      acked: this.#sent.filter(({ ack }) => ack !== undefined).length,
      repeated: this.#repeated,
      records: records.length,
      runs: new Set(records.flatMap((record) => (record.type === 'pane.phase' ? [record.run] : []))).size,
      streams: this.#streams,
      tasks: new Set(records.flatMap((record) => ('tasks' in record ? (record.tasks ?? []).map(({ id }) => id) : [])))
        .size,
      parts: records.filter(({ type }) => type === 'pane.content').length,
      logged: this.#logged,
      violations,
    };
  }

  async #up(): Promise<ServerProcess> {
    const server = await startServer({ data: this.#data, args: ['--config', this.#config, '--log-level', 'warn'] });
    this.#server = server;
    this.#starts.push(Math.round(server.startMs));
    const { resolve } = this.#next;
    this.#next = deferred<ServerProcess>();
    resolve(server);
    return server;
  }

  async #kill(server: ServerProcess): Promise<void> {
    this.#server = undefined;
    await server.end('SIGKILL');
    this.#readLog(server);
  }

  /** A process that dies while it starts, recovers, or says that it listens. */
  async #killEarly(): Promise<void> {
    this.#early += 1;
    const starting = start({
      args: ['serve', '--port', '0', '--data', this.#data, '--config', this.#config],
      cwd: this.#data,
    });
    await after(this.#random() * 350);
    await starting.end('SIGKILL');
  }

  #readLog(server: ServerProcess): void {
    for (const line of server.stderr().split('\n'))
      if (/"level":(?:50|60)|^\s*at |Error:/.test(line)) this.#logged.push(line);
  }

  /** One client: connects, goes on from its cursor, repeats what was not answered, and thinks of something new. */
  async #client(name: string, session: string, seen: Seen): Promise<void> {
    const pending: Sent[] = [];
    let count = 0;
    /** The message that it writes as an app, in pieces between the commands. */
    let stream: AppStream | undefined;
    const another = (asked: Asked): Sent => {
      const one = { session, command: { ...asked, id: `${name}-${count}` }, sends: 0 };
      count += 1;
      this.#sent.push(one);
      return one;
    };
    while (!this.#over) {
      const server = this.#server ?? (await this.#next.promise);
      let last: Wire | undefined;
      try {
        const wire = await Wire.follow(server.ws, session, { seen });
        last = wire;
        while (this.#producing || pending.length > 0) {
          if (
            stream !== undefined &&
            pending.length === 0 &&
            (await advance(wire, stream, this.#random, this.#random() * 20))
          )
            stream = undefined;
          if (pending.length === 0 && stream === undefined && this.#random() < 0.3) {
            const message = `tale-${name}-${count}`;
            const opening = another({ type: 'message.add', role: 'assistant', text: '', message, final: false });
            pending.push(opening);
            stream = { message, text: tale(`${name}-${count}`, this.#random), opening };
            this.#streams += 1;
          }
          if (pending.length === 0)
            for (let n = this.#random() * 3; n > 0; n -= 1)
              pending.push(another(think(this.#random, `${name}-${count}`, wire.current, this.#sentIn(session))));
          await Promise.all(pending.map((one) => this.#deliver(wire, one)));
          for (const one of pending.splice(0))
            if (one.ack === undefined && one.refused === undefined) pending.push(one);
          if (this.#random() < 0.1) await this.#repeat(wire, session);
          if (this.#random() < 0.03) wire.cut();
          await Promise.race([after(this.#random() * 60), wire.closed]);
        }
        if (stream !== undefined) await finish(wire, stream, this.#random);
        stream = undefined;
        for (const pane of allPanes) await wire.ack({ type: 'pane.resume', pane });
        // Until everybody has stopped: somebody else may still say something.
        await wire.view((view) => isQuiet(view));
        await this.#settled(wire, session);
        return;
      } catch (error) {
        if (this.#server === server && !(await isOver(last))) {
          this.#contradictions.push(`${session} ${name}: ${error instanceof Error ? error.message : String(error)}`);
          return;
        }
      } finally {
        last?.cut();
      }
    }
  }

  /** All commands of the session are answered, all is quiet, and this client is at the head. */
  async #settled(wire: Wire, session: string): Promise<void> {
    for (;;) {
      const answered = this.#sent.every(
        (one) => one.session !== session || one.ack !== undefined || one.refused !== undefined,
      );
      const { seq } = await viewOf((await this.#current()).url, session);
      if (answered && wire.current.seq === seq && isQuiet(wire.current)) return;
      await Promise.race([after(20), wire.closed]);
      await wire.view((view) => isQuiet(view));
    }
  }

  #sentIn(session: string): Sent[] {
    return this.#sent.filter((one) => one.session === session);
  }

  #current(): Promise<ServerProcess> {
    return this.#server === undefined ? this.#next.promise : Promise.resolve(this.#server);
  }

  async #deliver(wire: Wire, one: Sent): Promise<void> {
    if (one.sends > 0) this.#repeated += 1;
    one.sends += 1;
    const answer = await wire.command(one.command);
    if (answer.type === 'ack') one.ack = answer;
    else if (!answer.error.retryable) {
      one.refused = `${answer.error.code} ${answer.error.message}`;
      if (/was used for another command/.test(one.refused))
        this.#contradictions.push(`${one.command.id}: ${one.refused}`);
    }
  }

  /** Sends a command again that has long been acked: the same answer is due. */
  async #repeat(wire: Wire, session: string): Promise<void> {
    const acked = this.#sent.filter((one) => one.session === session && one.ack !== undefined);
    const one = acked[Math.floor(this.#random() * acked.length)];
    if (one?.ack === undefined) return;
    this.#repeated += 1;
    const answer = await wire.command(one.command);
    if (answer.type === 'error' && answer.error.retryable) return;
    if (
      !isDeepStrictEqual({ ...answer, duplicate: true }, { ...one.ack, duplicate: true }) ||
      (answer.type === 'ack' && answer.duplicate !== true)
    )
      this.#contradictions.push(
        `${one.command.id} again: ${JSON.stringify(answer)}, first ${JSON.stringify(one.ack)} [P4]`,
      );
  }
}

/** What of a session is not at rest. */
function restless(session: string, view: View | undefined): string[] {
  if (view !== undefined && isQuiet(view)) return [];
  const panes = Object.entries(view?.panes ?? {}).map(
    ([name, { phase, run, covers, paused, queued }]) =>
      `${name} ${phase} run ${run ?? '-'} covers ${covers ?? '-'}${paused ? ' paused' : ''}${queued.length > 0 ? ' queued' : ''}`,
  );
  return [`${session}: not at rest, transcript ${view?.transcript ?? '?'}: ${panes.join('; ')} [P6]`];
}

async function isOver(wire: Wire | undefined): Promise<boolean> {
  if (wire === undefined) return true;
  return Promise.race([wire.closed.then(() => true), after(50, false)]);
}

async function viewOf(url: string, session: string): Promise<View> {
  const response = await fetch(`${url}/v1/sessions/${session}`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the server under test; what it says is compared with the fold
  return ((await response.json()) as { view: View }).view;
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
