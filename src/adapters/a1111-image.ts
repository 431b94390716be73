import { createHash, randomUUID } from 'node:crypto';
import type { Clock } from '../ports/clock.ts';
import { settleMs, type Image, type ImageModel, type ImageRequest, type Report } from '../ports/models.ts';
import {
  a1111Server,
  interrupt,
  look,
  submit,
  wasInterrupted,
  type A1111Options,
  type A1111Server,
  type Sight,
  type Submitted,
} from './a1111-server.ts';
import { linkAbort } from './abort-link.ts';
import { providerError } from './openai-errors.ts';

export type { A1111Options } from './a1111-server.ts';

/** A job that the backend expects to end sooner is left to end: an interrupt might hit whatever comes after it. */
const notWorthInterruptingMs = 1000;

/**
 * An image engine behind AUTOMATIC1111, Forge or SD.Next. Throws a TypeError for a bad configuration.
 *
 * These work on one job at a time, take no notice of a closed socket, and can only interrupt whatever runs now, whoever's it is. So each
 * job gets a name of its own, and is interrupted only when the backend has just said that it runs the job of this name.
 */
export function a1111Image(options: A1111Options): ImageModel {
  const server = a1111Server(options);
  return {
    engine: options.model ?? 'a1111',
    variant: JSON.stringify(server.recipe),
    host: server.backend.upstream.host,
    generate: (request, signal, report) => generate(server, request, signal, report),
  };
}

async function generate(
  server: A1111Server,
  request: ImageRequest,
  signal: AbortSignal,
  report: Report,
): Promise<Image> {
  const link = linkAbort(signal);
  // The picture of an earlier job of this name could not be had any more (it goes to the socket that asked for it, and nowhere else), and
  // two jobs of one name could not be told apart: the name only begins with the one that we were given.
  const id = `${request.job ?? 'mullion'}.${randomUUID()}`;
  const job = submit(server, id, { prompt: request.prompt, seed: seedOf(request.seed) }, () => report.heard());
  watch(server, id, link.signal, report).catch(() => undefined);
  try {
    return await link.race(wholePicture(server, job, link.signal));
  } catch (error) {
    if (!signal.aborted) throw error;
    await worksNoMore(server, id, job);
    // Not `error`: the call may have failed in the very moment of the abort.
    throw signal.reason;
  } finally {
    job.close();
    // Ends the watch, too.
    link.close(false);
  }
}

/** Every engine of this family takes a seed of 32 bits; -1 would mean a random one. */
function seedOf(seed: string): number {
  return createHash('sha256').update(seed).digest().readUInt32BE(0);
}

async function wholePicture(server: A1111Server, job: Submitted, signal: AbortSignal): Promise<Image> {
  const image = await job.picture;
  if (await wasInterrupted(server, signal)) {
    const { upstream } = server.backend;
    const message = `somebody interrupted the picture at ${upstream.host}; what came is half-made`;
    throw providerError(upstream, 'provider', message);
  }
  return image;
}

/** Tells what the backend says of the job, until `stop`. */
async function watch(server: A1111Server, id: string, stop: AbortSignal, report: Report): Promise<void> {
  let previewId = -1;
  let percent = -1;
  while (await pause(server.backend.clock, server.pollMs, stop)) {
    const sight = await look(server, id, previewId, stop);
    if (sight === 'absent') return;
    if (sight === 'unclear') continue;
    if (sight.running || sight.queued) report.heard();
    if (!sight.running) continue;
    const reached = sight.progress === undefined ? percent : Math.round(sight.progress * 100);
    // A second pass (hires fix) may count anew; what people see does not go back.
    if (reached > percent) report.progress(reached, 100, 'percent');
    percent = Math.max(percent, reached);
    if (sight.preview !== undefined) report.preview(sight.preview);
    previewId = sight.previewId;
  }
}

/**
 * After an abort: resolves when the backend works on the job no more, after `settleMs` at the latest. A job that waits cannot be taken out of
 * the queue: it is interrupted when its turn comes. The socket stays open, since its answer is the best proof that the work is over.
 */
async function worksNoMore(server: A1111Server, id: string, job: Submitted): Promise<void> {
  const { clock } = server.backend;
  const stop = new AbortController();
  const timer = clock.setTimeout(() => stop.abort(), settleMs);
  void job.answered.then(() => stop.abort());
  try {
    let isAsked = false;
    do {
      const sight = await look(server, id, 'none', stop.signal);
      if (sight === 'unclear') continue;
      // Only the answer or the end of the time will tell.
      if (sight === 'absent') return void (await pause(clock, settleMs, stop.signal));
      if (sight.running && !isAsked && isWorthIt(sight)) isAsked = await interrupt(server, stop.signal);
      if (isForgotten(server, job, sight)) return;
    } while (await pause(clock, server.pollMs, stop.signal));
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    clock.clearTimeout(timer);
    stop.abort();
  }
}

function isWorthIt({ progress, etaMs }: Sight): boolean {
  return progress !== 1 && (etaMs === undefined || etaMs >= notWorthInterruptingMs);
}

/** While the socket is open a job that the backend does not know may be on its way there; once it broke, silence means that it is gone. */
function isForgotten(server: A1111Server, job: Submitted, { running, queued }: Sight): boolean {
  return job.state() === 'broken' && server.knowsNames && !running && !queued;
}

/** Waits; true = the time has passed, false = `stop` aborted. */
function pause(clock: Clock, delayMs: number, stop: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (stop.aborted) {
      resolve(false);
      return;
    }
    const end = (passed: boolean): void => {
      clock.clearTimeout(timer);
      stop.removeEventListener('abort', onAbort);
      resolve(passed);
    };
    const onAbort = (): void => end(false);
    const timer = clock.setTimeout(() => end(true), delayMs);
    stop.addEventListener('abort', onAbort);
  });
}
