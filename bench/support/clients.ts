// Child of ack.bench.ts and phase.bench.ts: WebSocket clients, each with one command on its way at a time.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { quantile } from './stats.ts';

/** Connects `clients` clients to a server, as group `name`. */
interface Open {
  do: 'open';
  name: string;
  port: number;
  clients: number;
  /** Our protocol (a session a client) or bare frames. */
  mullion: boolean;
  /** Follow the session as well. */
  subscribe: boolean;
}

/** The first `clients` clients of a group send as fast as they get answers. */
interface Load {
  do: 'load';
  name: string;
  clients: number;
  ms: number;
}

/** Of one slot. Times in ms. */
export interface Loaded {
  perSecond: number;
  p50: number;
  p99: number;
  /** Message → first phase frame; NaN without subscription. */
  phase50: number;
  phase99: number;
}

/** The clients of one bench, in a process of their own. */
export class Clients {
  readonly #child: ChildProcess = fork(fileURLToPath(import.meta.url), ['clients'], { execArgv: ['--import', 'tsx'] });

  async open(request: Omit<Open, 'do'>): Promise<void> {
    await this.#ask({ ...request, do: 'open' });
  }

  async load(name: string, clients: number, ms: number): Promise<Loaded> {
    const answer = await this.#ask({ do: 'load', name, clients, ms });
    if (answer === null) throw new Error('expected figures');
    return answer;
  }

  close(): void {
    this.#child.disconnect();
  }

  async #ask(request: Open | Load): Promise<Loaded | null> {
    this.#child.send(request);
    const controller = new AbortController();
    const died = once(this.#child, 'exit', { signal: controller.signal }).then(() => {
      throw new Error('the clients died');
    });
    const [answer] = await Promise.race([once(this.#child, 'message'), died]);
    controller.abort();
    died.catch(() => undefined);
    return answer;
  }
}

class Client {
  readonly #socket: WebSocket;
  readonly #mullion: boolean;
  readonly #session: string;
  #sent = 0;
  #sentMs = 0;
  #heard: (text: string) => void = () => undefined;

  constructor(request: Open, index: number) {
    this.#mullion = request.mullion;
    this.#session = `s${index}`;
    const url = `ws://127.0.0.1:${request.port}${request.mullion ? '/v1/ws' : '/'}`;
    this.#socket = new WebSocket(url, request.mullion ? ['mullion.v1'] : [], { perMessageDeflate: false });
    this.#socket.on('error', (error) => {
      throw error;
    });
    // oxlint-disable-next-line typescript/no-base-to-string -- ws gives a Buffer
    this.#socket.on('message', (data) => this.#heard(data.toString()));
  }

  async ready(subscribe: boolean): Promise<void> {
    await once(this.#socket, 'open');
    if (!this.#mullion) return;
    await this.#say({ type: 'init' }, '"ready"');
    await this.#say({ type: 'session.open', id: 'open', session: this.#session }, '"ack"');
    if (subscribe) await this.#say({ type: 'subscribe', id: 'sub', session: this.#session }, '"caughtUp"');
  }

  /** Sends until `isOver`; then resolves after the last answer. */
  load(isOver: () => boolean, acks: number[], phases: number[]): Promise<void> {
    return new Promise((resolve) => {
      let phaseSeen = false;
      const next = (): void => {
        if (isOver()) return resolve();
        phaseSeen = false;
        this.#sent += 1;
        this.#sentMs = performance.now();
        this.#socket.send(this.#message());
      };
      let ackSeen = false;
      this.#heard = (text) => {
        const ms = performance.now() - this.#sentMs;
        if (text.startsWith('{"type":"ack"')) {
          acks.push(ms);
          ackSeen = true;
        } else if (text.includes('"type":"pane.phase"')) {
          if (!phaseSeen && text.includes(`"by":"k${this.#sent}"`)) {
            phases.push(ms);
            phaseSeen = true;
          }
        } else if (text.startsWith('{"type":"error"')) throw new Error(text);
        // With a subscription the next message goes out when both have come.
        if (!ackSeen || (this.#phases && !phaseSeen)) return;
        ackSeen = false;
        next();
      };
      next();
    });
  }

  #phases = false;

  expectPhases(): void {
    this.#phases = true;
  }

  #message(): string {
    const body = { id: `k${this.#sent}`, text: filler };
    if (!this.#mullion) return JSON.stringify({ type: 'message', ...body });
    return JSON.stringify({ type: 'message.add', session: this.#session, role: 'user', reply: false, ...body });
  }

  #say(frame: object, until: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#heard = (text) => {
        if (text.startsWith('{"type":"error"')) reject(new Error(text));
        if (text.startsWith(`{"type":${until}`)) resolve();
      };
      this.#socket.send(JSON.stringify(frame));
    });
  }
}

const filler = 'x'.repeat(200);
const groups = new Map<string, Client[]>();

async function open(request: Open): Promise<null> {
  const clients = Array.from({ length: request.clients }, (_, index) => new Client(request, index));
  await Promise.all(clients.map((client) => client.ready(request.subscribe)));
  if (request.subscribe) for (const client of clients) client.expectPhases();
  groups.set(request.name, clients);
  return null;
}

async function load(request: Load): Promise<Loaded> {
  const clients = (groups.get(request.name) ?? []).slice(0, request.clients);
  const acks: number[] = [];
  const phases: number[] = [];
  const startMs = performance.now();
  const isOver = (): boolean => performance.now() - startMs >= request.ms;
  await Promise.all(clients.map((client) => client.load(isOver, acks, phases)));
  return {
    perSecond: (acks.length / (performance.now() - startMs)) * 1_000,
    p50: quantile(acks, 0.5),
    p99: quantile(acks, 0.99),
    phase50: quantile(phases, 0.5),
    phase99: quantile(phases, 0.99),
  };
}

if (process.argv[2] === 'clients') {
  process.on('message', (request: Open | Load) => {
    (request.do === 'open' ? open(request) : load(request)).then(
      (answer) => process.send?.(answer),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
  process.on('disconnect', () => process.exit(0));
}
