import type { PaneEvent, StageFailure, StageOutcome } from '../../machines/pane-types.ts';
import type { StageInput } from '../../machines/pane-setup.ts';
import type { Assets } from '../../ports/assets.ts';
import type { Ids } from '../../ports/clock.ts';
import { ProviderError } from '../../ports/errors.ts';
import type { PaneDefinition, Stage, StageContext, StageResult } from '../../panes/define.ts';
import { limits } from '../../protocol/names.ts';
import type { LiveFrame } from '../../protocol/frames.ts';
import type { State } from '../../protocol/state.ts';
import type { Message } from '../../protocol/view.ts';
import type { Logger } from '../logger.ts';
import { drawImage, orAborted, streamText, type CallEvents, type Providers } from './provider.ts';

/** What a stage's body needs from its session. */
export interface StageSession {
  /** The state that includes everything decided so far. */
  readonly proposed: State;
  /** Resolves when everything proposed up to now is durable; rejects when it cannot be stored. No provider is called before. */
  durable(): Promise<void>;
  /** Runs `fn` as one turn of the gate: all that the charts say in it is one append. */
  turn(fn: () => void): void;
  /** Text for the message that this run writes; the first call opens the message. */
  write(input: StageInput, add: string): void;
  /** Ephemeral: progress, position in a queue. */
  live(frame: Omit<LiveFrame, 'type' | 'session'>): void;
}

/** The outside world of stage bodies, the same for all sessions. */
export interface StageWorld extends Providers {
  assets: Assets;
  ids: Ids;
  logger: Logger;
}

/** A stage at work. */
export interface Body {
  /** Aborts it: its provider call is closed at once. */
  stop(reason: string): void;
  /** Resolves when it has really ended; never rejects. */
  readonly ended: Promise<void>;
}

/** Why a body was stopped: the reason of its AbortSignal. */
export class Stopped extends Error {
  override readonly name = 'Stopped';
}

const heardEveryMs = 250;

/**
 * Starts a stage's body: its context is cut from the state of now, its work begins when that state is durable. Reports through `report`,
 * each time as a turn of the gate; what it reports after `stop` finds nobody.
 */
export function startBody(
  world: StageWorld,
  session: StageSession,
  definition: PaneDefinition,
  input: StageInput,
  report: (event: PaneEvent) => void,
): Body {
  const controller = new AbortController();
  const stage = definition.stages.find((candidate) => candidate.name === input.stage);
  const context = stageContext(world, session, definition, input, controller.signal, report);
  const work = async (): Promise<void> => {
    const result = await runStage(world, session, stage, context, report);
    if (controller.signal.aborted) return;
    session.turn(() => report({ ...result, run: input.run, attempt: input.attempt, at: world.clock.now() }));
  };
  return {
    stop: (reason) => controller.abort(new Stopped(reason)),
    ended: work().catch((error: unknown) => {
      world.logger.error(
        { session: input.session, pane: input.pane, error: describe(error) },
        'a stage could not report',
      );
    }),
  };
}

type Result = { type: 'stage.done'; result: StageOutcome } | { type: 'stage.failed'; failure: StageFailure };

async function runStage(
  world: StageWorld,
  session: StageSession,
  stage: Stage | undefined,
  context: StageContext,
  report: (event: PaneEvent) => void,
): Promise<Result> {
  try {
    if (stage === undefined) throw new Error('the stage is not defined any more');
    await session.durable();
    context.signal.throwIfAborted();
    session.turn(() => report({ type: 'stage.started', at: world.clock.now(), jitter: world.ids.random() }));
    const { pane, run, attempt } = context;
    session.live({ pane, run, attempt, wait: null });
    return { type: 'stage.done', result: checked(await stage.run(context)) };
  } catch (error) {
    if (!(error instanceof ProviderError) && !context.signal.aborted) {
      const { session: id, pane, run } = context;
      world.logger.error({ session: id, pane, run, error: describe(error) }, 'a stage threw');
    }
    return { type: 'stage.failed', failure: failureOf(error) };
  }
}

/** Content that would not fit in a record is the pane's fault, and said so. */
function checked(result: StageResult): StageOutcome {
  if (result.outcome === 'updated' && Buffer.byteLength(JSON.stringify(result.content)) > limits.maxContentBytes) {
    throw new Error(`the content has more than ${limits.maxContentBytes} bytes: keep long texts as assets`);
  }
  return result;
}

function failureOf(error: unknown): StageFailure {
  if (error instanceof ProviderError) {
    const { code, message, retryable, retryAfterMs } = error;
    return { error: { code, message, retryable }, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  }
  return { error: { code: 'internal', message: 'the pane failed; the log of the server says why', retryable: false } };
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function stageContext(
  world: StageWorld,
  session: StageSession,
  definition: PaneDefinition,
  input: StageInput,
  signal: AbortSignal,
  report: (event: PaneEvent) => void,
): StageContext {
  const { view, private: priv } = session.proposed;
  const pane = priv.panes[input.pane];
  if (pane === undefined) throw new Error(`no pane ${input.pane} in session ${input.session}`);
  const options = pane.declaration;
  const events = callEvents(world, session, input, report, options.idleTimeoutMs);
  const call = { session: input.session, pane: input.pane, priority: definition.priority ?? 3, signal, events };
  const stream = (request: Parameters<StageContext['text']['stream']>[0]) => streamText(world, call, request);
  return {
    session: input.session,
    pane: input.pane,
    run: input.run,
    attempt: input.attempt,
    generation: input.generation,
    signal,
    input: pane.input,
    checkpoint: pane.checkpoint,
    messages: messagesFor(view.messages, input.pane).slice(-options.window),
    content: view.panes[input.pane]?.content ?? null,
    options,
    text: {
      engine: (stage) => world.text.engine(stage),
      stream,
      complete: async (request) => {
        let text = '';
        for await (const piece of stream(request)) text += piece;
        return text;
      },
    },
    image: {
      engine: world.image.engine,
      generate: async (request) => {
        const image = await drawImage(world, call, request);
        return orAborted(world.assets.put(input.session, image.bytes, image.extension), signal);
      },
    },
    write: (add) => {
      if (signal.aborted || add === '') return;
      session.turn(() => {
        session.write(input, add);
        report({ type: 'heard', kept: true });
      });
    },
  };
}

/** Final messages only; the reply answers the newest user message, so nothing that stands after it (an answer to be replaced) is told. */
function messagesFor(messages: readonly Message[], pane: string): Message[] {
  const upTo = pane === 'reply' ? messages.findLastIndex((message) => message.role === 'user') + 1 : messages.length;
  return messages.slice(0, upTo).filter((message) => message.final);
}

function callEvents(
  world: StageWorld,
  session: StageSession,
  input: StageInput,
  report: (event: PaneEvent) => void,
  idleTimeoutMs: number,
): CallEvents {
  const { pane, run, attempt } = input;
  const everyMs = Math.min(heardEveryMs, idleTimeoutMs / 20);
  let heardAtMs = Number.NEGATIVE_INFINITY;
  const tell = (event: PaneEvent): void => session.turn(() => report(event));
  return {
    held: () => tell({ type: 'held', at: world.clock.now() }),
    granted: () => {
      tell({ type: 'granted', at: world.clock.now() });
      session.live({ pane, run, attempt, wait: null });
    },
    waiting: (wait) => session.live({ pane, run, attempt, wait }),
    progress: (value, max, unit) => session.live({ pane, run, attempt, progress: { value, max, unit } }),
    heard: () => {
      const nowMs = world.clock.now();
      if (nowMs - heardAtMs < everyMs) return;
      heardAtMs = nowMs;
      tell({ type: 'heard', kept: false });
    },
  };
}
