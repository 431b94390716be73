import type { Clock } from '../../src/ports/clock.ts';
import type { RunErrorCode } from '../../src/protocol/codes.ts';
import { ProviderError } from '../../src/ports/errors.ts';
import type { Image, ImageModel, ImageRequest, Report, TextModel, TextRequest } from '../../src/ports/models.ts';
import type { Random } from './random.ts';

/** One call of a provider: what happened to it, in steady ms. */
export interface Call {
  id: number;
  stage: string;
  session: string;
  pane: string;
  run: string;
  /** What the journal said of the run's pane when the call came. */
  phase: string;
  /** Which server process made it. */
  process: number;
  /** Of a task: its id, and the part that it writes. */
  task: string | undefined;
  key: string;
  abortedAtStart: boolean;
  startMs: number;
  abortMs: number | null;
  endMs: number | null;
  /** How it ended, as the caller saw it (`late` = with an answer, after its abort). */
  outcome: 'open' | 'answered' | 'failed' | 'aborted' | 'late';
}

/** What a call does. */
interface Script {
  delayMs: number;
  pieces: string[];
  everyMs: number;
  error: { code: RunErrorCode; retryAfterMs?: number } | null;
  /** Never answers by itself. */
  stalls: boolean;
  /** Goes on after an abort, for a while, and answers. */
  ignoresAbort: boolean;
}

/** What the models need to know of their surroundings. */
export interface ModelWorld {
  clock: Clock;
  random: Random;
  nowMs(): number;
  /** Opens the log of a call. */
  called(stage: string, signal: AbortSignal): Call;
}

const codes: readonly [RunErrorCode, ...RunErrorCode[]] = [
  'timeout',
  'rate_limited',
  'connection',
  'truncated',
  'refused',
  'auth',
  'bad_request',
  'provider',
];

/** Longest life of a call that ignores its abort, ms. */
const stubbornMs = 6_000;

/** A text engine by dice: answers, YES and NO, nothing, errors, silence, late answers, torn surrogate pairs. */
export class SimText implements TextModel {
  readonly host = 'http://sim';
  readonly #world: ModelWorld;

  constructor(world: ModelWorld) {
    this.#world = world;
  }

  engine(): string {
    return 'sim';
  }

  async *stream(request: TextRequest, signal: AbortSignal, report: Report): AsyncIterable<string> {
    const call = this.#world.called(request.stage, signal);
    const script = this.#script(request.stage, call.id);
    yield* play(this.#world, call, script, signal, report);
  }

  #script(stage: string, id: number): Script {
    const { random } = this.#world;
    const base = scriptOf(random);
    if (stage === 'evaluate') return { ...base, pieces: [random.chance(0.7) ? 'YES' : 'NO'] };
    const tag = `c${id} `;
    if (random.chance(0.06)) return { ...base, pieces: [] };
    const count = stage === 'reply' ? random.between(1, 12) : random.between(1, 3);
    const pieces = [tag];
    for (let i = 0; i < count; i += 1) {
      // A pair of surrogates that comes in two pieces.
      if (random.chance(0.2)) pieces.push('so \ud83d', '\ude00 on ');
      else pieces.push(`word${i} `.repeat(random.between(1, 5)));
    }
    // What tasks make has to fit in a part.
    const isTask = !['reply', 'summarize', 'describe', 'feel'].includes(stage);
    if (random.chance(0.03) && !isTask) pieces.push('x'.repeat(5_000));
    // A text that asks a watching pane for something.
    if (stage === 'reply' && id % 3 === 0) pieces.push('a * here', ' and ** there');
    if (random.chance(0.05)) pieces.push('cut \ud83d');
    return { ...base, pieces };
  }
}

/** An image engine by dice. */
export class SimImage implements ImageModel {
  readonly engine = 'sim-image';
  readonly host = 'http://sim';
  readonly #world: ModelWorld;

  constructor(world: ModelWorld) {
    this.#world = world;
  }

  async generate(request: ImageRequest, signal: AbortSignal, report: Report): Promise<Image> {
    const call = this.#world.called('image', signal);
    const script = { ...scriptOf(this.#world.random), pieces: ['', ''] };
    let step = 0;
    for await (const _ of play(this.#world, call, script, signal, report)) report.progress((step += 1), 2, 'step');
    return { bytes: new TextEncoder().encode(`${request.prompt} ${call.id}`), extension: 'png' };
  }
}

function scriptOf(random: Random): Script {
  const kind = random.weighted({ fine: 72, error: 12, stall: 4, stubborn: 8, slow: 4 });
  return {
    delayMs: random.between(1, kind === 'slow' ? 4_000 : 400),
    pieces: [],
    everyMs: random.between(1, 120),
    error:
      kind === 'error'
        ? { code: random.pick(codes), ...(random.chance(0.2) ? { retryAfterMs: random.between(0, 3_000) } : {}) }
        : null,
    stalls: kind === 'stall',
    ignoresAbort: kind === 'stubborn',
  };
}

async function* play(
  world: ModelWorld,
  call: Call,
  script: Script,
  signal: AbortSignal,
  report: Report,
): AsyncGenerator<string> {
  const end = (outcome: Call['outcome']): void => {
    if (call.endMs !== null) return;
    call.endMs = world.nowMs();
    call.outcome = outcome;
  };
  try {
    await wait(world, script.delayMs, signal, script.ignoresAbort);
    // An error comes before the first piece, or in the middle.
    const failAt = script.error === null ? -1 : script.pieces.length > 2 && script.delayMs % 2 === 0 ? 2 : 0;
    let at = 0;
    for (const piece of script.pieces) {
      if (at === failAt) break;
      at += 1;
      report.heard();
      yield piece;
      await wait(world, script.everyMs, signal, script.ignoresAbort);
    }
    if (script.stalls) await wait(world, 86_400_000, signal, false);
    if (script.ignoresAbort && signal.aborted) await wait(world, stubbornMs / 4, signal, true);
    if (script.error !== null) {
      end('failed');
      throw new ProviderError(script.error.code, 'injected', { retryAfterMs: script.error.retryAfterMs });
    }
    end(signal.aborted ? 'late' : 'answered');
  } finally {
    end('aborted');
  }
}

function wait(world: ModelWorld, ms: number, signal: AbortSignal, ignoresAbort: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted && !ignoresAbort) {
      reject(signal.reason);
      return;
    }
    const abort = (): void => {
      if (ignoresAbort) return;
      world.clock.clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = world.clock.setTimeout(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal.addEventListener('abort', abort, { once: true });
  });
}
