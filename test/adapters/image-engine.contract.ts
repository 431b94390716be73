/**
 * The exam of every ImageModel. Each engine brings a bench: the model, and a fake backend on a real socket that does what a case says.
 *
 * I1  A whole picture comes back, its extension by its magic number, whatever the backend called it.
 * I2  Jobs at once keep their own pictures, progress and previews; the same request gives the backend the same recipe, another seed another.
 * I3  Progress is the backend's own number, never invented, never decreasing; none while a job waits there, none after the call has settled.
 * I4  A preview is a real image; what is none is dropped without harm.
 * I5  An abort rejects with the signal's reason in every phase; a picture that has been returned stays returned.
 * I6  After an abort the call settles when the backend is known not to work on the job any more, at most `settleMs` later.
 * I7  Nobody else's job is ever interrupted or removed.
 * I8  A half-made picture is never returned.
 * I9  Every failure is a ProviderError with the code and `retryable` that errors.ts promises; Retry-After is kept.
 * I10 Whatever the backend sends is bounded: too large an answer is an error, and its socket is closed.
 * I11 After a call has settled nothing of it is left: no exchange, no timer, no listener on the signal.
 * I12 Secrets of the configuration are in no error.
 * I13 A job whose name is at work at the backend is not given to it a second time.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { getEventListeners } from 'node:events';
import { inspect } from 'node:util';
import { sniff } from '../../src/adapters/image-bytes.ts';
import { ProviderError } from '../../src/ports/errors.ts';
import { settleMs, type Image, type ImageModel, type ImageRequest, type Report } from '../../src/ports/models.ts';
import { png } from '../support/hostile-cases.ts';
import { gif, jpg, webp } from '../support/pictures.ts';
import type { SimClock } from '../support/sim-clock.ts';

/** What the fake backend does with a job. */
export type Deed =
  /**
   * Draws `bytes` (default: a one-pixel PNG). With `steps` it stands still before each step and before the end, until `step()`; without,
   * it is done at once. `previews`: what it shows after each step, the last one for all further; default none.
   */
  | {
      readonly do: 'draw';
      readonly bytes?: Uint8Array;
      readonly steps?: number;
      readonly previews?: readonly Uint8Array[];
    }
  /** Answers with this HTTP status and the backend's own shape of an error that has `message` in it. */
  | { readonly do: 'error'; readonly status: number; readonly retryAfterS?: number; readonly message?: string }
  /** Answers HTTP 200 and, where the picture would be, the backend's own shape of an error. */
  | { readonly do: 'error-in-200' }
  /** Answers HTTP 200 with a page of HTML. */
  | { readonly do: 'html' }
  /** The picture arrives with its last half missing, in an answer that is otherwise whole. */
  | { readonly do: 'truncated' }
  /** Closes the socket without an answer; works no more. */
  | { readonly do: 'cut' }
  /** Works for ever whatever it is told, and never sends a byte about the picture. */
  | { readonly do: 'hang' }
  /** Is done and sends the beginning of the answer, then nothing. */
  | { readonly do: 'stall' }
  /** Is done and sends more than `bench.maxBytes`, without an end if that is possible. */
  | { readonly do: 'too-large' };

/** A job as the fake backend sees it. */
export interface SeenJob {
  /** As the backend names it. */
  readonly id: string;
  readonly prompt: string;
  /** Somebody else's, made by `bench.foreign()`. */
  readonly foreign: boolean;
  /** All that decides how the picture looks: prompt, seed, size … as one text. */
  readonly recipe: string;
  /** ended: made, or failed by itself · stopped: interrupted while it ran · removed: taken out of the queue · lost: by a restart. */
  readonly state: 'queued' | 'running' | 'ended' | 'stopped' | 'removed' | 'lost';
}

/** What a backend can; where it cannot, the reason, which is printed with every case that is skipped for it. */
export interface ImageCan {
  /** Says how far a job is. */
  readonly progress: true | string;
  /** Shows pictures while it draws. */
  readonly preview: true | string;
  /** Works on one job at a time and lets the others wait, so that a job can be `queued`. */
  readonly queue: true | string;
  /** Stops a job that runs, by an interrupt that might also hit somebody else's. */
  readonly interrupt: true | string;
  /** Answers an interrupted job with what it has so far. */
  readonly halfMade: true | string;
  /** Goes on with a job whose client has gone: after an abort one has to wait for it. */
  readonly outlives: true | string;
  /** Can be asked about a job by the name that we gave it. */
  readonly names: true | string;
  /** Gives out the picture of a job that another connection began. */
  readonly reattach: true | string;
  /** Is given a seed. */
  readonly seed: true | string;
  /** Is given a key or a password. */
  readonly secret: true | string;
}

/** A model, the fake backend behind it and the switches of both. */
export interface ImageBench {
  readonly model: ImageModel;
  /**
   * The clock that the model was made with (one that nobody reads, for a model without timers). Cases let 25 ms of it pass for each real one,
   * so a model that polls is made with an interval of 50 ms or less.
   */
  readonly clock: SimClock;
  readonly can: ImageCan;
  /** Largest picture in bytes that the model takes; at most 1 MiB, so that the cases are fast. */
  readonly maxBytes: number;
  /** Key or password that the model was configured with, at least 8 characters; any text where `can.secret` says that there is none. */
  readonly secret: string;
  /** What the backend does with the jobs of this prompt: the first deed for the first, the last for all further. Default: draws at once. */
  script(prompt: string, first: Deed, ...more: Deed[]): void;
  /** The job that runs takes `count` steps (default 1); one more than it has ends it. Works on each running job where there is no queue. */
  step(count?: number): void;
  /** Somebody else gives the backend a job with `steps` steps; it runs when its turn comes. */
  foreign(steps: number): SeenJob;
  /** Somebody else interrupts what runs, and the backend ends it as it ends any interrupted job. Only used where `can.interrupt`. */
  interruptByOther(): void;
  /** From now on the backend ignores interrupts and removals, and takes no notice of closed sockets. */
  deafen(): void;
  /** Cuts all sockets and forgets all jobs and their results; the same address answers again at once. */
  restart(): void;
  /** Cuts all sockets; the jobs go on. Only used where `can.names`. */
  cutSockets(): void;
  /** All jobs that the backend was given, oldest first. */
  jobs(): readonly SeenJob[];
  /** The job that each interrupt or removal has hit, by its id; '' = none. */
  readonly interrupts: readonly string[];
  /** Each progress that the backend has told anybody, 0 to 1. */
  readonly said: readonly number[];
  /** Exchanges and WebSockets of the model that are not over; connections that only idle in a pool do not count. */
  openExchanges(): number;
  dispose(): Promise<void>;
}

interface Told {
  readonly progress: { value: number; max: number; unit: string }[];
  readonly previews: Image[];
  heard: number;
  /** Reports that came after the call had settled. */
  late: number;
}

type Outcome = { readonly image: Image } | { readonly error: unknown };

/** A call of the model that is under way. */
interface Drawing {
  readonly prompt: string;
  readonly told: Told;
  readonly signal: AbortSignal;
  /** How it ended; undefined while it lasts. */
  outcome(): Outcome | undefined;
  /** Its jobs that were queued or running at the backend in the moment when it settled. */
  leftAtWork(): readonly SeenJob[];
  abort(reason: unknown): void;
}

function begin(bench: ImageBench, request: Partial<ImageRequest> = {}, controller = new AbortController()): Drawing {
  const told: Told = { progress: [], previews: [], heard: 0, late: 0 };
  const ask: ImageRequest = { prompt: 'a lighthouse', seed: 's', ...request };
  let outcome: Outcome | undefined;
  let left: SeenJob[] = [];
  const settle = (how: Outcome): void => {
    outcome = how;
    left = ours(bench).filter((job) => job.prompt === ask.prompt && atWork(job));
  };
  const live = (note: () => void): void => {
    if (outcome === undefined) note();
    else told.late += 1;
  };
  const report: Report = {
    heard: () => live(() => (told.heard += 1)),
    progress: (value, max, unit) => live(() => told.progress.push({ value, max, unit })),
    preview: (image) => live(() => told.previews.push(image)),
    usage: () => live(() => undefined),
  };
  bench.model.generate(ask, controller.signal, report).then(
    (image) => settle({ image }),
    (error: unknown) => settle({ error }),
  );
  return {
    prompt: ask.prompt,
    told,
    signal: controller.signal,
    outcome: () => outcome,
    leftAtWork: () => left,
    abort: (reason) => controller.abort(reason),
  };
}

/** Real sockets get a real millisecond, the model's clock 25 ms of its own. */
async function turn(bench: ImageBench): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, 1);
  });
  await bench.clock.advance(25);
}

/** Goes on until `seen`; throws after 8 s, since it will never be. */
async function until(bench: ImageBench, what: string, seen: () => boolean): Promise<void> {
  const endMs = performance.now() + 8000;
  while (!seen()) {
    if (performance.now() > endMs) throw new Error(`never seen: ${what}; jobs: ${JSON.stringify(bench.jobs())}`);
    await turn(bench);
  }
}

/** Time for some polls and their answers: for what must not happen. */
async function breathe(bench: ImageBench): Promise<void> {
  for (let i = 0; i < 12; i += 1) await turn(bench);
}

async function jobOf(bench: ImageBench, drawing: Drawing, state: SeenJob['state']): Promise<SeenJob> {
  const find = (): SeenJob | undefined =>
    ours(bench).find((job) => job.prompt === drawing.prompt && job.state === state);
  await until(bench, `${drawing.prompt} ${state}`, () => find() !== undefined);
  const job = find();
  if (job === undefined) throw new Error('unreachable');
  return job;
}

const ours = (bench: ImageBench): SeenJob[] => bench.jobs().filter((job) => !job.foreign);
const atWork = (job: SeenJob): boolean => job.state === 'queued' || job.state === 'running';

/** Waits until the call has settled and checks what holds for every one. */
async function over(bench: ImageBench, drawing: Drawing): Promise<Outcome> {
  await until(bench, `${drawing.prompt} settled`, () => drawing.outcome() !== undefined);
  const outcome = drawing.outcome();
  if (outcome === undefined) throw new Error('unreachable');
  expect(drawing.told.late, '[I3] reports after the call').toBe(0);
  expectHonest(bench, drawing.told);
  expect(getEventListeners(drawing.signal, 'abort'), '[I11] listeners').toHaveLength(0);
  if ('error' in outcome && bench.can.secret === true) {
    expect(inspect(outcome.error, { depth: 9 }), '[I12]').not.toContain(bench.secret);
  }
  return outcome;
}

/** Nothing is left once all calls are over. */
async function nothingLeft(bench: ImageBench): Promise<void> {
  await until(bench, 'no exchange open', () => bench.openExchanges() === 0);
  expect(bench.clock.pending, '[I11] timers').toBe(0);
}

function expectHonest(bench: ImageBench, { progress, previews }: Told): void {
  let last = -1;
  for (const { value, max } of progress) {
    expect(value, '[I3] never decreasing').toBeGreaterThanOrEqual(last);
    expect(max).toBe(progress[0]?.max);
    last = value;
    const isSaid = bench.said.some((fraction) => Math.abs(fraction - value / max) < 0.0051);
    expect(isSaid, `[I3] ${value}/${max} is one of ${bench.said.join(', ')}`).toBe(true);
  }
  for (const { bytes, extension } of previews) expect(sniff(bytes), '[I4]').toBe(extension);
}

async function picture(bench: ImageBench, drawing: Drawing): Promise<Image> {
  const outcome = await over(bench, drawing);
  if ('error' in outcome) throw outcome.error;
  return { bytes: Buffer.from(outcome.image.bytes), extension: outcome.image.extension };
}

async function failure(bench: ImageBench, drawing: Drawing): Promise<ProviderError> {
  const outcome = await over(bench, drawing);
  if ('image' in outcome) throw new Error('expected an error, got a picture');
  expect(outcome.error).toBeInstanceOf(ProviderError);
  if (!(outcome.error instanceof ProviderError)) throw outcome.error;
  expect(outcome.error.message.length).toBeLessThanOrEqual(300);
  expect(outcome.error.message).not.toMatch(/[\r\n]/);
  return outcome.error;
}

/** The call ended by its abort: with this very reason, at a moment when the backend worked on none of its jobs. */
async function aborted(bench: ImageBench, drawing: Drawing, reason: unknown): Promise<void> {
  const outcome = await over(bench, drawing);
  expect('error' in outcome && outcome.error, '[I5] the reason').toBe(reason);
  expect(drawing.leftAtWork(), '[I6] at work when the call settled').toEqual([]);
}

/** A PNG of exactly this many bytes. */
function pngOf(bytes: number): Buffer {
  const padding = Buffer.alloc(bytes - png.length);
  padding.writeUInt32BE(padding.length - 12, 0);
  // A private chunk that decoders skip; its checksum does not matter, it is ancillary.
  padding.write('prVt', 4, 'latin1');
  return Buffer.concat([png.subarray(0, -12), padding, png.subarray(-12)]);
}

/** One PNG for each `n`, all different. */
const tinted = (n: number): Buffer => pngOf(png.length + 12 + n);

const statuses = [
  { status: 400, code: 'bad_request', retryable: false },
  { status: 401, code: 'auth', retryable: false },
  { status: 403, code: 'auth', retryable: false },
  { status: 404, code: 'bad_request', retryable: false },
  { status: 422, code: 'bad_request', retryable: false },
  { status: 429, retryAfterS: 7, code: 'rate_limited', retryable: true },
  { status: 500, code: 'provider', retryable: true },
  { status: 503, retryAfterS: 3, code: 'provider', retryable: true },
] as const;

/** Runs the exam against a fresh bench for each case. What a backend cannot do is skipped with its reason in the title. */
export function imageEngineContract(name: string, can: ImageCan, open: () => Promise<ImageBench>): void {
  describe(name, () => {
    let bench: ImageBench;
    const reason = new Error('superseded');

    beforeEach(async () => {
      bench = await open();
      expect(bench.can).toEqual(can);
    });
    afterEach(async () => {
      try {
        await nothingLeft(bench);
      } finally {
        await bench.dispose();
      }
    });

    /** A case for backends that can do all of `needs`. */
    const when = (needs: readonly (keyof ImageCan)[], title: string, run: () => Promise<void>): void => {
      const reasons = needs.map((need) => can[need]).filter((able) => able !== true);
      if (reasons.length === 0) test(title, run);
      else test.skip(`${title} -- SKIPPED: ${reasons.join('; ')}`, run);
    };

    describe('a picture', () => {
      test.each([
        ['png', png],
        ['jpg', jpg],
        ['webp', webp],
        ['gif', gif],
      ] as const)('[I1] a %s comes back whole, named by its bytes', async (extension, bytes) => {
        bench.script('it', { do: 'draw', bytes });
        expect(await picture(bench, begin(bench, { prompt: 'it' }))).toEqual({ bytes, extension });
        expect(ours(bench)).toMatchObject([{ prompt: 'it', state: 'ended' }]);
        expect(bench.interrupts).toEqual([]);
      });

      test('[I10] one of exactly the largest size comes back, one byte more is an error', async () => {
        bench.script('fits', { do: 'draw', bytes: pngOf(bench.maxBytes) });
        bench.script('more', { do: 'draw', bytes: pngOf(bench.maxBytes + 1) });
        expect((await picture(bench, begin(bench, { prompt: 'fits' }))).bytes).toHaveLength(bench.maxBytes);
        expect(await failure(bench, begin(bench, { prompt: 'more' }))).toMatchObject({
          code: 'provider',
          retryable: false,
        });
      });

      test('[I2] the prompt goes there as it is, line breaks, quotes and emoji too', async () => {
        const prompt = ' "a" \\n\n{"b": \u{1F5FC}} <lora:x:1>, (very:1.2) ';
        await picture(bench, begin(bench, { prompt }));
        expect(ours(bench)).toMatchObject([{ prompt }]);
      });

      when(['seed'], '[I2] the same request gives the same recipe, another seed another', async () => {
        for (const seed of ['one', 'one', 'two']) await picture(bench, begin(bench, { seed }));
        const [first, second, third] = ours(bench).map((job) => job.recipe);
        expect(second).toBe(first);
        expect(third).not.toBe(first);
      });

      test('[I2] two at once do not mix up their pictures, progress and previews', async () => {
        bench.script('a', { do: 'draw', steps: 3, bytes: tinted(1), previews: [tinted(11)] });
        bench.script('b', { do: 'draw', steps: 3, bytes: tinted(2), previews: [tinted(12)] });
        const a = begin(bench, { prompt: 'a' });
        const b = begin(bench, { prompt: 'b' });
        await until(bench, 'both are there', () => ours(bench).length === 2);
        for (let i = 0; i < 12 && ours(bench).some(atWork); i += 1) {
          bench.step();
          await breathe(bench);
        }
        expect(await picture(bench, a)).toEqual({ bytes: tinted(1), extension: 'png' });
        expect(await picture(bench, b)).toEqual({ bytes: tinted(2), extension: 'png' });
        for (const [drawing, n] of [
          [a, 11],
          [b, 12],
        ] as const) {
          for (const shown of drawing.told.previews) expect(Buffer.from(shown.bytes)).toEqual(tinted(n));
          if (can.preview === true) expect(drawing.told.previews.length).toBeGreaterThan(0);
          if (can.progress === true) expect(drawing.told.progress.length).toBeGreaterThan(1);
        }
      });
    });

    describe('progress', () => {
      when(['progress'], "[I3] is the backend's own, step by step", async () => {
        bench.script('it', { do: 'draw', steps: 4 });
        const drawing = begin(bench, { prompt: 'it' });
        await jobOf(bench, drawing, 'running');
        for (let step = 1; step <= 3; step += 1) {
          bench.step();
          const reached = (): boolean => (drawing.told.progress.at(-1)?.value ?? 0) > 0;
          await until(bench, `progress of step ${step}`, () => {
            const last = drawing.told.progress.at(-1);
            return reached() && last !== undefined && Math.abs(last.value / last.max - step / 4) < 0.0051;
          });
        }
        expect(drawing.told.heard).toBeGreaterThan(0);
        bench.step(2);
        await picture(bench, drawing);
        expect(new Set(drawing.told.progress.map(({ unit }) => unit)).size).toBe(1);
      });

      if (can.progress !== true) {
        test(`[I3] there is none: ${can.progress}`, async () => {
          bench.script('it', { do: 'draw', steps: 2 });
          const drawing = begin(bench, { prompt: 'it' });
          await jobOf(bench, drawing, 'running');
          bench.step();
          await breathe(bench);
          bench.step(2);
          await picture(bench, drawing);
          expect(drawing.told.progress).toEqual([]);
        });
      }

      when(['queue'], "[I3] none while a job waits: somebody else's is not ours", async () => {
        const other = bench.foreign(3);
        bench.script('it', { do: 'draw', steps: 1 });
        const drawing = begin(bench, { prompt: 'it' });
        await jobOf(bench, drawing, 'queued');
        bench.step(2);
        await breathe(bench);
        expect(drawing.told).toMatchObject({ progress: [], previews: [] });
        bench.step(2);
        await jobOf(bench, drawing, 'running');
        bench.step(2);
        await picture(bench, drawing);
        expect(bench.jobs().find(({ id }) => id === other.id)).toMatchObject({ state: 'ended' });
      });

      when(['preview'], '[I4] previews are the images that the backend shows; junk is dropped', async () => {
        const junk = Buffer.from('<html>no picture</html>');
        bench.script('it', { do: 'draw', steps: 4, previews: [jpg, junk, png] });
        const drawing = begin(bench, { prompt: 'it' });
        await jobOf(bench, drawing, 'running');
        for (let step = 0; step < 3; step += 1) {
          bench.step();
          await breathe(bench);
        }
        bench.step(2);
        await picture(bench, drawing);
        const shown = drawing.told.previews.map(({ bytes }) => Buffer.from(bytes));
        expect(shown[0]).toEqual(jpg);
        expect(shown.at(-1)).toEqual(png);
        expect(shown.filter((bytes) => bytes.equals(junk))).toEqual([]);
      });
    });

    describe('an abort', () => {
      test('[I5] before the start: the backend hears nothing', async () => {
        const controller = new AbortController();
        controller.abort(reason);
        const drawing = begin(bench, {}, controller);
        await aborted(bench, drawing, reason);
        await breathe(bench);
        expect(bench.jobs()).toEqual([]);
      });

      test('[I5] [I6] right after the start, whatever has reached the backend by then', async () => {
        bench.script('it', { do: 'draw', steps: 2 });
        const drawing = begin(bench, { prompt: 'it' });
        drawing.abort(reason);
        await breathe(bench);
        // A backend that cannot be told ends it by itself.
        if (drawing.outcome() === undefined) bench.step(9);
        await aborted(bench, drawing, reason);
        await breathe(bench);
        expect(ours(bench).filter(atWork)).toEqual([]);
      });

      when(['queue'], '[I5] [I6] [I7] while the job waits at the backend', async () => {
        const other = bench.foreign(2);
        bench.script('it', { do: 'draw', steps: 2 });
        const drawing = begin(bench, { prompt: 'it' });
        await jobOf(bench, drawing, 'queued');
        drawing.abort(reason);
        await breathe(bench);
        expect(bench.interrupts).not.toContain(other.id);
        bench.step(3);
        await breathe(bench);
        if (drawing.outcome() === undefined) bench.step(9);
        await aborted(bench, drawing, reason);
        expect(bench.jobs().find(({ id }) => id === other.id)).toMatchObject({ state: 'ended' });
        expect(bench.interrupts).not.toContain(other.id);
      });

      when(
        ['interrupt'],
        '[I5] [I6] [I8] while the job runs: it is interrupted, its half picture thrown away',
        async () => {
          bench.script('it', { do: 'draw', steps: 4 });
          const drawing = begin(bench, { prompt: 'it' });
          const { id } = await jobOf(bench, drawing, 'running');
          bench.step();
          await breathe(bench);
          drawing.abort(reason);
          await aborted(bench, drawing, reason);
          expect(ours(bench)).toMatchObject([{ state: 'stopped' }]);
          expect(bench.interrupts).toEqual([id]);
        },
      );

      test('[I5] [I6] while the job runs: the call settles when the backend is done with it', async () => {
        bench.deafen();
        bench.script('it', { do: 'draw', steps: 2 });
        const drawing = begin(bench, { prompt: 'it' });
        await jobOf(bench, drawing, 'running');
        drawing.abort(reason);
        await breathe(bench);
        if (can.outlives === true) {
          expect(drawing.outcome()).toBeUndefined();
          bench.step(3);
          await aborted(bench, drawing, reason);
        } else {
          expect(await over(bench, drawing)).toEqual({ error: reason });
        }
      });

      test(`[I6] never lasts more than ${settleMs} ms`, async () => {
        bench.script('it', { do: 'hang' });
        const drawing = begin(bench, { prompt: 'it' });
        await jobOf(bench, drawing, 'running');
        drawing.abort(reason);
        await bench.clock.advance(settleMs - 1);
        if (can.outlives === true) expect(drawing.outcome()).toBeUndefined();
        await bench.clock.advance(1);
        expect(drawing.outcome()).toEqual({ error: reason });
        await over(bench, drawing);
        await until(bench, 'no exchange open', () => bench.openExchanges() === 0);
      });

      test('[I5] [I7] while the picture comes in: the job is over, nothing is interrupted', async () => {
        bench.script('it', { do: 'stall' });
        const drawing = begin(bench, { prompt: 'it' });
        await jobOf(bench, drawing, 'ended');
        await breathe(bench);
        const other = can.queue === true ? bench.foreign(2) : undefined;
        drawing.abort(reason);
        await aborted(bench, drawing, reason);
        await breathe(bench);
        expect(bench.interrupts).toEqual([]);
        if (other !== undefined) bench.step(3);
      });

      test('[I5] [I7] after the answer: the picture stays, nobody is interrupted', async () => {
        const drawing = begin(bench);
        await picture(bench, drawing);
        const other = can.queue === true ? bench.foreign(2) : undefined;
        drawing.abort(reason);
        await breathe(bench);
        expect(drawing.outcome()).toHaveProperty('image');
        expect(bench.interrupts).toEqual([]);
        if (other !== undefined) bench.step(3);
      });

      when(['queue', 'interrupt'], '[I2] [I7] of one of two jobs leaves the other its picture', async () => {
        for (const prompt of ['a', 'b'])
          bench.script(prompt, { do: 'draw', steps: 3, bytes: tinted(prompt.charCodeAt(0)) });
        const a = begin(bench, { prompt: 'a' });
        await jobOf(bench, a, 'running');
        const b = begin(bench, { prompt: 'b' });
        const { id } = await jobOf(bench, b, 'queued');
        a.abort(reason);
        await aborted(bench, a, reason);
        await jobOf(bench, b, 'running');
        await breathe(bench);
        bench.step(4);
        expect(await picture(bench, b)).toEqual({ bytes: tinted('b'.charCodeAt(0)), extension: 'png' });
        expect(bench.interrupts).not.toContain(id);
      });

      // Where a job has no name, only its own answer says that it is over.
      when(['outlives', 'names'], '[I6] ends soon when the backend restarts meanwhile', async () => {
        bench.script('it', { do: 'draw', steps: 2 });
        const drawing = begin(bench, { prompt: 'it' });
        await jobOf(bench, drawing, 'running');
        await breathe(bench);
        bench.deafen();
        drawing.abort(reason);
        await breathe(bench);
        bench.restart();
        const sinceMs = bench.clock.now();
        await aborted(bench, drawing, reason);
        expect(bench.clock.now() - sinceMs).toBeLessThan(settleMs / 2);
      });
    });

    when(['interrupt', 'halfMade'], '[I8] what somebody else interrupts is an error, not a picture', async () => {
      bench.script('it', { do: 'draw', steps: 3 });
      const drawing = begin(bench, { prompt: 'it' });
      await jobOf(bench, drawing, 'running');
      bench.step();
      await breathe(bench);
      bench.interruptByOther();
      expect(await failure(bench, drawing)).toMatchObject({ retryable: true });
    });

    describe('a failure', () => {
      test.each(statuses)('[I9] [I12] HTTP $status is $code, retryable: $retryable', async (row) => {
        const { status, code, retryable } = row;
        const retryAfterS = 'retryAfterS' in row ? row.retryAfterS : undefined;
        const message = `no, ${bench.secret} said: ${'x'.repeat(260)} ${bench.secret}`;
        bench.script('it', { do: 'error', status, message, ...(retryAfterS === undefined ? {} : { retryAfterS }) });
        const error = await failure(bench, begin(bench, { prompt: 'it' }));
        expect(error).toMatchObject({
          code,
          retryable,
          retryAfterMs: retryAfterS === undefined ? undefined : retryAfterS * 1000,
        });
      });

      test('[I9] an error inside HTTP 200, HTML, a picture that is cut or none', async () => {
        bench.script('e', { do: 'error-in-200' });
        bench.script('h', { do: 'html' });
        bench.script('t', { do: 'truncated' });
        bench.script('n', { do: 'draw', bytes: Buffer.from('this is no picture, whatever it says') });
        bench.script('s', { do: 'draw', bytes: Buffer.from('<svg xmlns="x"><script>alert(1)</script></svg>') });
        bench.script('0', { do: 'draw', bytes: new Uint8Array() });
        for (const prompt of ['e', 'h', 't', 'n', 's', '0']) {
          expect(await failure(bench, begin(bench, { prompt })), prompt).toMatchObject({ code: 'provider' });
        }
      });

      test('[I9] a socket that is cut is a connection, and may be tried again', async () => {
        bench.script('it', { do: 'cut' }, { do: 'draw' });
        expect(await failure(bench, begin(bench, { prompt: 'it' }))).toMatchObject({
          code: 'connection',
          retryable: true,
        });
        expect(await picture(bench, begin(bench, { prompt: 'it' }))).toMatchObject({ extension: 'png' });
      });

      test('[I9] a restart in the middle may be tried again', async () => {
        bench.script('it', { do: 'draw', steps: 2 }, { do: 'draw' });
        const drawing = begin(bench, { prompt: 'it' });
        await jobOf(bench, drawing, 'running');
        bench.restart();
        expect(await failure(bench, drawing)).toMatchObject({ retryable: true });
        expect(await picture(bench, begin(bench, { prompt: 'it' }))).toMatchObject({ extension: 'png' });
      });

      test('[I10] an answer without an end', async () => {
        bench.script('it', { do: 'too-large' });
        expect(await failure(bench, begin(bench, { prompt: 'it' }))).toMatchObject({
          code: 'provider',
          retryable: false,
        });
      });
    });

    test('[I11] 20 calls over one signal leave nothing behind', async () => {
      bench.script('it', { do: 'draw' }, { do: 'error', status: 500 }, { do: 'cut' }, { do: 'html' }, { do: 'draw' });
      const controller = new AbortController();
      for (let i = 0; i < 20; i += 1) await over(bench, begin(bench, { prompt: 'it' }, controller));
      await nothingLeft(bench);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    });

    when(['names', 'reattach'], '[I13] a job that is at work there is found, not given a second time', async () => {
      bench.script('it', { do: 'draw', steps: 2, bytes: tinted(3) });
      const request = { prompt: 'it', job: '0197a5b0-0000-7000-8000-000000000001' };
      const first = begin(bench, request);
      await jobOf(bench, first, 'running');
      bench.cutSockets();
      await breathe(bench);
      // The engine may have come back by itself, or given up for the caller to try again.
      const found = first.outcome() === undefined ? first : begin(bench, request);
      await breathe(bench);
      bench.step(3);
      expect(await picture(bench, found)).toEqual({ bytes: tinted(3), extension: 'png' });
      expect(ours(bench)).toHaveLength(1);
    });
  });
}
