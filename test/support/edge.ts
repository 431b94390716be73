import net from 'node:net';
import { onTestFinished } from 'vitest';
import { WebSocket, type ClientOptions } from 'ws';
import type { Clock } from '../../src/ports/clock.ts';
import type { AccessOptions } from '../../src/server/transport/access.ts';
import type { EdgeConfig } from '../../src/server/transport/edge.ts';
import type { Route } from '../../src/server/transport/router.ts';
import { createHttpEdge, type HttpEdge } from '../../src/server/transport/server.ts';
import { createMetrics, type Metrics } from '../../src/server/telemetry.ts';
import { FakeSessions } from './fake-sessions.ts';

/** A listening edge over fake sessions; closed when the test ends. */
export interface TestEdge {
  edge: HttpEdge;
  host: FakeSessions;
  metrics: Metrics;
  port: number;
  url: string;
  errors: string[];
}

/** Starts an edge on a free port of 127.0.0.1, with sessions `s1` and `s2`. */
export async function startEdge(
  options: {
    config?: Partial<EdgeConfig>;
    access?: Omit<AccessOptions, 'now'>;
    clock?: Clock;
    host?: FakeSessions;
    routes?: readonly Route[];
  } = {},
): Promise<TestEdge> {
  const { host = new FakeSessions('s1', 's2'), ...rest } = options;
  const metrics = createMetrics({ eventLoop: false });
  const errors: string[] = [];
  const logger = { debug() {}, info() {}, warn() {}, error: (_: object, message: string) => void errors.push(message) };
  const edge = createHttpEdge({ host, metrics, logger, ...rest });
  const { port } = await edge.listen(0, '127.0.0.1');
  onTestFinished(() => edge.closeAll(50));
  return { edge, host, metrics, port, url: `http://127.0.0.1:${port}`, errors };
}

/** What a close event said. */
export interface Closed {
  code: number;
  reason: string;
}

export type Frame = { type: string; [field: string]: unknown };

/** A real WebSocket client that queues what comes, so that no frame is missed between two awaits. */
export class TestClient {
  readonly ws: WebSocket;
  readonly closed: Promise<Closed>;
  readonly opened: Promise<void>;
  readonly #frames: Frame[] = [];
  readonly #waiting: ((frame: Frame) => void)[] = [];

  constructor(port: number, options: ClientOptions & { protocols?: string[] } = {}) {
    const { protocols = ['mullion.v1'], ...rest } = options;
    this.ws = new WebSocket(`ws://127.0.0.1:${port}/v1/ws`, protocols, rest);
    this.closed = new Promise((resolve) => {
      this.ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.opened = new Promise((resolve, reject) => {
      this.ws.on('open', () => resolve());
      this.ws.on('error', reject);
    });
    this.opened.catch(() => {});
    this.ws.on('message', (data: Buffer) => {
      const frame: Frame = JSON.parse(data.toString());
      const next = this.#waiting.shift();
      if (next === undefined) this.#frames.push(frame);
      else next(frame);
    });
    onTestFinished(() => this.ws.terminate());
  }

  /** The next frame, whether it has come already or not. */
  next(): Promise<Frame> {
    const frame = this.#frames.shift();
    return frame === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(frame);
  }

  /** The next frame of a type; others before it are dropped. */
  async until(type: string): Promise<Frame> {
    for (;;) {
      const frame = await this.next();
      if (frame.type === type) return frame;
    }
  }

  send(frame: unknown): void {
    this.ws.send(typeof frame === 'string' || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
  }
}

/** A client that has got its `ready`. */
export async function ready(port: number, token?: string, options: ClientOptions = {}): Promise<TestClient> {
  const client = new TestClient(port, options);
  await client.opened;
  client.send(token === undefined ? { type: 'init' } : { type: 'init', token });
  await client.until('ready');
  return client;
}

/** Sends raw bytes as one HTTP exchange and resolves with all that comes until the server closes. */
export function rawHttp(port: number, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(request));
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString('latin1')));
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
}
