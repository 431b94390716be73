/**
 * A server with OpenAI's `/v1/images/generations` on a free port of 127.0.0.1, for the exam of image engines (image-engine.contract.ts). It
 * works on all jobs at the same time, forgets a job when its socket closes, and draws what the test says.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Deed, SeenJob } from '../adapters/image-engine.contract.ts';
import { event, eventStream, png } from './hostile-cases.ts';

interface Ask {
  prompt: string;
  stream: boolean;
  /** Previews that were asked for. */
  partials: number;
  recipe: string;
}

type Drawn = Extract<Deed, { do: 'draw' }>;

class Job {
  readonly id: string;
  readonly prompt: string;
  readonly recipe: string;
  readonly foreign = false;
  state: SeenJob['state'] = 'running';
  taken = 0;
  readonly ask: Ask;
  readonly deed: Deed;
  readonly response: ServerResponse;

  constructor(id: string, ask: Ask, deed: Deed, response: ServerResponse) {
    this.id = id;
    this.ask = ask;
    this.prompt = ask.prompt;
    this.recipe = ask.recipe;
    this.deed = deed;
    this.response = response;
  }
}

/** The fake, as a bench's backend. */
export class FakeOpenaiImages {
  /** Each progress it has told, 0 to 1: previews so far of those that were asked for. */
  readonly said: number[] = [];
  #jobs: Job[] = [];
  #numbered = 0;
  #open = 0;
  #deaf = false;
  #maxBytes = 0;
  readonly #deeds = new Map<string, Deed[]>();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((request, response) => void this.#take(request, response));

  /** Listens; resolves with the base URL. `maxBytes`: what the model takes. */
  async listen(maxBytes: number): Promise<string> {
    this.#maxBytes = maxBytes;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('expected an address of TCP');
    return `http://127.0.0.1:${address.port}/v1`;
  }

  script(prompt: string, first: Deed, ...more: Deed[]): void {
    this.#deeds.set(prompt, [first, ...more]);
  }

  step(count = 1): void {
    for (let i = 0; i < count; i += 1) for (const job of this.#jobs.filter(isDrawing)) this.#stepOf(job);
  }

  deafen(): void {
    this.#deaf = true;
  }

  restart(): void {
    for (const job of this.#jobs) if (job.state === 'running') job.state = 'lost';
    this.cutSockets();
  }

  cutSockets(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  jobs(): readonly SeenJob[] {
    return this.#jobs.map(({ id, prompt, recipe, foreign, state }) => ({ id, prompt, recipe, foreign, state }));
  }

  openExchanges(): number {
    return this.#open;
  }

  async close(): Promise<void> {
    this.cutSockets();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#open += 1;
    let job: Job | undefined;
    response.once('close', () => {
      this.#open -= 1;
      if (job?.state === 'running' && !this.#deaf) job.state = 'stopped';
    });
    const ask = await readAsk(request).catch(() => undefined);
    if (ask === undefined) return;
    job = new Job(String((this.#numbered += 1)), ask, this.#nextDeed(ask.prompt), response);
    this.#jobs.push(job);
    this.#begin(job);
  }

  #nextDeed(prompt: string): Deed {
    const deeds = this.#deeds.get(prompt) ?? [];
    return (deeds.length > 1 ? deeds.shift() : deeds[0]) ?? { do: 'draw' };
  }

  #begin(job: Job): void {
    const { deed, response, ask } = job;
    switch (deed.do) {
      case 'draw':
        if (deed.steps === undefined) this.#finish(job, deed.bytes ?? png);
        return;
      case 'error': {
        const { status, retryAfterS, message = 'scripted' } = deed;
        job.state = 'ended';
        const wait = retryAfterS === undefined ? {} : { 'retry-after': String(retryAfterS) };
        response.writeHead(status, { 'content-type': 'application/json', ...wait });
        response.end(JSON.stringify({ error: { message, type: 'scripted' } }));
        return;
      }
      case 'error-in-200':
        job.state = 'ended';
        this.#write(
          job,
          ask.stream ? event({ type: 'error', error: { message: 'scripted' } }) : '{"error":"scripted"}',
        );
        response.end();
        return;
      case 'html':
        job.state = 'ended';
        response.writeHead(200, { 'content-type': 'text/html' });
        response.end('<!DOCTYPE html><html><body>Sign in</body></html>');
        return;
      case 'truncated':
        this.#finish(job, png.subarray(0, png.length / 2));
        return;
      case 'cut':
        job.state = 'ended';
        response.destroy();
        return;
      case 'hang':
        return;
      case 'stall':
        job.state = 'ended';
        this.#write(job, answerOf(ask, png).slice(0, -20));
        return;
      case 'too-large':
        job.state = 'ended';
        this.#write(job, answerOf(ask, png).slice(0, 60));
        this.#flood(job);
    }
  }

  #stepOf(job: Job & { deed: Drawn }): void {
    const { steps = 0, previews, bytes } = job.deed;
    if (job.taken === steps) {
      this.#finish(job, bytes ?? png);
      return;
    }
    const index = job.taken;
    job.taken += 1;
    const shown = previews?.[Math.min(index, previews.length - 1)];
    if (!job.ask.stream || shown === undefined || index >= job.ask.partials) return;
    this.said.push((index + 1) / job.ask.partials);
    const b64_json = Buffer.from(shown).toString('base64');
    this.#write(job, event({ type: 'image_generation.partial_image', partial_image_index: index, b64_json }));
  }

  #finish(job: Job, bytes: Uint8Array): void {
    job.state = 'ended';
    this.#write(job, answerOf(job.ask, bytes));
    job.response.end();
  }

  #write({ ask, response }: Job, text: string): void {
    if (response.destroyed) return;
    if (!response.headersSent)
      response.writeHead(200, ask.stream ? eventStream : { 'content-type': 'application/json' });
    response.write(text);
  }

  /** More base64 than the model takes, and no end. */
  #flood({ response }: Job): void {
    const block = 'A'.repeat(Math.max(4096, this.#maxBytes));
    const more = (): void => {
      if (!response.destroyed && response.write(block)) setImmediate(more);
    };
    response.on('drain', more);
    more();
  }
}

function isDrawing(job: Job): job is Job & { deed: Drawn } {
  return job.state === 'running' && job.deed.do === 'draw';
}

function answerOf({ stream }: Ask, bytes: Uint8Array): string {
  const b64_json = Buffer.from(bytes).toString('base64');
  return stream
    ? event({ type: 'image_generation.completed', b64_json, usage: { input_tokens: 1, output_tokens: 2 } })
    : JSON.stringify({ created: 1, data: [{ b64_json }] });
}

async function readAsk(request: IncomingMessage): Promise<Ask> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  const recipe = Buffer.concat(chunks).toString();
  const body: { prompt: string; stream?: boolean; partial_images?: number } = JSON.parse(recipe);
  return { prompt: body.prompt, stream: body.stream === true, partials: body.partial_images ?? 0, recipe };
}
