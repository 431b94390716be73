/**
 * AUTOMATIC1111's web UI on 127.0.0.1, as far as an image engine sees it, after what PROVIDERS.md 1.3 found in the sources: one lock, so that
 * jobs wait for each other; progress that describes what runs now; an interrupt that hits whatever runs, and an interrupted job that answers
 * 200 with what it has; a closed socket that nobody notices. No timers: jobs move on by `step()`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Deed, SeenJob } from '../adapters/image-engine.contract.ts';
import { png } from './hostile-cases.ts';

/**
 * a1111, forge: as described; forge answers 500 for an unknown model. sdnext: knows no job by the name that its client gave it, and answers an
 * interrupt with 204. kobold: txt2img and nothing else.
 */
export type Flavour = 'a1111' | 'forge' | 'sdnext' | 'kobold';

/** What an interrupted job answers: a good PNG, but not the picture. */
export const halfMade: Buffer = Buffer.concat([
  png.subarray(0, -12),
  Buffer.from('00000004707256740bad0bad00000000', 'hex'),
  png.subarray(-12),
]);

export interface FakeA1111 {
  readonly origin: string;
  script(prompt: string, first: Deed, ...more: Deed[]): void;
  step(count?: number): void;
  foreign(steps: number): SeenJob;
  interruptByOther(): void;
  deafen(): void;
  restart(): void;
  cutSockets(): void;
  jobs(): readonly SeenJob[];
  readonly interrupts: readonly string[];
  readonly said: readonly number[];
  openExchanges(): number;
  /** Bodies of all calls of txt2img, as they came. */
  readonly bodies: readonly { readonly [key: string]: unknown }[];
  /** Method and path of every request. */
  readonly paths: readonly string[];
  /** Seconds that it says a running job needs yet; null = it says none. */
  etaS: number | null;
  /** Runs at every request before it is answered. */
  onRequest: (path: string) => void;
  close(): Promise<void>;
}

interface Job {
  readonly id: string;
  readonly prompt: string;
  readonly foreign: boolean;
  readonly recipe: string;
  readonly deed: Deed;
  readonly response: ServerResponse | undefined;
  state: SeenJob['state'];
  step: number;
}

/** Starts it on a free port. */
export async function startFakeA1111(
  options: {
    flavour?: Flavour;
    auth?: { user: string; password: string };
    models?: readonly string[];
    maxBytes?: number;
  } = {},
): Promise<FakeA1111> {
  const {
    flavour = 'a1111',
    auth,
    models = ['dream.safetensors [abcdef1234]', 'toon.safetensors'],
    maxBytes = 64 * 1024,
  } = options;
  const scripts = new Map<string, Deed[]>();
  const jobs: Job[] = [];
  const bodies: { readonly [key: string]: unknown }[] = [];
  const paths: string[] = [];
  const interrupts: string[] = [];
  const said: number[] = [];
  const open = new Set<ServerResponse>();
  /** modules/progress.py */
  let tasks = { current: '', pending: new Set<string>(), finished: [] as string[] };
  /** modules/shared_state.py; the two flags stay until the next job begins. */
  let flags = { interrupted: false, skipped: false };
  let isDeaf = false;

  const running = (): Job | undefined => jobs.find((job) => job.state === 'running');
  const stepsOf = ({ deed }: Job): number => (deed.do === 'draw' ? (deed.steps ?? 0) : 0);
  const progressOf = (job: Job): number => (stepsOf(job) === 0 ? 0 : job.step / stepsOf(job));

  const add = (job: Omit<Job, 'state' | 'step'>): Job => {
    const added: Job = { ...job, state: 'queued', step: 0 };
    jobs.push(added);
    tasks.pending.add(added.id);
    startNext();
    return added;
  };

  const startNext = (): void => {
    if (running() !== undefined) return;
    const job = jobs.find(({ state }) => state === 'queued');
    if (job === undefined) return;
    job.state = 'running';
    flags = { interrupted: false, skipped: false };
    tasks.current = job.id;
    tasks.pending.delete(job.id);
    // Whoever looks sees it run, however short it is.
    setImmediate(() => {
      if (job.state === 'running') perform(job);
    });
  };

  const perform = (job: Job): void => {
    const { deed } = job;
    if (deed.do === 'hang') return;
    if (deed.do === 'draw') {
      if (deed.steps === undefined) end(job, 'ended', () => sendPicture(job.response, deed.bytes ?? png));
      return;
    }
    end(job, 'ended', () => misbehave(job.response, deed, maxBytes), deed.do !== 'error');
  };

  /** `isFinished` false: an exception; A1111 leaves the task in `current_task` then. */
  const end = (job: Job, state: SeenJob['state'], answer: () => void, isFinished = true): void => {
    job.state = state;
    if (isFinished) {
      if (tasks.current === job.id) tasks.current = '';
      tasks.finished.push(job.id);
    }
    answer();
    startNext();
  };

  const interruptNow = (by: 'client' | 'other'): void => {
    const job = running();
    if (by === 'client') interrupts.push(job?.id ?? '');
    if (isDeaf && by === 'client') return;
    flags.interrupted = true;
    if (job?.deed.do === 'draw') end(job, 'stopped', () => sendPicture(job.response, halfMade));
  };

  const txt2img = (body: { readonly [key: string]: unknown }, response: ServerResponse): void => {
    bodies.push(body);
    const { force_task_id: id, ...rest } = body;
    const settings = Object.entries(Object(rest['override_settings']));
    const model = settings.find(([name]) => name === 'sd_model_checkpoint')?.[1];
    if (typeof model === 'string' && !models.includes(model)) {
      if (flavour === 'forge') sendJson(response, 500, fault('RuntimeError', '', `model '${model}' not found`));
      else sendJson(response, 404, fault('HTTPException', 'Model not found'));
      return;
    }
    const prompt = String(rest['prompt']);
    const queue = scripts.get(prompt) ?? [{ do: 'draw' }];
    const deed = (queue.length > 1 ? queue.shift() : queue[0]) ?? { do: 'draw' };
    add({
      id: flavour === 'a1111' || flavour === 'forge' ? String(id) : `api-${jobs.length}`,
      prompt,
      foreign: false,
      recipe: JSON.stringify(rest),
      deed,
      response,
    });
  };

  const internalProgress = (body: { readonly [key: string]: unknown }): object => {
    const id = String(body['id_task']);
    const active = id === tasks.current;
    const status = { active, queued: tasks.pending.has(id), completed: tasks.finished.includes(id) };
    const job = running();
    if (!active) return { ...status, progress: null, eta: null, live_preview: null, id_live_preview: -1 };
    const progress = job === undefined ? 0 : progressOf(job);
    said.push(progress);
    const shown = job?.deed.do === 'draw' && job.step > 0 ? (job.deed.previews ?? []) : [];
    const preview = shown[Math.min((job?.step ?? 0) - 1, shown.length - 1)];
    const previewId = preview === undefined ? Number(body['id_live_preview']) : (job?.step ?? 0);
    const isNew = preview !== undefined && previewId !== body['id_live_preview'] && body['live_preview'] !== false;
    const uri = isNew ? `data:image/jpeg;base64,${Buffer.from(preview).toString('base64')}` : null;
    return { ...status, progress, eta: fake.etaS, live_preview: uri, id_live_preview: previewId, textinfo: null };
  };

  const globalProgress = (): object => {
    const job = running();
    const progress = job === undefined ? 0 : Math.min(1, 0.01 + progressOf(job));
    const state = {
      ...flags,
      job: job === undefined ? '' : 'scripts_txt2img',
      job_count: job === undefined ? 0 : 1,
      job_no: 0,
      sampling_step: job?.step ?? 0,
      sampling_steps: job === undefined ? 0 : stepsOf(job),
    };
    return { progress, eta_relative: 0, state, current_image: null, textinfo: null };
  };

  const route = (path: string, body: { readonly [key: string]: unknown }, response: ServerResponse): void => {
    if (flavour === 'kobold' && !path.endsWith('/txt2img') && !path.endsWith('/sd-models')) {
      sendJson(response, 404, { detail: 'Not Found' });
      return;
    }
    switch (path) {
      case 'POST /sdapi/v1/txt2img':
        return txt2img(body, response);
      case 'POST /internal/progress':
        return sendJson(response, 200, internalProgress(body));
      case 'GET /sdapi/v1/progress':
        return sendJson(response, 200, globalProgress());
      case 'POST /sdapi/v1/interrupt':
        interruptNow('client');
        if (flavour === 'sdnext') return void response.writeHead(204).end();
        return sendJson(response, 200, {});
      case 'GET /sdapi/v1/sd-models':
        return sendJson(
          response,
          200,
          models.map((title) => ({ title, model_name: title.replace(/\..*$/, '') })),
        );
      case 'GET /sdapi/v1/options':
        return sendJson(response, 200, { sd_model_checkpoint: models[0], samples_format: 'png' });
      default:
        return sendJson(response, 404, { detail: 'Not Found' });
    }
  };

  const isAllowed = (request: IncomingMessage): boolean => {
    if (auth === undefined || request.url?.startsWith('/sdapi') !== true) return true;
    const token = Buffer.from(`${auth.user}:${auth.password}`).toString('base64');
    return request.headers.authorization === `Basic ${token}`;
  };

  const http = createServer((request, response) => {
    open.add(response);
    response.on('close', () => open.delete(response)).on('error', () => undefined);
    bodyOf(request).then(
      (body) => {
        const path = `${request.method} ${request.url?.split('?')[0]}`;
        paths.push(path);
        fake.onRequest(path);
        if (isAllowed(request)) route(path, body, response);
        else sendJson(response, 401, fault('HTTPException', 'Incorrect username or password'));
      },
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve) => {
    http.listen(0, '127.0.0.1', resolve);
  });
  const address = http.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');

  const fake: FakeA1111 = {
    origin: `http://127.0.0.1:${address.port}`,
    script: (prompt, first, ...more) => void scripts.set(prompt, [first, ...more]),
    step(count = 1) {
      const job = running();
      if (job?.deed.do !== 'draw') return;
      const { bytes = png } = job.deed;
      job.step += count;
      if (job.step <= stepsOf(job)) return;
      job.step = stepsOf(job);
      end(job, 'ended', () => sendPicture(job.response, bytes));
    },
    foreign: (steps) =>
      add({
        id: `task(web-${jobs.length})`,
        prompt: 'of somebody else',
        foreign: true,
        recipe: '',
        deed: { do: 'draw', steps },
        response: undefined,
      }),
    interruptByOther: () => interruptNow('other'),
    deafen: () => {
      isDeaf = true;
    },
    restart() {
      for (const job of jobs) if (job.state === 'queued' || job.state === 'running') job.state = 'lost';
      tasks = { current: '', pending: new Set(), finished: [] };
      flags = { interrupted: false, skipped: false };
      http.closeAllConnections();
    },
    cutSockets: () => http.closeAllConnections(),
    jobs: () => jobs,
    interrupts,
    said,
    openExchanges: () => open.size,
    bodies,
    paths,
    etaS: null,
    onRequest: () => undefined,
    async close() {
      const closed = new Promise((resolve) => {
        http.close(resolve);
      });
      http.closeAllConnections();
      await closed;
    },
  };
  return fake;
}

function misbehave(
  response: ServerResponse | undefined,
  deed: Exclude<Deed, { do: 'draw' | 'hang' }>,
  maxBytes: number,
): void {
  if (response === undefined) return;
  const base64 = png.toString('base64');
  switch (deed.do) {
    case 'error':
      return sendError(response, deed);
    case 'error-in-200':
      return sendJson(response, 200, fault('OutOfMemoryError', '', 'CUDA out of memory. Tried to allocate 2.00 GiB'));
    case 'html':
      return void response.writeHead(200, { 'content-type': 'text/html' }).end('<html><h1>Gradio</h1></html>');
    case 'truncated':
      return sendJson(response, 200, { images: [base64.slice(0, 4 * Math.floor(base64.length / 8))], info: '{}' });
    case 'cut':
      return void response.destroy();
    case 'stall':
      response.writeHead(200, { 'content-type': 'application/json' });
      return void response.write(`{"images":["${base64.slice(0, 40)}`);
    case 'too-large':
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"images":["');
      return pour(response, Buffer.alloc(maxBytes, 'A'));
  }
}

/** Writes `bytes` again and again until the client has gone. */
function pour(response: ServerResponse, bytes: Buffer): void {
  while (!response.destroyed && response.write(bytes));
  response.once('drain', () => pour(response, bytes));
}

function sendPicture(response: ServerResponse | undefined, bytes: Uint8Array): void {
  if (response === undefined) return;
  const images = [Buffer.from(bytes).toString('base64')];
  sendJson(response, 200, { images, parameters: { prompt: 'as asked' }, info: JSON.stringify({ seed: 1 }) });
}

function sendError(response: ServerResponse, deed: Extract<Deed, { do: 'error' }>): void {
  const { status, retryAfterS, message = 'no reason' } = deed;
  if (retryAfterS !== undefined) response.setHeader('retry-after', String(retryAfterS));
  const detail = [{ loc: ['body', 'steps'], msg: message, type: 'value_error' }];
  if (status === 422) sendJson(response, status, { detail });
  else sendJson(response, status, status >= 500 ? fault('RuntimeError', '', message) : fault('HTTPException', message));
}

/** The shape of every error of modules/api/api.py. */
function fault(error: string, detail: string, errors = ''): object {
  return { error, detail, body: '', errors };
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function bodyOf(request: IncomingMessage): Promise<{ readonly [key: string]: unknown }> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  const text = Buffer.concat(chunks).toString('utf8');
  const body: unknown = text === '' ? {} : JSON.parse(text);
  return Object.fromEntries(Object.entries(Object(body)));
}
