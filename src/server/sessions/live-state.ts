import type { LiveFrame, LiveTask, LiveWait } from '../../protocol/frames.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Fact } from '../../protocol/records.ts';

/** Least time between two live frames of one pane's progress, ms: at most 10 a second. */
export const liveEveryMs = 100;

export type PaneLive = Omit<LiveFrame, 'type' | 'session'>;

interface Slot {
  /** All that is known: for subscribers that come late. */
  whole: PaneLive;
  /** What has come since the last frame; null = nothing. */
  fresh: PaneLive | null;
  timer: unknown;
}

/**
 * The newest progress, waits, previews and texts of each busy pane and of its tasks: sent at most ten times a second, the last one always;
 * kept for late subscribers.
 */
export class LiveState {
  readonly #slots = new Map<string, Slot>();
  readonly #clock: Clock;
  readonly #send: (frame: PaneLive) => void;

  constructor(clock: Clock, send: (frame: PaneLive) => void) {
    this.#clock = clock;
    this.#send = send;
  }

  set(pane: string, frame: PaneLive): void {
    const old = this.#slots.get(pane);
    // Nothing was waited for: there is no end of it to tell.
    if (frame.wait === null && (old?.whole.wait ?? null) === null) return;
    const sameRun = old !== undefined && old.whole.run === frame.run && old.whole.attempt === frame.attempt;
    const whole = merge(sameRun ? old.whole : {}, frame);
    // Of a pane without tasks each frame says all there is.
    const fresh = whole.tasks === undefined ? whole : merge(sameRun ? (old.fresh ?? {}) : {}, frame);
    const slot: Slot = { whole, fresh, timer: old?.timer };
    this.#slots.set(pane, slot);
    if (slot.timer === undefined) this.#flush(pane, slot);
  }

  clear(pane: string): void {
    this.#clock.clearTimeout(this.#slots.get(pane)?.timer);
    this.#slots.delete(pane);
  }

  /** A task that is not at work any more has no live news. */
  settle(fact: Fact): void {
    if (fact.type !== 'tasks' && fact.type !== 'pane.content') return;
    for (const task of fact.type === 'tasks' ? fact.tasks : [fact.task])
      if (task?.status !== undefined && task.status !== 'running') this.#clearTask(fact.pane, task.id);
  }

  #clearTask(pane: string, task: string): void {
    const slot = this.#slots.get(pane);
    if (slot === undefined) return;
    delete slot.whole.tasks?.[task];
    delete slot.fresh?.tasks?.[task];
    if (slot.fresh?.tasks !== undefined && Object.keys(slot.fresh.tasks).length === 0) slot.fresh = null;
  }

  clearAll(): void {
    for (const pane of this.#slots.keys()) this.clear(pane);
  }

  frames(): PaneLive[] {
    return [...this.#slots.values()].flatMap(({ whole }) => (isEmpty(whole) ? [] : [copy(whole)]));
  }

  /** What each pane waits for: for the list of sessions. */
  waits(): { [pane: string]: LiveWait } {
    const waits: { [pane: string]: LiveWait } = {};
    for (const [pane, { whole }] of this.#slots) {
      const wait = whole.wait ?? Object.values(whole.tasks ?? {}).find((task) => task.wait)?.wait;
      if (wait) waits[pane] = wait;
    }
    return waits;
  }

  #flush(pane: string, slot: Slot): void {
    if (slot.fresh !== null) this.#send(slot.fresh);
    slot.fresh = null;
    slot.timer = this.#clock.setTimeout(() => {
      const now = this.#slots.get(pane);
      if (now === undefined) return;
      now.timer = undefined;
      if (now.fresh !== null) this.#flush(pane, now);
    }, liveEveryMs);
  }
}

function copy(frame: PaneLive): PaneLive {
  return frame.tasks === undefined ? frame : { ...frame, tasks: { ...frame.tasks } };
}

function isEmpty(frame: PaneLive): boolean {
  return frame.tasks !== undefined && Object.keys(frame.tasks).length === 0;
}

function merge(old: PaneLive, frame: PaneLive): PaneLive {
  const merged: PaneLive = { ...old, ...frame };
  // A number means that the call has got its slot: what it waited for is over.
  if (frame.progress !== undefined && frame.wait === undefined) delete merged.wait;
  if (frame.tasks === undefined) return merged;
  // A pane's news of tasks is only here until it is sent: with a thousand at work a copy for each piece of news would be all there is to do.
  merged.tasks = old.tasks ?? {};
  for (const [id, task] of Object.entries(frame.tasks)) merged.tasks[id] = mergeTask(merged.tasks[id], task);
  return merged;
}

function mergeTask(old: LiveTask | undefined, news: LiveTask): LiveTask {
  // Another stage begins without what was said of the one before.
  const base = old === undefined || changed(old, news) ? {} : old;
  const merged: LiveTask = { ...base, ...news };
  if (news.progress !== undefined && news.wait === undefined) delete merged.wait;
  if (news.text !== undefined && base.text !== undefined && news.text.at === base.text.at + base.text.add.length)
    merged.text = { at: base.text.at, add: base.text.add + news.text.add };
  return merged;
}

function changed(old: LiveTask, news: LiveTask): boolean {
  return (
    (news.stage !== undefined && old.stage !== news.stage) ||
    (news.attempt !== undefined && old.attempt !== news.attempt)
  );
}
