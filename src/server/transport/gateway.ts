import type { Socket } from 'node:net';
import { WebSocket, type RawData } from 'ws';
import { decodeClientFrame } from '../../protocol/codec.ts';
import { closeCodes, wireError, type CloseName, type WireError } from '../../protocol/codes.ts';
import type { Command } from '../../protocol/commands.ts';
import type { Control } from '../../protocol/control.ts';
import type { ServerFrame } from '../../protocol/frames.ts';
import { subprotocol } from '../../protocol/names.ts';
import type { Grant } from './access.ts';
import { Bucket } from './bucket.ts';
import { absentSession, internalError, type Edge } from './edge.ts';
import type { Lane } from './lane.ts';
import { outboxCounters, Outbox } from './outbox.ts';
import { systemQueue } from './system-queue.ts';
import { textFrame } from './stream.ts';

type Subscribe = Extract<Control, { type: 'subscribe' }>;

/** One WebSocket connection: PROTOCOL section 3. Owns its outbox, timers and subscriptions; all end with the socket. */
export class Connection {
  readonly #edge: Edge;
  readonly #ws: WebSocket;
  readonly #id: string;
  readonly #outbox: Outbox;
  readonly #bucket: Bucket;
  readonly #lanes = new Map<string, Lane>();
  #grant: Grant | undefined;
  #over = false;
  #inFlight = 0;
  /** The client has been heard since the last beat. */
  #heard = true;
  #missed = 0;
  #timer: unknown;

  /** `refusal`: why the page behind this connection may not use it (Origin, Host), null = it may. */
  constructor(edge: Edge, ws: WebSocket, socket: Socket, id: string, refusal: string | null) {
    this.#edge = edge;
    this.#ws = ws;
    this.#id = id;
    const { config, clock } = edge;
    this.#bucket = new Bucket(config.framesPerSecond, config.frameBurst ?? 4 * config.framesPerSecond, clock.now());
    this.#outbox = new Outbox({
      wire: socket,
      open: () => ws.readyState === WebSocket.OPEN,
      encoding: 'ws',
      outboxBytes: config.outboxBytes,
      graceMs: config.outboxGraceMs,
      clock,
      flusher: edge.flusher,
      counters: outboxCounters(edge.metrics),
      inHand: () => systemQueue(socket),
      tooSlow: () => this.end('tooSlow'),
      pause: (paused) => (paused ? ws.pause() : ws.resume()),
    });
    ws.on('message', (data, isBinary) => this.#onMessage(data, isBinary));
    ws.on('pong', () => this.#count());
    ws.on('ping', () => this.#count());
    // The ws library has answered with the right close code (1009, 1007, 1002) by itself.
    ws.on('error', (error) => edge.logger.debug({ connection: id, error: error.message }, 'connection failed'));
    ws.on('close', () => this.#release());
    if (ws.protocol !== subprotocol) this.#refuse('subprotocol', `expected the subprotocol ${subprotocol}`);
    else if (refusal !== null) this.#refuse('forbidden', refusal);
    else this.#timer = clock.setTimeout(() => this.end('initTimeout'), config.initTimeoutMs);
  }

  /** Closes with a code of the table, after the answers that still wait. */
  end(name: CloseName): void {
    if (this.#over) return;
    this.#release();
    const { code, reason } = closeCodes[name];
    this.#edge.logger.debug({ connection: this.#id, code }, 'closing connection');
    this.#ws.resume(); // a paused one would not read the other side's close frame
    this.#ws.close(code, reason);
  }

  /** Cuts the connection without a closing handshake. */
  cut(): void {
    this.#release();
    this.#ws.terminate();
  }

  /** Frees everything but the socket. */
  #release(): void {
    if (this.#over) return;
    this.#over = true;
    this.#edge.clock.clearTimeout(this.#timer);
    this.#outbox.close();
    for (const lane of this.#lanes.values()) lane.close();
    this.#lanes.clear();
  }

  /** One frame came; false = too many did, and the connection is over. */
  #count(): boolean {
    this.#heard = true;
    if (this.#bucket.take(this.#edge.clock.now())) return true;
    this.end('tooMany');
    return false;
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (this.#over || !this.#count()) return;
    if (isBinary || !Buffer.isBuffer(data)) return this.#refuse('badFrame', 'expected a text frame, a binary one came');
    const decoded = decodeClientFrame(data.toString(), this.#edge.config.maxFrameBytes);
    if (decoded.kind === 'close') {
      if (closeCodes[decoded.close].retry) this.end(decoded.close);
      else this.#refuse(decoded.close, decoded.error.message);
    } else if (this.#grant === undefined) {
      if (decoded.kind === 'control' && decoded.frame.type === 'init') this.#init(decoded.frame.token);
      else this.#refuse('unauthenticated', 'expected init as the first frame');
    } else if (decoded.kind === 'error') this.#error(decoded.id, undefined, decoded.error);
    else if (decoded.kind === 'command') void this.#command(decoded.command, this.#grant);
    else this.#control(decoded.frame, this.#grant);
  }

  #init(token: string | undefined): void {
    const { access, clock, config } = this.#edge;
    const grant = access.grant(token);
    if (grant === undefined)
      return this.#refuse(
        'unauthenticated',
        `expected a valid token, ${token === undefined ? 'none' : 'another one'} came`,
      );
    this.#grant = grant;
    clock.clearTimeout(this.#timer);
    this.#timer = clock.setTimeout(() => this.#beat(), config.heartbeatMs);
    this.#send({
      type: 'ready',
      protocol: 1,
      connection: this.#id,
      heartbeatMs: config.heartbeatMs,
      maxFrameBytes: config.maxFrameBytes,
      now: new Date(clock.now()).toISOString(),
      server: config.server,
    });
  }

  #beat(): void {
    const { clock, config, logger } = this.#edge;
    // A socket that takes nothing cannot bring the ping over; the outbox has its own grace for that.
    this.#missed = this.#heard || this.#outbox.blocked ? 0 : this.#missed + 1;
    this.#heard = false;
    if (this.#missed >= 2) {
      logger.debug({ connection: this.#id }, 'no answer to two pings');
      return this.cut();
    }
    if (this.#ws.readyState === WebSocket.OPEN) this.#ws.ping();
    this.#timer = clock.setTimeout(() => this.#beat(), config.heartbeatMs);
  }

  #control(frame: Control, grant: Grant): void {
    switch (frame.type) {
      case 'init':
        return this.#error(undefined, undefined, wireError('BAD_MESSAGE', 'expected init only once'));
      case 'ping':
        return this.#send(frame.t === undefined ? { type: 'pong' } : { type: 'pong', t: frame.t });
      case 'unsubscribe':
        this.#lanes.get(frame.session)?.close();
        this.#lanes.delete(frame.session);
        return this.#send({ type: 'ack', id: frame.id, session: frame.session });
      case 'subscribe':
        void this.#subscribe(frame, grant);
    }
  }

  async #subscribe(frame: Subscribe, grant: Grant): Promise<void> {
    const { id, session, cursor } = frame;
    const max = this.#edge.config.maxSubscriptions;
    if (!grant.sees(session)) return this.#error(id, session, absentSession(session));
    const old = this.#lanes.get(session);
    if (old === undefined && this.#lanes.size >= max)
      return this.#error(id, session, wireError('RATE_LIMITED', `expected at most ${max} subscriptions a connection`));
    old?.close();
    const forget = (): void => {
      if (this.#lanes.get(session) === lane) this.#lanes.delete(session);
    };
    const lane = this.#outbox.lane(forget);
    this.#lanes.set(session, lane);
    const result = await this.#ask('subscribe', session, () => this.#edge.host.subscribe(session, cursor, lane));
    if (!('refused' in result)) return lane.attach(result);
    lane.close();
    forget();
    this.#error(id, session, result.refused);
  }

  async #command(command: Command, grant: Grant): Promise<void> {
    const { id, session, type } = command;
    const { config, metrics, host } = this.#edge;
    if (!grant.sees(session)) return this.#error(id, session, absentSession(session));
    if (this.#inFlight >= config.maxInFlight) {
      // The host counts the commands that it answers; this one it never sees.
      metrics.commands.with({ type, result: 'RATE_LIMITED' }).add();
      const message = `expected at most ${config.maxInFlight} commands without an answer; nothing was done`;
      return this.#error(id, session, wireError('RATE_LIMITED', message, { retryAfterMs: 100 }));
    }
    this.#inFlight += 1;
    const result = await this.#ask(type, session, () => host.command(command));
    this.#inFlight -= 1;
    if ('refused' in result) return this.#error(id, session, result.refused);
    // A delta without id only wants to hear of failures.
    if (id !== undefined) this.#send({ ...result, id });
  }

  /** One of the two places where a fault ends: it is logged, and the client gets INTERNAL. */
  async #ask<T>(what: string, session: string, call: () => Promise<T>): Promise<T | { refused: WireError }> {
    try {
      return await call();
    } catch (error) {
      this.#edge.logger.error({ connection: this.#id, what, session, error }, 'the session host failed');
      return { refused: internalError() };
    }
  }

  /** Tells why, then closes with a code after which the client must not come back by itself. */
  #refuse(name: CloseName, message: string): void {
    const code = name === 'unauthenticated' ? 'UNAUTHENTICATED' : name === 'forbidden' ? 'FORBIDDEN' : 'BAD_MESSAGE';
    this.#send({ type: 'error', error: wireError(code, message), fatal: true });
    this.end(name);
  }

  #error(id: string | undefined, session: string | undefined, error: WireError): void {
    this.#send({
      type: 'error',
      ...(id === undefined ? {} : { id }),
      ...(session === undefined ? {} : { session }),
      error,
      fatal: false,
    });
  }

  #send(frame: ServerFrame): void {
    this.#outbox.answer(textFrame(JSON.stringify(frame)));
  }
}
