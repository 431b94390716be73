import type { WireError } from '../../protocol/codes.ts';
import { absentSession, internalError, type Edge } from './edge.ts';
import type { Lane } from './lane.ts';
import { outboxCounters, Outbox } from './outbox.ts';
import { replyError } from './http-reply.ts';
import type { Call } from './router.ts';
import type { Subscriber } from '../session-api.ts';

/** ms after which an EventSource comes back. PROTOCOL section 9. */
const retryMs = 1000;
const heartbeat = Buffer.from(': \n\n');

/** The event streams of one server. */
export class EventStreams {
  readonly #edge: Edge;
  readonly #open = new Set<EventStream>();

  constructor(edge: Edge) {
    this.#edge = edge;
  }

  /** Open streams. */
  get size(): number {
    return this.#open.size;
  }

  /** Answers `GET /v1/sessions/{session}/events`: the frames of one session until either side ends it. PROTOCOL section 9. */
  async serve(call: Call, session: string): Promise<void> {
    if (!call.grant.sees(session)) return replyError(call, absentSession(session));
    const stream = new EventStream(this.#edge, call);
    if (call.request.method === 'HEAD') return stream.end();
    const gauge = this.#edge.metrics.connections.with({ transport: 'sse' });
    this.#open.add(stream);
    gauge.add(1);
    call.response.on('close', () => {
      stream.release();
      this.#open.delete(stream);
      gauge.add(-1);
    });
    await stream.follow(session, cursorOf(call));
  }

  /** Ends every stream; clients come back by themselves. */
  endAll(): void {
    for (const stream of this.#open) stream.end();
  }
}

/** Where the client stands. The header wins: on reconnecting, a browser repeats the old URL and adds the newer header. */
function cursorOf(call: Call): string | undefined {
  const header = call.request.headers['last-event-id'];
  const last = Array.isArray(header) ? header[0] : header;
  const cursor = last ?? call.query.get('cursor') ?? '';
  return cursor === '' ? undefined : cursor;
}

/** One event stream; bounded like a WebSocket connection. */
class EventStream implements Subscriber {
  readonly #edge: Edge;
  readonly #call: Call;
  readonly #outbox: Outbox;
  readonly #lane: Lane;
  #timer: unknown = undefined;
  #begun = false;

  constructor(edge: Edge, call: Call) {
    this.#edge = edge;
    this.#call = call;
    const { response } = call;
    const { config, clock } = edge;
    this.#outbox = new Outbox({
      wire: response,
      open: () => !response.writableEnded && !response.destroyed,
      encoding: 'sse',
      outboxBytes: config.outboxBytes,
      graceMs: config.outboxGraceMs,
      clock,
      flusher: edge.flusher,
      counters: outboxCounters(edge.metrics),
      tooSlow: () => this.#cut(),
    });
    this.#lane = this.#outbox.lane(() => this.end());
  }

  /** Attaches to the session; resolves when attached or refused. */
  async follow(session: string, cursor: string | undefined): Promise<void> {
    let refused: WireError;
    try {
      const result = await this.#edge.host.subscribe(session, cursor, this);
      if (!('refused' in result)) {
        this.#begin(retryMs);
        return this.#lane.attach(result);
      }
      refused = result.refused;
    } catch (error) {
      this.#edge.logger.error({ session, error }, 'the session host failed');
      refused = internalError();
    }
    // An EventSource gives up for good on any status but 200: what may work later must be told as a stream that ends.
    if (!refused.retryable) replyError(this.#call, refused);
    else {
      this.#begin(refused.retryAfterMs ?? retryMs);
      this.end();
    }
  }

  push(batch: Parameters<Subscriber['push']>[0]): void {
    this.#begin(retryMs);
    this.#lane.push(batch);
  }

  /** Ends the stream after what is queued as answers and last words. */
  end(): void {
    this.#begin(retryMs);
    this.release();
    this.#call.response.end();
  }

  /** Frees everything but the response. */
  release(): void {
    this.#edge.clock.clearTimeout(this.#timer);
    this.#outbox.close();
    this.#lane.close();
  }

  #cut(): void {
    this.release();
    this.#call.response.destroy();
  }

  #begin(retry: number): void {
    const { response } = this.#call;
    if (this.#begun || response.headersSent) return;
    this.#begun = true;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      // Nothing can follow a stream on its connection, and a server that stops need not wait for it to idle.
      connection: 'close',
      // nginx collects a response otherwise
      'x-accel-buffering': 'no',
    });
    response.socket?.setNoDelay(true);
    if (this.#call.request.method === 'HEAD') return;
    // Written at once, so that the browser knows that it is connected.
    response.write(`retry: ${Math.ceil(retry)}\n\n`);
    this.#beat();
  }

  #beat(): void {
    const { clock, config } = this.#edge;
    this.#timer = clock.setTimeout(() => {
      if (!this.#outbox.blocked) this.#outbox.answer(heartbeat);
      this.#beat();
    }, config.sseHeartbeatMs);
  }
}
