/**
 * A ComfyUI server on 127.0.0.1 as clients see it: one queue for all, a WebSocket per client id, a history in memory, pictures behind /view.
 * Nothing moves by itself: a job with steps stands still until `step()`. Modelled on Comfy-Org/ComfyUI a125cd84 (server.py, execution.py,
 * main.py): a job enters the history after `execution_success` and before `executing {node: null}`, a client id that connects again takes
 * the place of the one before, and a job of somebody without a client id is told to everybody.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import { field, parseJson } from '../../src/adapters/openai-errors.ts';
import type { Deed, SeenJob } from '../adapters/image-engine.contract.ts';
import { png } from './hostile-cases.ts';

/** What this backend can do besides what every fake can. */
export type ComfyDeed =
  | Deed
  /** Validation refuses a node. */
  | { readonly do: 'node-error'; readonly message: string }
  /** A node fails while it runs. */
  | { readonly do: 'node-fails'; readonly message: string }
  /** Ends well, with these outputs instead of a saved picture. */
  | { readonly do: 'outputs'; readonly outputs: unknown }
  /** Takes the job and cuts the socket before it has answered; draws at once. */
  | { readonly do: 'answer-lost' }
  /** Neither takes the job nor answers before `takeLate()`; then it stands still before its end. */
  | { readonly do: 'take-late' };

/** One request as it came. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** The fake server and its switches. */
export interface FakeComfyui {
  readonly origin: string;
  readonly requests: readonly SeenRequest[];
  /** Client ids of the WebSockets that were opened, in order. */
  readonly connected: readonly string[];
  readonly jobs: readonly (SeenJob & { readonly clientId: string | undefined })[];
  /** The job that each interrupt or removal has hit; '' = none. */
  readonly interrupts: readonly string[];
  /** Each progress that anybody was told, 0 to 1. */
  readonly said: readonly number[];
  /** Exchanges and WebSockets that are not over. */
  readonly open: number;
  /** A server from before 2025: gives its own ids, its interrupt hits whatever runs, knows neither progress_state nor feature flags. */
  old: boolean;
  /** The gap between `execution_success` and the history: a job stays in the queue until somebody has looked. */
  slowEnd: boolean;
  /** How it meets WebSockets. */
  sockets: 'open' | 'refuse' | 'hang';
  /** How it meets everything else. */
  http: 'answer' | 'refuse-503' | 'hang';
  /** Files that it lists and takes. */
  checkpoints: string[];
  /** Types of nodes that it knows. */
  nodeTypes: Set<string>;
  /** Called when a request has come whole and before it is answered: what happens between two questions. */
  onRequest: (request: SeenRequest) => void;
  script(prompt: string, first: ComfyDeed, ...more: ComfyDeed[]): void;
  /** The running job takes `count` steps; one more than it has ends it. */
  step(count?: number): void;
  /** Somebody else's job; `silent`: one without a client id, of which everybody is told. */
  foreign(steps: number, options?: { silent?: boolean; previews?: readonly Uint8Array[] }): SeenJob;
  /** Somebody else presses Cancel. */
  interruptByOther(): void;
  /** From now on interrupts and removals do nothing. */
  deafen(): void;
  restart(): void;
  cutSockets(): void;
  /** Takes the jobs that it was to take late. */
  takeLate(): void;
  /** Sends a frame to every WebSocket: an object as JSON, bytes as they are. */
  tell(frame: object): void;
  /** Empties the history, as somebody in the editor does. */
  clearHistory(): void;
  close(): Promise<void>;
}

interface Job {
  id: string;
  clientId: string | undefined;
  prompt: string;
  foreign: boolean;
  recipe: string;
  state: SeenJob['state'];
  number: number;
  graph: unknown;
  deed: ComfyDeed;
  done: number;
}

interface Client {
  socket: WebSocket;
  withMetadata: boolean;
}

const knownNodes = [
  'CheckpointLoaderSimple',
  'CLIPTextEncode',
  'EmptyLatentImage',
  'KSampler',
  'VAEDecode',
  'SaveImage',
  'PreviewImage',
];

/** Starts a server on a free port. Prompts without a script are drawn at once. */
export async function startFakeComfyui(): Promise<FakeComfyui> {
  const requests: SeenRequest[] = [];
  const connected: string[] = [];
  const jobs: Job[] = [];
  const interrupts: string[] = [];
  const said: number[] = [];
  const scripts = new Map<string, ComfyDeed[]>();
  const clients = new Map<string, Client>();
  const tcp = new Set<Socket>();
  const failures: unknown[] = [];
  const late: (() => void)[] = [];
  let seenInQueue = (): void => undefined;
  let history = new Map<string, object>();
  let pending: Job[] = [];
  let running: Job | undefined;
  let deaf = false;
  let open = 0;

  const fake: FakeComfyui = {
    origin: '',
    requests,
    connected,
    jobs,
    interrupts,
    said,
    get open() {
      return open;
    },
    old: false,
    slowEnd: false,
    sockets: 'open',
    http: 'answer',
    checkpoints: ['sd15.safetensors'],
    nodeTypes: new Set(knownNodes),
    onRequest: () => undefined,
    script: (prompt, first, ...more) => void scripts.set(prompt, [first, ...more]),
    step(count = 1) {
      for (let i = 0; i < count; i += 1) takeStep();
    },
    foreign(steps, { silent = false, previews = [] } = {}) {
      const job: Job = {
        id: randomUUID(),
        clientId: silent ? undefined : 'somebody-else',
        prompt: '',
        foreign: true,
        recipe: '',
        state: 'queued',
        number: jobs.length,
        graph: {},
        deed: { do: 'draw', steps, previews },
        done: 0,
      };
      put(job);
      return job;
    },
    interruptByOther() {
      if (running !== undefined) stop(running);
    },
    deafen: () => void (deaf = true),
    restart() {
      for (const job of [...pending, ...(running === undefined ? [] : [running])]) job.state = 'lost';
      pending = [];
      running = undefined;
      history = new Map();
      fake.cutSockets();
    },
    cutSockets() {
      for (const socket of tcp) socket.destroy();
    },
    takeLate() {
      for (const take of late.splice(0)) take();
    },
    tell(frame) {
      for (const { socket } of clients.values()) socket.send(Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
    },
    clearHistory: () => history.clear(),
    async close() {
      fake.cutSockets();
      await new Promise((resolve) => {
        server.close(resolve);
      });
      if (failures.length > 0) throw failures[0];
    },
  };

  // ---- the queue

  function put(job: Job): void {
    jobs.push(job);
    pending.push(job);
    queueChanged();
    work();
  }

  function work(): void {
    const next = running === undefined ? pending.shift() : undefined;
    if (next === undefined) return;
    running = next;
    next.state = 'running';
    queueChanged();
    sendTo(next, 'execution_start', { prompt_id: next.id });
    sendTo(next, 'execution_cached', { nodes: [], prompt_id: next.id });
    sendTo(next, 'executing', { node: '1', display_node: '1', prompt_id: next.id });
    sendNodes(next, { '1': [0, 1], '2': [0, 1] });
    sendTo(next, 'executing', { node: '5', display_node: '5', prompt_id: next.id });
    if (
      next.deed.do === 'hang' ||
      next.deed.do === 'take-late' ||
      (next.deed.do === 'draw' && next.deed.steps !== undefined)
    )
      return;
    end(next);
  }

  function takeStep(): void {
    if (running === undefined || running.deed.do !== 'draw') return;
    const { steps = 0, previews = [] } = running.deed;
    if (running.done === steps) {
      end(running);
      return;
    }
    running.done += 1;
    said.push(running.done / steps);
    sendTo(running, 'progress', { value: running.done, max: steps, prompt_id: running.id, node: '5' });
    sendNodes(running, { '5': [running.done, steps] });
    const shown = previews[Math.min(running.done, previews.length) - 1];
    if (shown !== undefined) sendPreview(running, shown);
  }

  function end(job: Job): void {
    const { deed } = job;
    if (deed.do === 'error-in-200') fail(job, 'CUDA error');
    else if (deed.do === 'node-fails') fail(job, deed.message);
    else {
      const saved = { images: [{ filename: `${job.id}.png`, subfolder: 'a b', type: 'output' }] };
      const shown = { images: [{ filename: 'shown.png', subfolder: '', type: 'temp' }] };
      const outputs = deed.do === 'outputs' ? deed.outputs : { '6': shown, '7': saved };
      sendTo(job, 'executed', { node: '7', output: saved, prompt_id: job.id });
      sendTo(job, 'execution_success', { prompt_id: job.id });
      const done = { outputs, status: { status_str: 'success', completed: true, messages: [] } };
      if (fake.slowEnd) seenInQueue = () => void setImmediate(() => over(job, 'ended', done));
      else over(job, 'ended', done);
    }
  }

  function fail(job: Job, exception_message: string): void {
    const data = { prompt_id: job.id, node_id: '5', node_type: 'KSampler', executed: [], exception_message };
    sendTo(job, 'execution_error', data);
    over(job, 'ended', failed('execution_error', data));
  }

  function stop(job: Job): void {
    const data = { prompt_id: job.id, node_id: '5', node_type: 'KSampler', executed: [] };
    send(undefined, 'execution_interrupted', data);
    over(job, 'stopped', failed('execution_interrupted', data));
  }

  function failed(name: string, data: object): object {
    return {
      outputs: {},
      status: {
        status_str: 'error',
        completed: false,
        messages: [
          ['execution_start', {}],
          [name, data],
        ],
      },
    };
  }

  function over(job: Job, state: Job['state'], entry: object): void {
    job.state = state;
    running = undefined;
    history.set(job.id, { prompt: itemOf(job), ...entry });
    queueChanged();
    if (job.clientId !== undefined) sendTo(job, 'executing', { node: null, prompt_id: job.id });
    work();
  }

  // ---- frames

  function send(clientId: string | undefined, type: string, data: object): void {
    for (const [id, { socket }] of clients) {
      if (clientId === undefined || id === clientId) socket.send(JSON.stringify({ type, data }));
    }
  }

  function sendTo(job: Job, type: string, data: object): void {
    // As add_message does: without a client these are not sent at all; progress and previews are, to everybody.
    if (job.clientId === undefined && type !== 'progress') return;
    send(job.clientId, type, data);
  }

  function sendNodes(job: Job, nodes: Record<string, [number, number]>): void {
    if (fake.old) return;
    const entries = Object.entries(nodes).map(([id, [value, max]]) => [
      id,
      { value, max, state: 'running', node_id: id, prompt_id: job.id, display_node_id: id, real_node_id: id },
    ]);
    send(job.clientId, 'progress_state', { prompt_id: job.id, nodes: Object.fromEntries(entries) });
  }

  function sendPreview(job: Job, image: Uint8Array): void {
    for (const [id, { socket, withMetadata }] of clients) {
      if (job.clientId !== undefined && id !== job.clientId) continue;
      const metadata = { node_id: '5', prompt_id: job.id, image_type: 'image/jpeg' };
      // Whether the new kind is sent depends on the job's client, so nobody's job is shown to everybody in the old one.
      socket.send(withMetadata && job.clientId !== undefined ? previewWithMetadata(image, metadata) : preview(image));
    }
  }

  function queueChanged(): void {
    send(undefined, 'status', { status: { exec_info: { queue_remaining: pending.length + (running ? 1 : 0) } } });
  }

  // ---- HTTP

  const routes: Record<string, (request: SeenRequest, response: ServerResponse) => void> = {
    'POST /prompt': postPrompt,
    'GET /queue': (_, response) => {
      const queue_running = running === undefined ? [] : [itemOf(running)];
      json(response, 200, { queue_running, queue_pending: pending.map(itemOf) });
      seenInQueue();
      seenInQueue = () => undefined;
    },
    'POST /queue': ({ body }, response) => {
      const ids = field(parseJson(body), 'delete');
      for (const id of Array.isArray(ids) ? ids : []) {
        const job = deaf ? undefined : pending.find((waiting) => waiting.id === id);
        interrupts.push(job?.id ?? '');
        if (job === undefined) continue;
        job.state = 'removed';
        pending = pending.filter((waiting) => waiting !== job);
        queueChanged();
      }
      response.end();
    },
    'POST /interrupt': ({ body }, response) => {
      const wanted = field(parseJson(body), 'prompt_id');
      const hit = fake.old || wanted === undefined || running?.id === wanted ? running : undefined;
      interrupts.push(deaf ? '' : (hit?.id ?? ''));
      response.end();
      if (hit !== undefined && !deaf && hit.deed.do !== 'hang') stop(hit);
    },
    'GET /system_stats': (_, response) =>
      json(response, 200, { system: { os: 'posix', comfyui_version: '0.3.64' }, devices: [] }),
  };

  function postPrompt({ body }: SeenRequest, response: ServerResponse): void {
    const data = parseJson(body);
    const graph = field(data, 'prompt');
    const clientId = field(data, 'client_id');
    const ownId = field(data, 'prompt_id');
    const prompt = promptOf(graph);
    const script = scripts.get(prompt) ?? [];
    const deed = (script.length > 1 ? script.shift() : script[0]) ?? { do: 'draw' };
    const job: Job = {
      id: !fake.old && typeof ownId === 'string' ? ownId : randomUUID(),
      clientId: typeof clientId === 'string' ? clientId : undefined,
      prompt,
      foreign: false,
      recipe: JSON.stringify(graph),
      state: 'queued',
      number: jobs.length,
      graph,
      deed,
      done: 0,
    };
    const refusal = deed.do === 'node-error' ? deed.message : refusalOf(graph);
    if (refusal !== undefined) {
      const errors = [{ type: 'value_not_in_list', message: 'Value not in list', details: refusal, extra_info: {} }];
      json(response, 400, {
        error: { type: 'prompt_outputs_failed_validation', message: 'Prompt outputs failed validation', details: '' },
        node_errors: { '1': { errors, dependent_outputs: ['7'], class_type: 'CheckpointLoaderSimple' } },
      });
    } else if (deed.do === 'error') {
      if (deed.retryAfterS !== undefined) response.setHeader('retry-after', deed.retryAfterS);
      json(response, deed.status, {
        error: { type: 'x', message: deed.message ?? 'no', details: '' },
        node_errors: {},
      });
    } else if (deed.do === 'html') {
      response.setHeader('content-type', 'text/html').end('<html><body>200 Welcome</body></html>');
    } else if (deed.do === 'cut') response.destroy();
    else {
      const take = (): void => {
        if (deed.do === 'answer-lost') response.destroy();
        else json(response, 200, { prompt_id: job.id, number: job.number, node_errors: {} });
        put(job);
      };
      if (deed.do === 'take-late') late.push(take);
      else take();
    }
  }

  function refusalOf(graph: unknown): string | undefined {
    const name = field(field(field(graph, '1'), 'inputs'), 'ckpt_name');
    if (typeof name !== 'string' || fake.checkpoints.includes(name)) return undefined;
    return `ckpt_name: '${name}' not in ${JSON.stringify(fake.checkpoints)}`;
  }

  function view(url: URL, response: ServerResponse): void {
    const job = jobs.find(({ id }) => `${id}.png` === url.searchParams.get('filename'));
    const good = url.searchParams.get('subfolder') === 'a b' && url.searchParams.get('type') === 'output';
    response.setHeader('content-type', 'image/png');
    if (job === undefined || !good) {
      // What was only shown, in a temporary folder.
      if (url.searchParams.get('type') === 'temp') response.end(png);
      else response.writeHead(404).end();
      return;
    }
    const { deed } = job;
    const bytes = deed.do === 'draw' && deed.bytes !== undefined ? deed.bytes : png;
    if (deed.do === 'truncated') response.end(bytes.slice(0, bytes.length / 2));
    else if (deed.do === 'stall') response.writeHead(200, { 'content-length': 1000 }).write(bytes.slice(0, 20));
    else if (deed.do === 'too-large') response.write(Buffer.alloc(3 * 1024 * 1024));
    else response.end(bytes);
  }

  function answer(request: SeenRequest, response: ServerResponse): void {
    const url = new URL(request.path.replace(/^\/api\//, '/'), 'http://x');
    const route = routes[`${request.method} ${url.pathname}`];
    const [, folder, name = ''] = url.pathname.split('/').map(decodeURIComponent);
    if (fake.http === 'hang') return;
    if (isForeign(request.headers)) response.writeHead(403).end();
    else if (fake.http === 'refuse-503') response.writeHead(503).end('busy');
    else if (route !== undefined) route(request, response);
    else if (folder === 'history') json(response, 200, history.has(name) ? { [name]: history.get(name) } : {});
    else if (folder === 'object_info') json(response, 200, fake.nodeTypes.has(name) ? { [name]: nodeInfo(name) } : {});
    else if (folder === 'view') view(url, response);
    else response.writeHead(404).end();
  }

  function nodeInfo(name: string): object {
    return {
      input: { required: name === 'CheckpointLoaderSimple' ? { ckpt_name: [fake.checkpoints, {}] } : {} },
      name,
    };
  }

  const server = createServer((request, response) => {
    open += 1;
    response.once('close', () => void (open -= 1));
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => undefined);
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request;
      const seen: SeenRequest = { method, path, headers, body: Buffer.concat(chunks).toString('utf8') };
      requests.push(seen);
      try {
        fake.onRequest(seen);
        answer(seen, response);
      } catch (error) {
        failures.push(error);
        response.destroy();
      }
    });
  });
  server.on('connection', (socket) => {
    tcp.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => tcp.delete(socket));
  });

  // ---- WebSockets

  const upgrades = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    const url = new URL((request.url ?? '').replace(/^\/api\//, '/'), 'http://x');
    requests.push({ method: 'WS', path: request.url ?? '', headers: request.headers, body: '' });
    if (fake.sockets === 'hang') return;
    if (fake.sockets === 'refuse' || isForeign(request.headers) || url.pathname !== '/ws') {
      socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    upgrades.handleUpgrade(request, socket, head, (client) =>
      accept(client, url.searchParams.get('clientId') ?? randomUUID()),
    );
  });

  function accept(socket: WebSocket, id: string): void {
    open += 1;
    const client: Client = { socket, withMetadata: false };
    clients.set(id, client);
    connected.push(id);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      open -= 1;
      // The server's own bug is left out: it forgets the newer socket of this id, too.
      if (clients.get(id) === client) clients.delete(id);
    });
    socket.on('message', (data: Buffer) => {
      const frame = parseJson(data.toString('utf8'));
      if (fake.old || field(frame, 'type') !== 'feature_flags') return;
      client.withMetadata = field(field(frame, 'data'), 'supports_preview_metadata') === true;
      socket.send(JSON.stringify({ type: 'feature_flags', data: { supports_preview_metadata: true } }));
    });
    send(id, 'status', { status: { exec_info: { queue_remaining: pending.length } }, sid: id });
    if (running?.clientId === id) send(id, 'executing', { node: '5' });
  }

  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return Object.defineProperty(fake, 'origin', {
    value: `http://127.0.0.1:${String(field(server.address(), 'port'))}`,
  });
}

/** A preview as servers send it to clients that said nothing: 1, kind of image, bytes. */
export function preview(image: Uint8Array): Buffer {
  return Buffer.concat([uint32(1), uint32(1), image]);
}

/** A preview as servers send it since 2025: 4, length of the JSON, JSON, bytes. */
export function previewWithMetadata(image: Uint8Array, metadata: object): Buffer {
  const text = Buffer.from(JSON.stringify(metadata), 'utf8');
  return Buffer.concat([uint32(4), uint32(text.length), text, image]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function itemOf(job: Job): unknown[] {
  const extra = job.clientId === undefined ? {} : { client_id: job.clientId };
  return [job.number, job.id, job.graph, extra, ['7']];
}

/** The text of the node that the sampler takes as positive. */
function promptOf(graph: unknown): string {
  const node: unknown = field(field(field(field(graph, '5'), 'inputs'), 'positive'), 0);
  const text = typeof node === 'string' ? field(field(field(graph, node), 'inputs'), 'text') : undefined;
  return typeof text === 'string' ? text : '';
}

function isForeign({ origin, host }: IncomingMessage['headers']): boolean {
  return origin !== undefined && new URL(origin).host !== host;
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(value));
}
