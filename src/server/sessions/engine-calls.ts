import { createHash } from 'node:crypto';
import type { StageInput } from '../../machines/pane-setup.ts';
import type { PaneEvent } from '../../machines/pane-types.ts';
import type { StageContext } from '../../panes/define.ts';
import type { LiveTask } from '../../protocol/frames.ts';
import { draw, type Drawing } from './draw.ts';
import { streamText, type CallEvents, type ProviderCall } from './provider.ts';
import type { StageSession } from './body.ts';

/** Bytes are told of at most this often, ms. */
const heardEveryMs = 250;

/** One attempt at the body of a stage. */
export interface Attempt {
  input: StageInput;
  signal: AbortSignal;
  /** It gave its slot up and begins anew. */
  yielded: boolean;
  priority: number;
  idleTimeoutMs: number;
  report(event: PaneEvent): void;
}

/**
 * The engines as the body of a stage has them: each call waits for its slot, tells how it goes, and ends with the attempt. `mayYield`: what
 * the body has done so far can be done again without anybody noticing.
 */
export function engineCalls(
  drawing: Drawing,
  host: StageSession,
  attempt: Attempt,
  mayYield: () => boolean,
): Pick<StageContext, 'text' | 'image'> {
  const { input, signal, priority } = attempt;
  const { session, pane } = input;
  const events = callEvents(drawing, host, attempt);
  let { yielded } = attempt;
  const call = (): ProviderCall => {
    const first = yielded;
    // Only the call that gave its slot up stands in front of the others.
    yielded = false;
    return { session, pane, tag: input.task, priority, signal, mayYield, yielded: first, events };
  };
  const stream: StageContext['text']['stream'] = (request) => streamText(drawing, call(), request);
  return {
    text: {
      engine: (stage) => drawing.text.engine(stage),
      stream,
      complete: async (request) => {
        let text = '';
        for await (const piece of stream(request)) text += piece;
        return text;
      },
    },
    image: {
      engine: drawing.images[0].engine,
      generate: (request) => draw(drawing, call(), { ...request, session, job: jobOf(input) }),
    },
  };
}

/** Ephemeral news of an attempt, under the name of its task where it has one. */
export function tellLive(session: StageSession, input: StageInput, news: Omit<LiveTask, 'text'>): void {
  const { pane, run, attempt, task } = input;
  if (task === undefined) session.live({ pane, run, attempt, ...news });
  else tellTask(session, input, task, news);
}

/** Ephemeral news of one task. */
export function tellTask(session: StageSession, input: StageInput, task: string, news: LiveTask): void {
  const { pane, run, attempt, stage } = input;
  session.live({ pane, run, tasks: { [task]: { attempt, stage, ...news } } });
}

function callEvents(drawing: Drawing, session: StageSession, attempt: Attempt): CallEvents {
  const { clock, previews } = drawing;
  const { input, idleTimeoutMs } = attempt;
  const everyMs = Math.min(heardEveryMs, idleTimeoutMs / 20);
  let heardAtMs = Number.NEGATIVE_INFINITY;
  const tell = (event: PaneEvent): void => session.turn(() => attempt.report(event));
  const live = (news: Omit<LiveTask, 'text'>): void => tellLive(session, input, news);
  return {
    held: () => tell({ type: 'held', at: clock.now() }),
    granted: () => {
      tell({ type: 'granted', at: clock.now() });
      live({ wait: null });
    },
    waiting: (wait) => live({ wait }),
    progress: (value, max, unit) => live({ progress: { value, max, unit } }),
    preview: (image) => {
      const path = previews.put(input.session, image);
      if (path !== undefined) live({ preview: path });
    },
    heard: () => {
      const nowMs = clock.now();
      if (nowMs - heardAtMs < everyMs) return;
      heardAtMs = nowMs;
      tell({ type: 'heard', kept: false });
    },
  };
}

/** Names the work of a stage at a backend, the same again in another attempt and after a restart. */
function jobOf({ session, run, task = '', stage }: StageInput): string {
  const hash = createHash('sha256').update([session, run, task, stage].join('\n')).digest('hex');
  // A UUID of version 8: its bits are the maker's own (RFC 9562).
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-a${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
}
