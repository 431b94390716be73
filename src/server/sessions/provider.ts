import type { Clock } from '../../ports/clock.ts';
import type { Image, ImageModel, ImageRequest, Report, TextModel, TextRequest } from '../../ports/models.ts';
import type { Limits, Wait } from '../limits.ts';
import type { Metrics } from '../telemetry.ts';

/** What a provider call reports about itself while it waits and works. */
export interface CallEvents {
  /** Stands in the queue of its host: that time is not the run's. */
  held(): void;
  granted(): void;
  waiting(wait: Wait): void;
  heard(): void;
  progress(value: number, max: number, unit: string): void;
}

export interface ProviderCall {
  session: string;
  pane: string;
  priority: number;
  signal: AbortSignal;
  events: CallEvents;
}

/** The engines behind their limits. */
export interface Providers {
  text: TextModel;
  image: ImageModel;
  limits: Limits;
  clock: Clock;
  metrics: Metrics;
}

/** Pieces of an answer, from a slot of the engine's host. Throws at once when the signal aborts, whatever the engine does. */
export async function* streamText(
  providers: Providers,
  call: ProviderCall,
  request: TextRequest,
): AsyncIterable<string> {
  const { text } = providers;
  const slot = await takeSlot(providers, call, text.host);
  const answer = text.stream(request, call.signal, report(providers, call, text.engine(request.stage)));
  const pieces = answer[Symbol.asyncIterator]();
  let pending: Promise<IteratorResult<string>> | undefined;
  try {
    for (;;) {
      pending = pieces.next();
      const result = await orAborted(pending, call.signal);
      pending = undefined;
      if (result.done === true) return;
      yield result.value;
    }
  } finally {
    // A call that ignores the abort keeps its slot until it has really ended: it still burns the provider's time.
    void settled(pending)
      .then(() => pieces.return?.())
      .catch(() => undefined)
      .finally(() => slot.release());
  }
}

/** One picture, from a slot of the engine's host. */
export async function drawImage(providers: Providers, call: ProviderCall, request: ImageRequest): Promise<Image> {
  const { image } = providers;
  const slot = await takeSlot(providers, call, image.host);
  const drawing = image.generate(request, call.signal, report(providers, call, image.engine));
  void settled(drawing).finally(() => slot.release());
  return orAborted(drawing, call.signal);
}

async function takeSlot({ limits }: Providers, call: ProviderCall, host: string | null) {
  call.signal.throwIfAborted();
  const { session, pane, priority, signal, events } = call;
  let held = false;
  try {
    return await limits.acquire({ host, session, pane, priority }, signal, (wait) => {
      if (!held) events.held();
      held = true;
      events.waiting(wait);
    });
  } finally {
    if (held) events.granted();
  }
}

function report({ metrics }: Providers, { events }: ProviderCall, engine: string): Report {
  return {
    heard: () => events.heard(),
    progress: (value, max, unit) => events.progress(value, max, unit),
    usage: ({ input, output }) => {
      metrics.tokens.with({ engine, direction: 'input' }).add(input);
      metrics.tokens.with({ engine, direction: 'output' }).add(output);
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

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

function settled(promise: Promise<unknown> | undefined): Promise<void> {
  return Promise.resolve(promise).then(
    () => undefined,
    () => undefined,
  );
}
