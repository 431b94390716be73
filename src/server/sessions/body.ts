import type { StageInput } from '../../machines/pane-setup.ts';
import type { PaneEvent, StageFailure, StageOutcome } from '../../machines/pane-types.ts';
import type { TaskOutcome } from '../../machines/tasks/types.ts';
import type { PaneDefinition, StageResult } from '../../panes/define.ts';
import type { Kept, TaskContext, TaskPaneDefinition, TaskResult } from '../../panes/define-tasks.ts';
import type { Ids } from '../../ports/clock.ts';
import { JournalError, ProviderError } from '../../ports/errors.ts';
import type { LiveFrame } from '../../protocol/frames.ts';
import { limits } from '../../protocol/names.ts';
import type { State } from '../../protocol/state.ts';
import type { Logger } from '../logger.ts';
import type { Drawing } from './draw.ts';
import { engineCalls, tellLive, tellTask, type Attempt } from './engine-calls.ts';
import { tooLarge } from './parts.ts';
import { Yielded } from './provider.ts';
import { stageMaterial } from './stage-context.ts';
import { taskMaterial, texts } from './task-context.ts';

/** A pane of either kind. */
export type AnyPaneDefinition = PaneDefinition | TaskPaneDefinition;

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
  /** What a cancelled task's stage has kept of its work. */
  kept(input: StageInput, kept: Kept): void;
  /** Ephemeral: progress, position in a queue. */
  live(frame: Omit<LiveFrame, 'type' | 'session'>): void;
}

/** The outside world of stage bodies, the same for all sessions. */
export interface StageWorld extends Drawing {
  /** A text without prompts for pictures, and without pictures: what stages and models read. */
  withoutPrompts: (text: string) => string;
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

/** How long a stopped task may take to keep what it has, ms: less than the grace that its run has to unwind. */
const keepMs = 4_000;

/** What a body reports; `stage.done` of a task says what its task has come to. */
export type BodyEvent =
  | PaneEvent
  | { type: 'stage.done'; run: string; attempt: number; at: number; result: TaskOutcome };

type Result =
  | { type: 'stage.done'; result: StageOutcome | TaskOutcome }
  | { type: 'stage.failed'; failure: StageFailure };

/** One body: the same code for the stages of a run and of a task, but for what they are given and what they hand back. */
interface Work {
  run(attempt: Attempt): Promise<StageOutcome | TaskOutcome>;
  /** After it was stopped: keeps what is worth it. */
  keep?(signal: AbortSignal): Promise<void>;
}

/**
 * Starts a stage's body. Its work begins when all that is decided is durable, with what the session knows then. Reports through `report`,
 * each time as a turn of the gate; what it reports after `stop` finds nobody.
 */
export function startBody(
  world: StageWorld,
  session: StageSession,
  definition: AnyPaneDefinition,
  input: StageInput,
  report: (event: BodyEvent) => void,
): Body {
  const controller = new AbortController();
  const { signal } = controller;
  const work =
    'plan' in definition
      ? taskWork(world, session, definition, input)
      : stageWork(world, session, definition, input, report);
  const attempt = { input, signal, priority: definition.priority ?? ('plan' in definition ? 4 : 3), report };
  const live = async (): Promise<void> => {
    const result = await attempts(world, session, work, attempt);
    if (signal.aborted) await keepWork(world, work);
    else session.turn(() => report(reportOf(result, input, world.clock.now())));
  };
  return {
    stop: (reason) => controller.abort(new Stopped(reason)),
    ended: live().catch((error: unknown) => {
      const { session: id, pane } = input;
      world.logger.error({ session: id, pane, error: describe(error) }, 'a stage could not report');
    }),
  };
}

function reportOf(result: Result, { run, attempt }: StageInput, at: number): BodyEvent {
  // The chart of a run hears outcomes of stages, that of a task outcomes of tasks: each from its own kind of work.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { ...result, run, attempt, at } as BodyEvent;
}

/** Runs the body until it ends; once more each time that it has given its slot to a reply, which is not an attempt. */
async function attempts(
  world: StageWorld,
  session: StageSession,
  work: Work,
  attempt: Omit<Attempt, 'yielded' | 'idleTimeoutMs'>,
): Promise<Result> {
  const { input, signal } = attempt;
  try {
    // What is said in this turn has to be known before it can be waited for. Tasks come by the thousand: each begins in a tick of its own, so
    // that others are heard in between.
    await (input.task === undefined ? Promise.resolve() : nextTick(world));
    await session.durable();
    signal.throwIfAborted();
    session.turn(() => attempt.report({ type: 'stage.started', at: world.clock.now(), jitter: world.ids.random() }));
    tellLive(session, input, { wait: null });
    const { idleTimeoutMs = 30_000 } = session.proposed.private.panes[input.pane]?.declaration ?? {};
    for (let yielded = false; ; yielded = true) {
      try {
        return { type: 'stage.done', result: await work.run({ ...attempt, yielded, idleTimeoutMs }) };
      } catch (error) {
        if (!(error instanceof Yielded) || signal.aborted) throw error;
      }
    }
  } catch (error) {
    if (!(error instanceof ProviderError) && !signal.aborted) {
      const { session: id, pane, run } = input;
      world.logger.error({ session: id, pane, run, error: describe(error) }, 'a stage threw');
    }
    return { type: 'stage.failed', failure: failureOf(error) };
  }
}

function nextTick({ clock }: StageWorld): Promise<void> {
  return new Promise((resolve) => clock.defer(resolve));
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

// ---- the stages of a run

function stageWork(
  world: StageWorld,
  session: StageSession,
  definition: PaneDefinition,
  input: StageInput,
  report: (event: BodyEvent) => void,
): Work {
  const stage = definition.stages.find(({ name }) => name === input.stage);
  let wrote = false;
  return {
    run: async (attempt) => {
      if (stage === undefined) throw new Error('the stage is not defined any more');
      const { signal } = attempt;
      return checked(
        await stage.run({
          ...stageMaterial(session.proposed, input, world.withoutPrompts),
          ...engineCalls(world, session, attempt, () => !wrote),
          signal,
          write: (add) => {
            if (signal.aborted || add === '') return;
            wrote = true;
            session.turn(() => {
              session.write(input, add);
              report({ type: 'heard', kept: true });
            });
          },
        }),
      );
    },
  };
}

/** Content that would not fit in a record is the pane's fault, and said so. */
function checked(result: StageResult): StageOutcome {
  if (result.outcome === 'updated') refuseLarge('the content', result.content, limits.maxContentBytes);
  return result;
}

function refuseLarge(what: string, value: Parameters<typeof tooLarge>[1], maxBytes: number): void {
  const problem = tooLarge(what, value, maxBytes);
  if (problem !== undefined) throw new Error(problem);
}

// ---- the stages of a task

const asWritten = (text: string): string => text;

function taskWork(world: StageWorld, session: StageSession, definition: TaskPaneDefinition, input: StageInput): Work {
  const stage = definition.stages.find(({ name }) => name === input.stage);
  let shown = '';
  let context: TaskContext | undefined;
  return {
    run: async (attempt) => {
      if (stage === undefined) throw new Error('the stage is not defined any more');
      const { signal } = attempt;
      shown = '';
      context = {
        ...taskMaterial(session.proposed, input, definition.readsMarkup === true ? asWritten : world.withoutPrompts),
        ...engineCalls(world, session, attempt, () => true),
        ...texts(world.assets, input.session, signal),
        signal,
        show: (add) => {
          if (signal.aborted || add === '') return;
          tellTask(session, input, input.task ?? '', { text: { at: shown.length, add } });
          shown += add;
        },
      };
      return taskOutcome(await stage.run(context), definition);
    },
    keep: async (signal) => {
      if (stage?.keep === undefined || context === undefined) return;
      const kept = await stage.keep({ ...context, ...texts(world.assets, input.session, signal), signal }, shown);
      if (kept === undefined) return;
      refuseLarge('what a task keeps', kept.value, limits.maxPartBytes);
      await session.durable();
      session.turn(() => session.kept(input, kept));
    },
  };
}

function taskOutcome(result: TaskResult, definition: TaskPaneDefinition): TaskOutcome {
  if (result.outcome === 'next') {
    refuseLarge('the checkpoint', result.checkpoint, limits.maxTaskBytes);
    return result;
  }
  refuseLarge('a part', result.value, limits.maxPartBytes);
  const { add, ...done } = result;
  for (const plan of add ?? [])
    refuseLarge(`task ${plan.id} of pane ${definition.name}`, plan.input, limits.maxTaskBytes);
  return add === undefined ? done : { ...done, add };
}

/** Lets a stopped task keep what it has, for a while: the slot is free, only its run waits. */
async function keepWork(world: StageWorld, work: Work): Promise<void> {
  if (work.keep === undefined) return;
  const controller = new AbortController();
  const timer = world.clock.setTimeout(
    () => controller.abort(new Stopped('it took too long to keep the text')),
    keepMs,
  );
  try {
    await work.keep(controller.signal);
  } catch (error) {
    // A store that cannot be written keeps nothing, and the session knows of it.
    if (!(error instanceof JournalError)) throw error;
  } finally {
    world.clock.clearTimeout(timer);
  }
}
