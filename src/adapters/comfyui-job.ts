import { createHash } from 'node:crypto';
import { ProviderError } from '../ports/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { JsonObject } from '../protocol/records.ts';
import {
  endOf,
  interrupt,
  queuedJobs,
  remove,
  submit,
  type Bounds,
  type Ended,
  type Place,
  type QueuedJob,
} from './comfyui-client.ts';
import { scrubbed, type HttpBackend } from './http-json.ts';
import { providerError } from './openai-errors.ts';

/** A job at the backend, or on its way there. */
export interface Job {
  /** As the backend names it. */
  id: string;
  /** As we call ourselves for this job alone: it finds the job at a backend that gives its own ids. */
  readonly clientId: string;
  /** Whether the backend took our id. One that did not is so old that its interrupt hits whatever runs. */
  named: boolean;
}

/** How often a backend is asked when no socket tells when to. */
const pollMs = 1000;
/** And when one does: its frames can be lost, too. */
const slowPollMs = 10_000;
/** Answers in a row that may be missing while a job runs: a restart of the backend, a proxy that reloads. */
const maxMissing = 20;
/** Failed tries of one piece of work that are remembered by their names. */
const maxTries = 8;
const stopPollMs = 500;

/** A job, and where the backend has it; `nowhere` = it has to be given to it. */
export type Located = { readonly job: Job; readonly at: Place | 'nowhere' } | { readonly job: Job; readonly at: Ended };

/**
 * The job of this name. A try that failed keeps its name at the backend for ever; the next one has another that is made of it, so that
 * also that one is found after a restart of this process. `begin` hears each name before the backend is asked for it.
 */
export async function findJob(
  backend: HttpBackend,
  name: string,
  prefix: string,
  bounds: Bounds,
  begin: (job: Job) => void,
): Promise<Located> {
  for (let tries = 0; ; tries += 1) {
    const id = tries === 0 ? name : derivedUuid(name, tries);
    const job: Job = { id, clientId: prefix + id, named: true };
    begin(job);
    const at = await lookFor(backend, job, bounds);
    if (at === undefined) return { job, at: 'nowhere' };
    if (typeof at === 'string') return { job, at };
    if (at.failure === undefined) return { job, at };
    if (tries === maxTries) return { job, at: 'nowhere' };
  }
}

/** Gives the backend a job. When the answer is lost, the job may have arrived nevertheless. */
export async function giveJob(backend: HttpBackend, job: Job, graph: JsonObject, bounds: Bounds): Promise<void> {
  try {
    const id = await submit(backend, { prompt: graph, prompt_id: job.id, client_id: job.clientId }, bounds);
    adopt(job, id);
  } catch (error) {
    bounds.signal.throwIfAborted();
    if (!(error instanceof ProviderError) || (error.code !== 'connection' && error.code !== 'idle_timeout'))
      throw error;
    const found = await lookFor(backend, job, bounds).catch(() => undefined);
    if (found === undefined) throw error;
  }
}

/** Waits for the end of a job that the backend has. `bell` rings when there may be news; without `alive` news come by asking only. */
export async function followJob(
  backend: HttpBackend,
  job: Job,
  bell: Bell,
  alive: () => boolean,
  bounds: Bounds,
): Promise<Ended> {
  const { host } = backend.upstream;
  let missing = 0;
  for (;;) {
    const found = await lookFor(backend, job, bounds).catch((error: unknown) => {
      bounds.signal.throwIfAborted();
      missing += 1;
      if (!(error instanceof ProviderError) || !error.retryable || missing >= maxMissing) throw error;
      return 'no answer' as const;
    });
    if (found === undefined) {
      const message = `${host} does not know the job any more: it was removed there, or the backend has restarted`;
      throw providerError(backend.upstream, 'provider', message);
    }
    if (found !== 'no answer') {
      if (typeof found === 'object') return whole(backend, found);
      missing = 0;
    }
    await bell.wait(backend.clock, alive() ? slowPollMs : pollMs, bounds.signal);
  }
}

/**
 * Ends a job and resolves when the backend does not work on it any more. Interrupts only what is ours: it asks twice what runs, and where
 * the interrupt hits whatever runs it lets the job go on while others wait, since theirs might just have begun.
 */
export async function stopJob(backend: HttpBackend, job: Job, bounds: Bounds): Promise<void> {
  const bell = newBell();
  for (;;) {
    try {
      const queue = await queuedJobs(backend, bounds);
      const place = placeOf(queue, job);
      if (place === undefined) return;
      if (place === 'pending') await remove(backend, job.id, bounds);
      else if (mayInterrupt(await queuedJobs(backend, bounds), job)) await interrupt(backend, job.id, bounds);
      if (placeOf(await queuedJobs(backend, bounds), job) === undefined) return;
    } catch (error) {
      bounds.signal.throwIfAborted();
      if (!(error instanceof ProviderError)) throw error;
      // The queue is in the memory of a process; where nothing listens there is none.
      if (error.code === 'connection' && error.message.includes('ECONNREFUSED')) return;
    }
    await bell.wait(backend.clock, stopPollMs, bounds.signal);
  }
}

/** Wakes whoever waits, or whoever will wait next. */
export interface Bell {
  ring(): void;
  /** Resolves at a ring, or after `delayMs`; rejects with the signal's reason. */
  wait(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void>;
}

/** A bell that has not rung. */
export function newBell(): Bell {
  let rung = false;
  let wake: (() => void) | undefined;
  return {
    ring() {
      rung = true;
      wake?.();
    },
    async wait(clock, delayMs, signal) {
      signal.throwIfAborted();
      if (!rung) {
        await new Promise<void>((resolve) => {
          const timer = clock.setTimeout(() => wake?.(), delayMs);
          wake = () => {
            wake = undefined;
            clock.clearTimeout(timer);
            signal.removeEventListener('abort', onAbort);
            resolve();
          };
          const onAbort = (): void => wake?.();
          signal.addEventListener('abort', onAbort, { once: true });
        });
      }
      rung = false;
      signal.throwIfAborted();
    },
  };
}

/** The queue first: a job leaves it and enters the history in one step, so that between the two questions none is overlooked. */
async function lookFor(backend: HttpBackend, job: Job, bounds: Bounds): Promise<Place | Ended | undefined> {
  return placeOf(await queuedJobs(backend, bounds), job) ?? endOf(backend, job.id, bounds);
}

function placeOf(queue: readonly QueuedJob[], job: Job): Place | undefined {
  const own = queue.find((item) => isOwn(item, job));
  if (own !== undefined) adopt(job, own.id);
  return own?.place;
}

function isOwn(item: QueuedJob, job: Job): boolean {
  return item.id === job.id || item.clientId === job.clientId;
}

function adopt(job: Job, id: string): void {
  if (id === job.id) return;
  job.id = id;
  job.named = false;
}

function mayInterrupt(queue: readonly QueuedJob[], job: Job): boolean {
  const running = queue.filter((item) => item.place === 'running');
  if (!running.some((item) => isOwn(item, job))) return false;
  return job.named || queue.every((item) => isOwn(item, job));
}

function whole(backend: HttpBackend, end: Ended): Ended {
  if (end.failure === undefined) return end;
  const message = `${backend.upstream.host} made no picture: ${end.failure}`;
  throw providerError(backend.upstream, 'provider', scrubbed(backend, message));
}

/** A UUID made of another one and a number: the same each time. */
function derivedUuid(name: string, index: number): string {
  const hex = createHash('sha256').update(`${name}/${index}`).digest('hex');
  // Version 8: of our own making.
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
