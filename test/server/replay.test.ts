import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Clock } from '../../src/ports/clock.ts';
import type { Fact, PaneDeclaration, Rec } from '../../src/protocol/records.ts';
import { fold } from '../../src/protocol/fold.ts';
import { emptyView, type PaneView } from '../../src/protocol/view.ts';
import type { ReplayCommand } from '../../src/server/cli.ts';
import { type Config, resolveConfig } from '../../src/server/config/config.ts';
import { ReplayConnection } from '../../src/server/replay/replay-connection.ts';
import { hasSettled, runReplay } from '../../src/server/replay/replay.ts';
import { plain, statusLine, StatusLines } from '../../src/server/replay/status-lines.ts';

interface Frame {
  type: string;
  id: string;
  role?: string;
  text?: string;
  reply?: boolean;
  token?: string;
  panes?: object;
}

const declare = (kind: string, phases: string[]): PaneDeclaration => ({
  kind,
  phases,
  driven: kind !== 'reply',
  enabled: kind !== 'reply',
  policy: 'supersede',
  startOn: 'reply',
  replyWaitMs: 30_000,
  debounceMs: 150,
  debounceMaxMs: 2000,
  timeoutMs: 60_000,
  idleTimeoutMs: 30_000,
  retries: 2,
  maxChars: 1500,
  window: 30,
});

/** A server of one session: plays mullion.v1 by a script, on a real socket. */
class FakeServer {
  readonly got: Frame[] = [];
  view = emptyView('s');
  /** What the panes do once the last message is in. */
  ending: (server: FakeServer) => void = (server) => server.finish();
  /** Answers instead of the ordinary ones; true = done. */
  instead: (frame: Frame, server: FakeServer) => boolean = () => false;
  readonly #server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  #socket: WebSocket | undefined;
  readonly #messages: number;

  private constructor(messages: number) {
    this.#messages = messages;
    this.#server.on('connection', (socket) => {
      this.#socket = socket;
      socket.on('message', (data) => {
        const frame: Frame = JSON.parse(Buffer.isBuffer(data) ? data.toString() : '');
        this.got.push(frame);
        if (!this.instead(frame, this)) this.#answer(frame);
      });
    });
  }

  static async listen(messages: number): Promise<FakeServer> {
    const made = new FakeServer(messages);
    await once(made.#server, 'listening');
    return made;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('expected a listening server');
    return `http://127.0.0.1:${address.port}`;
  }

  send(frame: object): void {
    this.#socket?.send(JSON.stringify(frame));
  }

  hangUp(code: number, reason: string): void {
    this.#socket?.close(code, reason);
  }

  record(fact: Fact): void {
    const record: Rec = { seq: this.view.seq + 1, at: '2026-01-01T00:00:00.000Z', ...fact };
    this.view = fold(this.view, record);
    this.send({ type: 'record', session: 's', cursor: `c${record.seq}`, record });
  }

  phase(pane: string, phase: string, more: object = {}): void {
    this.record({
      type: 'pane.phase',
      pane,
      run: `${pane}-${this.view.generation}`,
      generation: this.view.generation,
      phase,
      attempt: 1,
      ...more,
    });
  }

  finish(): void {
    const covers = this.view.transcript;
    this.phase('history', 'summarizing');
    this.phase('scene', 'imaging');
    this.send({
      type: 'live',
      session: 's',
      pane: 'scene',
      run: `scene-${this.view.generation}`,
      wait: { reason: 'queue', position: 3 },
    });
    this.phase('history', 'updated', { covers, content: { text: 'They went\u001b[31m home.', engine: 'offline' } });
    this.phase('scene', 'updated', {
      covers,
      content: { description: 'A lamp.', image: '/v1/assets/s/ab.svg', engine: 'offline' },
    });
  }

  close(): Promise<void> {
    this.#socket?.terminate();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  ack(id: string): void {
    this.send({ type: 'ack', id, session: 's', seq: this.view.seq, generation: this.view.generation });
  }

  #answer(frame: Frame): void {
    if (frame.type === 'init') this.send({ type: 'ready', protocol: 1 });
    if (frame.type === 'session.open') {
      const panes = {
        reply: declare('reply', ['streaming']),
        history: declare('history', ['evaluating', 'summarizing']),
        scene: declare('scene', ['evaluating', 'describing', 'imaging']),
      };
      this.record({ type: 'session.opened', panes });
      this.ack(frame.id);
    }
    if (frame.type === 'subscribe') {
      this.send({ type: 'snapshot', session: 's', cursor: 'c', reason: 'initial', view: this.view });
      this.send({ type: 'caughtUp', session: 's', cursor: 'c' });
    }
    if (frame.type === 'message.add') this.add(frame);
  }

  add(frame: Frame): void {
    const generation = this.view.generation + (frame.role === 'user' ? 1 : 0);
    const role = frame.role === 'user' ? 'user' : 'assistant';
    this.record({
      type: 'message.added',
      message: { id: frame.id, role, text: frame.text ?? '', generation, final: true, reply: 'none' },
    });
    for (const pane of ['history', 'scene']) this.phase(pane, 'debouncing');
    this.ack(frame.id);
    if (this.view.messages.length === this.#messages) this.ending(this);
  }
}

/** Short waits are over at once, long ones (the limits) never; all are written down. */
class QuickClock implements Clock {
  readonly delays: number[] = [];
  now = (): number => 0;
  setTimeout(fn: () => void, delayMs: number): unknown {
    this.delays.push(delayMs);
    return delayMs < 10_000 ? setImmediate(fn) : undefined;
  }
  clearTimeout(): void {}
  defer(fn: () => void): void {
    setImmediate(fn);
  }
}

function afterTurns(turns: number, fn: () => void): void {
  setImmediate(() => (turns === 0 ? fn() : afterTurns(turns - 1, fn)));
}

const chat = '# Walk\n\n**Ann:** one\n**Bob:** two\n**Ann:** three\n';
let folder = '';
let server: FakeServer;
let clock: QuickClock;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mullion-replay-'));
  await writeFile(join(folder, 'chat.md'), chat);
  server = await FakeServer.listen(3);
  clock = new QuickClock();
});
afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

function sink(isTTY: boolean) {
  let text = '';
  return { isTTY, columns: 70, write: (more: string) => void (text += more), text: () => text };
}

async function run(
  more: Partial<ReplayCommand> = {},
  settings: { tty?: boolean; token?: string; settleMs?: number } = {},
) {
  const out = sink(settings.tty === true);
  const errors = sink(false);
  const started: Config[] = [];
  let closed = 0;
  const config = resolveConfig(
    undefined,
    {},
    settings.token === undefined ? {} : { MULLION_TOKEN: settings.token },
    folder,
  );
  const command: ReplayCommand = {
    command: 'replay',
    file: join(folder, 'chat.md'),
    url: server.url,
    session: 's',
    delayMs: 0,
    flags: {},
    ...more,
  };
  const code = await runReplay(command, config, {
    startServer: (own) => {
      started.push(own);
      return Promise.resolve({
        url: server.url,
        assetFile: (path) => `/data${path}`,
        close: () => {
          closed += 1;
          return Promise.resolve();
        },
      });
    },
    clock,
    ids: { uuid: () => '01890000-0000-7000-8000-00000000cafe', random: () => 0 },
    out,
    errors,
    ...(settings.settleMs === undefined ? {} : { settleMs: settings.settleMs }),
  });
  return { code, out: out.text(), errors: errors.text(), started, closed };
}

describe('a whole replay', () => {
  test('opens the session without the reply pane, adds each message in order, and ends with what the panes hold', async () => {
    const { code, out, errors } = await run();
    expect([code, errors]).toEqual([0, '']);
    expect(server.got.map((frame) => frame.type)).toEqual([
      'init',
      'session.open',
      'subscribe',
      'message.add',
      'message.add',
      'message.add',
    ]);
    expect(server.got[1]?.panes).toEqual({ reply: { enabled: false } });
    expect(server.got.slice(3).map(({ role, text, reply }) => [role, text, reply])).toEqual([
      ['user', 'one', false],
      ['assistant', 'two', undefined],
      ['user', 'three', false],
    ]);
    expect(out).toContain('Story so far (offline)\nThey went[31m home.\n');
    expect(out).toContain(`Scene (offline)\nA lamp.\n\nPicture: ${server.url}/v1/assets/s/ab.svg\n`);
  });

  test('without a terminal there is one line for each change of phase, and no escape sequence', async () => {
    const { out } = await run();
    const lines = out.split('\n').filter((line) => line.startsWith('history'));
    expect(lines.map((line) => line.split(/ +/).slice(0, 4).join(' '))).toEqual([
      'history debouncing generation 1',
      'history debouncing generation 2',
      'history summarizing generation 2',
      'history updated generation 2',
    ]);
    expect(out).not.toContain('\u001b');
  });

  test('on a terminal the lines are redrawn in place, with the position in the queue', async () => {
    const { out } = await run({}, { tty: true });
    expect(out).toContain('\u001b[3A\r');
    expect(out).toMatch(/scene +imaging +generation 2 · in the queue, position 3/);
    for (const row of out.split('\n')) expect(plain(row).replace(/\[\w+/g, '').trim().length).toBeLessThanOrEqual(70);
  });

  test('the same file into the same session has the same command ids', async () => {
    await run();
    const ids = server.got.slice(3).map((frame) => frame.id);
    expect(new Set(ids).size).toBe(3);
    await server.close();
    server = await FakeServer.listen(3);
    await run();
    expect(server.got.slice(3).map((frame) => frame.id)).toEqual(ids);
  });

  test('--delay pauses between messages, --token goes with init, the configured token is the default', async () => {
    await run({ delayMs: 250, token: 'from-flag' }, { token: 'from-config' });
    expect(clock.delays.filter((ms) => ms === 250)).toHaveLength(2);
    expect(server.got[0]?.token).toBe('from-flag');
    server.got.length = 0;
    server.view = emptyView('s');
    await run({}, { token: 'from-config' });
    expect(server.got[0]?.token).toBe('from-config');
  });

  test('without --url a server is started on a free loopback port, its picture shown as a file, and closed at the end', async () => {
    const {
      url: _,
      session: __,
      ...rest
    }: ReplayCommand = {
      command: 'replay',
      file: join(folder, 'chat.md'),
      url: '',
      session: '',
      delayMs: 0,
      flags: {},
    };
    const out = sink(false);
    let closed = 0;
    const own: Config[] = [];
    const config = resolveConfig(undefined, { port: '4747', host: 'localhost' }, {}, folder);
    const code = await runReplay(rest, config, {
      startServer: (given) => {
        own.push(given);
        return Promise.resolve({
          url: server.url,
          assetFile: (path) => `/data${path}`,
          close: () => Promise.resolve(void (closed += 1)),
        });
      },
      clock,
      ids: { uuid: () => '01890000-0000-7000-8000-00000000cafe', random: () => 0 },
      out,
      errors: out,
    });
    expect([code, closed]).toEqual([0, 1]);
    expect(own[0]).toMatchObject({ server: { host: '127.0.0.1', port: 0 }, data: join(folder, '.mullion') });
    expect(out.text()).toContain('session replay-00000000cafe: Walk, 3 messages');
    expect(out.text()).toContain('Picture: /data/v1/assets/s/ab.svg\n');
  });
});

describe('the end', () => {
  test('updated for an older transcript is not the end: it waits for the run that covers the last message', async () => {
    server.ending = (own) => {
      own.phase('history', 'updated', { covers: 1, content: { text: 'old', engine: 'offline' } });
      own.phase('scene', 'updated', { covers: 1, content: { description: 'old', engine: 'offline' } });
      setImmediate(() => own.finish());
    };
    const { code, out } = await run();
    expect(code).toBe(0);
    expect(out).toContain('They went');
  });

  test('an ack that comes before its records is not the end: the panes are looked at when the records are there', async () => {
    server.ending = () => {};
    server.instead = (frame, own) => {
      if (frame.text !== 'three') return false;
      own.finish();
      own.send({ type: 'ack', id: frame.id, session: 's', seq: own.view.seq + 3, generation: 2 });
      // Long enough for the ack to be read alone.
      afterTurns(50, () => {
        own.add(frame);
        const covers = own.view.transcript;
        own.phase('history', 'updated', { covers, content: { text: 'And the third.', engine: 'offline' } });
        own.phase('scene', 'unchanged', { covers });
      });
      return true;
    };
    const { code, out } = await run();
    expect(code).toBe(0);
    expect(out).toContain('And the third.');
  });

  test('a pane that ends in an error, or without a picture, says why, and the exit code is 1', async () => {
    server.ending = (own) => {
      own.phase('history', 'error', { error: { code: 'auth', message: 'key refused', retryable: false } });
      own.phase('scene', 'imaging_failed', { error: { code: 'provider', message: 'no GPU', retryable: true } });
    };
    const { code, out } = await run();
    expect(code).toBe(1);
    expect(out).toContain('Story so far\nnothing yet\nerror: key refused\n');
    expect(out).toContain('Scene\nnothing yet\nimaging_failed: no GPU\n\nPicture: none\n');
  });

  test('panes that never settle end the wait with their names', async () => {
    server.ending = () => {};
    const { code, errors } = await run({}, { settleMs: 9_999 });
    expect([code, errors]).toEqual([
      1,
      'mullion replay: expected the panes to settle within 9999 ms, got history and scene still at work\n',
    ]);
  });

  const pane = (more: Partial<PaneView>): PaneView => {
    const opened: Rec = { seq: 1, at: '', type: 'session.opened', panes: { p: declare('history', []) } };
    const base = fold(emptyView('s'), opened).panes['p'];
    if (base === undefined) throw new Error('expected the pane');
    return { ...base, fresh: false, ...more };
  };

  test.each<[Partial<PaneView>, boolean]>([
    [{ phase: 'updated', fresh: true }, true],
    [{ phase: 'updated', fresh: false }, false],
    [{ phase: 'unchanged', fresh: true }, true],
    [{ phase: 'unchanged', fresh: false }, false],
    [{ phase: 'error' }, true],
    [{ phase: 'imaging_failed' }, true],
    [{ phase: 'cancelled', reason: 'user' }, true],
    [{ phase: 'cancelled', reason: 'superseded' }, false],
    [{ phase: 'evaluating' }, false],
    [{ phase: 'retrying' }, false],
    [{ phase: 'paused', paused: true }, true],
    [{ phase: 'idle' }, true],
  ])('[P6] %j: settled %s', (more, expected) => {
    expect(hasSettled(pane(more))).toBe(expected);
  });
});

describe('faults', () => {
  test('a server that is busy is asked again with the same id, after the time it names', async () => {
    let busy = 2;
    server.instead = (frame, own) => {
      if (frame.type !== 'message.add' || frame.text !== 'two' || (busy -= 1) < 0) return false;
      own.send({
        type: 'error',
        id: frame.id,
        error: { code: 'OVERLOADED', message: 'full', retryable: true, retryAfterMs: 700 },
        fatal: false,
      });
      return true;
    };
    const { code } = await run();
    const twos = server.got.filter((frame) => frame.text === 'two');
    expect([code, twos.length, new Set(twos.map((frame) => frame.id)).size]).toEqual([0, 3, 1]);
    expect(clock.delays.filter((ms) => ms === 700)).toHaveLength(2);
  });

  test('a server that stays busy is given up after 8 attempts', async () => {
    server.instead = (frame, own) => {
      if (frame.type !== 'message.add') return false;
      own.send({
        type: 'error',
        id: frame.id,
        error: { code: 'OVERLOADED', message: 'full', retryable: true },
        fatal: false,
      });
      return true;
    };
    const { code, errors } = await run();
    expect([code, errors]).toEqual([1, 'mullion replay: the server has refused: full (OVERLOADED)\n']);
    expect(server.got.filter((frame) => frame.type === 'message.add')).toHaveLength(8);
  });

  test('a refused token is said once, with the code of the error and not only of the close', async () => {
    server.instead = (frame, own) => {
      own.send({
        type: 'error',
        error: { code: 'UNAUTHENTICATED', message: 'a token is required', retryable: false },
        fatal: true,
      });
      own.hangUp(4401, 'not authenticated');
      return frame.type === 'init';
    };
    const { code, errors } = await run();
    expect([code, errors]).toEqual([
      1,
      'mullion replay: the server has refused: a token is required (UNAUTHENTICATED)\n',
    ]);
  });

  test('a connection that ends in the middle is an error, not an end', async () => {
    server.instead = (frame, own) => {
      if (frame.text === 'two') own.hangUp(1012, 'restart');
      return frame.text === 'two';
    };
    expect(await run()).toMatchObject({
      code: 1,
      errors: 'mullion replay: the server has closed the connection (1012 restart)\n',
    });
    server.instead = () => false;
    server.view = emptyView('s');
    server.ending = (own) => own.hangUp(1001, '');
    expect(await run()).toMatchObject({
      code: 1,
      errors: 'mullion replay: the server has closed the connection (1001)\n',
    });
  });

  test('the first reason for the end of a connection stays, and everything after it rejects with it', async () => {
    const connection = await ReplayConnection.open({ url: server.url, session: 's', clock });
    const over = new Promise<void>((resolve) => {
      connection.onChange = resolve;
    });
    server.hangUp(1012, 'restart');
    await over;
    connection.close();
    await expect(connection.subscribe('subscribe-1')).rejects.toThrow(
      'the server has closed the connection (1012 restart)',
    );
  });

  test('something that is no Mullion server, or nothing at all, is said with its address', async () => {
    server.instead = (_, own) => {
      own.send({ hello: 'world' });
      return true;
    };
    expect((await run()).errors).toContain('expected a frame of mullion.v1, got something else');
    const { url } = server;
    await server.close();
    server = await FakeServer.listen(3);
    const { code, errors } = await run({ url });
    expect(code).toBe(1);
    expect(errors).toContain(`expected a Mullion server at ${url}, got: connect ECONNREFUSED`);
  });

  test('a server that does not answer init is given up after 10 s', async () => {
    const fire: (() => void)[] = [];
    clock.setTimeout = (fn, delayMs) => {
      if (delayMs === 10_000) fire.push(fn);
      return undefined;
    };
    server.instead = () => {
      fire.forEach((fn) => fn());
      return true;
    };
    expect((await run()).errors).toBe(
      `mullion replay: expected ${server.url} to answer within 10000 ms, got nothing\n`,
    );
  });

  test('a file that is no chat is refused before anything is started', async () => {
    await writeFile(join(folder, 'bad.json'), '{"messages": [}');
    const { code, errors, started } = await run({ file: join(folder, 'bad.json') });
    expect([code, errors, started, server.got]).toEqual([
      1,
      'mullion replay: bad.json: line 1: expected JSON, got something else at column 15\n',
      [],
      [],
    ]);
  });
});

describe('status lines', () => {
  test('a line says phase, generation, attempt, wait or progress, retry time and error', () => {
    const base = fold(emptyView('s'), { seq: 1, at: '', type: 'session.opened', panes: { p: declare('history', []) } })
      .panes['p'];
    if (base === undefined) throw new Error('expected the pane');
    const pane = { ...base, phase: 'imaging', generation: 4, attempt: 2 };
    expect(statusLine('scene', pane, undefined)).toBe('scene     imaging        generation 4 · attempt 2');
    expect(statusLine('scene', pane, { progress: { value: 3, max: 9, unit: 'step' } })).toContain('· 3/9 step');
    expect(statusLine('scene', pane, { wait: { reason: 'rate-limit', position: 1 } })).toContain(
      '· rate-limit, position 1',
    );
    const failed = {
      ...pane,
      phase: 'retrying',
      retryAt: '2026-01-01T10:20:30.000Z',
      error: { code: 'connection', message: 'cut\n\u001b[2Joff', retryable: true },
    } as const;
    expect(statusLine('scene', failed, undefined)).toBe(
      'scene     retrying       generation 4 · attempt 2 · again at 10:20:30 · connection: cut [2Joff',
    );
  });

  test('nothing is drawn twice, and nothing after close', () => {
    const out = sink(true);
    const lines = new StatusLines(out, ['history']);
    lines.draw(emptyView('s'), 'note');
    const once = out.text();
    lines.draw(emptyView('s'), 'note');
    lines.close();
    lines.draw(emptyView('s'), 'other');
    expect(out.text()).toBe(once);
  });

  test('control characters do not reach the terminal', () => {
    expect(plain('a\u001b]0;title\u0007b\u009b31m\tc\nd\r')).toBe('a]0;titleb31m\tc\nd');
  });
});
