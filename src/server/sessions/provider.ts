import type { Clock } from '../../ports/clock.ts';
import type { Image, Report, TextModel, TextRequest } from '../../ports/models.ts';
import type { LiveWait } from '../../protocol/frames.ts';
import type { Limits, Slot } from '../limits/limits.ts';
import type { Metrics } from '../telemetry.ts';

/** What a provider call reports about itself while it waits and works; nothing any more once it was aborted or has yielded. */
export interface CallEvents {
  /** Stands in the queue of its host: that time is not the run's. */
  held(): void;
  granted(): void;
  waiting(wait: LiveWait): void;
  heard(): void;
  progress(value: number, max: number, unit: string): void;
  /** How a picture looks so far. */
  preview(image: Image): void;
}

export interface ProviderCall {
  session: string;
  pane: string;
  /** The task's id, by which its waiting call can be moved forward. */
  tag?: string | undefined;
  priority: number;
  signal: AbortSignal;
  /** Whether the work may be aborted now and done again, so that a reply gets its slot. Asked at that moment; must not throw. */
  mayYield: () => boolean;
  /** It did yield, and this is the repetition: it waits before its session's other calls, for the reason `yielded`. */
  yielded: boolean;
  events: CallEvents;
}

/** The text engine and the limits that all engines stand behind. */
export interface Providers {
  text: TextModel;
  limits: Limits;
  clock: Clock;
  metrics: Metrics;
}

/** The call gave its slot to a reply: nothing failed, it is to be made again, with `yielded`. */
export class Yielded extends Error {
  override readonly name = 'Yielded';

  constructor() {
    super('the slot was taken back for a reply');
  }
}

/**
 * Does `work` in a slot of the engine's host. Rejects with the reason of the call's signal as soon as that aborts, and with Yielded as soon
 * as the slot is taken back, whatever `work` does; the signal that `work` gets aborts with the same. The slot is freed when `work` has
 * settled, not before.
 */
export async function callProvider<T>(
  providers: Providers,
  call: ProviderCall,
  target: { host: string | null; engine: string },
  work: (signal: AbortSignal, report: Report) => Promise<T>,
): Promise<T> {
  const slot = await takeSlot(providers, call, target.host);
  const { signal, unlink } = linked(call.signal, slot);
  const working = begun(() => work(signal, report(providers, call, target.engine, { signal, slot })));
  void settled(working).then(() => {
    unlink();
    slot.release();
  });
  return orAborted(working, signal);
}

/** Pieces of an answer, from a slot of the engine's host; throws and frees the slot as `callProvider` does. */
export async function* streamText(
  providers: Providers,
  call: ProviderCall,
  request: TextRequest,
): AsyncIterable<string> {
  const { text } = providers;
  const slot = await takeSlot(providers, call, text.host);
  const { signal, unlink } = linked(call.signal, slot);
  let pieces: AsyncIterator<string> | undefined;
  let pending: Promise<IteratorResult<string>> | undefined;
  // Also while whoever reads is busy with a piece: the engine's sockets must not wait for that.
  const leave = once(() => {
    unlink();
    // A call that ignores the abort keeps its slot until it has really ended: it still burns the provider's time.
    void settled(pending)
      .then(() => pieces?.return?.())
      .catch(() => undefined)
      .finally(() => slot.release());
  });
  signal.addEventListener('abort', leave, { once: true });
  try {
    const answer = text.stream(request, signal, report(providers, call, text.engine(request.stage), { signal, slot }));
    pieces = answer[Symbol.asyncIterator]();
    for (;;) {
      if (signal.aborted) throw asError(signal.reason);
      pending = pieces.next();
      const result = await orAborted(pending, signal);
      pending = undefined;
      if (result.done === true) return;
      yield result.value;
    }
  } finally {
    leave();
  }
}

/** A slot for a call that is still wanted: one that comes too late is given back. */
async function takeSlot({ limits }: Providers, call: ProviderCall, host: string | null): Promise<Slot> {
  call.signal.throwIfAborted();
  const { session, pane, tag, priority, signal, mayYield, yielded, events } = call;
  let held = false;
  let slot: Slot;
  try {
    slot = await limits.acquire({ host, session, pane, tag, priority, mayYield, yielded }, signal, (wait) => {
      if (!held) events.held();
      held = true;
      events.waiting(wait);
    });
  } finally {
    if (held) events.granted();
  }
  if (!signal.aborted && !slot.yielded.aborted) return slot;
  slot.release();
  throw signal.aborted ? asError(signal.reason) : new Yielded();
}

/**
 * A signal of its own for one piece of work: libraries leave their listeners on what they are given. It aborts with the call's signal, and
 * with Yielded when the slot is taken back; from then on the slot drains.
 */
function linked(outer: AbortSignal, slot: Slot): { signal: AbortSignal; unlink: () => void } {
  const controller = new AbortController();
  const unlink = (): void => {
    outer.removeEventListener('abort', abort);
    slot.yielded.removeEventListener('abort', takenBack);
  };
  const stop = (reason: unknown): void => {
    unlink();
    slot.drain();
    controller.abort(reason);
  };
  const abort = (): void => stop(outer.reason);
  const takenBack = (): void => stop(new Yielded());
  outer.addEventListener('abort', abort);
  slot.yielded.addEventListener('abort', takenBack);
  // Between the grant of the slot and here: nobody tells a listener that comes too late.
  if (outer.aborted) abort();
  else if (slot.yielded.aborted) takenBack();
  return { signal: controller.signal, unlink };
}

/** What a backend says of work that is not wanted any more goes nowhere, but for what it has cost. */
function report(
  { metrics }: Providers,
  { events }: ProviderCall,
  engine: string,
  { signal, slot }: { signal: AbortSignal; slot: Slot },
): Report {
  const wanted = (tell: () => void): void => {
    if (!signal.aborted) tell();
  };
  return {
    heard: () => wanted(() => events.heard()),
    progress: (value, max, unit) => wanted(() => events.progress(value, max, unit)),
    preview: (image) => wanted(() => events.preview(image)),
    usage: ({ input, output }) => {
      metrics.tokens.with({ engine, direction: 'input' }).add(input);
      metrics.tokens.with({ engine, direction: 'output' }).add(output);
      slot.spent(input + output);
    },
  };
}

/** The promise's result, or the signal's reason as soon as it aborts. Leaves no listener behind. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(asError(signal.reason));
    if (signal.aborted) {
      promise.catch(() => undefined);
      abort();
      return;
    }
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** The promise of an async function, also where it throws instead of rejecting. */
async function begun<T>(work: () => Promise<T>): Promise<T> {
  return work();
}

function once(fn: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    fn();
  };
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

function settled(promise: Promise<unknown> | undefined): Promise<void> {
  return Promise.resolve(promise).then(
    () => undefined,
    () => undefined,
  );
}
