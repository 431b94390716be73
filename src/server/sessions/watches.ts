import type { Watch } from '../../panes/define-tasks.ts';
import type { Fact, TaskChange } from '../../protocol/records.ts';
import type { State } from '../../protocol/state.ts';

/** What has come of a message for one pane. */
export type WatchNews =
  | { type: 'found'; pane: string; message: string; tasks: TaskChange[]; streaming: boolean }
  | { type: 'finished'; pane: string; message: string }
  | { type: 'gone'; pane: string; message: string };

/** A pane that reads messages. */
export interface Reader {
  pane: string;
  watch(message: { id: string; rev: number }): Watch | undefined;
}

/** Who reads messages. */
export interface ReadersWorld {
  /** The panes that are on in this state and read messages as they are written. */
  readers(state: State): Reader[];
}

const none: readonly WatchNews[] = [];

/** The watches of one session: each assistant message is read once, as it is written, by every pane that wants to. */
export class Watches {
  readonly #world: ReadersWorld;
  /** By message, then pane; null = none yet: most sessions never have any. */
  #open: Map<string, Map<string, Watch>> | null = null;
  #news: WatchNews[] = [];

  constructor(world: ReadersWorld) {
    this.#world = world;
  }

  /** What has gathered since the last time. */
  take(): readonly WatchNews[] {
    if (this.#news.length === 0) return none;
    const news = this.#news;
    this.#news = [];
    return news;
  }

  /** Forgets everything: the actors are gone. */
  drop(): void {
    this.#open = null;
    this.#news = [];
  }

  /** A piece of the text of a message that is being written. */
  wrote(message: string, add: string): void {
    for (const [pane, watch] of this.#open?.get(message) ?? []) this.#found(pane, message, read(watch, add), true);
  }

  /** A fact of the session's messages. `state`: with it. */
  see(fact: Fact, state: State): void {
    switch (fact.type) {
      case 'message.added': {
        const { id, role, text, final } = fact.message;
        if (role === 'assistant') this.#begin(state, id, 0, text, final);
        return;
      }
      case 'message.ended':
        this.#finish(fact.message);
        return;
      case 'message.removed':
        this.#leave(fact.message, state);
        return;
      case 'message.edited': {
        this.#leave(fact.message, state);
        const message = state.view.messages.find(({ id }) => id === fact.message);
        if (message?.role === 'assistant' && message.final)
          this.#begin(state, fact.message, message.rev ?? 0, fact.text, true);
        return;
      }
      default:
    }
  }

  /**
   * Goes on with a message that was being written when the process ended. All that its text on record has asked for is on record with it: it
   * is read again only for what a piece to come may complete.
   */
  restore(message: string, text: string, state: State): void {
    const known = state.view.messages.find(({ id }) => id === message);
    if (this.#open?.has(message) === true || known?.role !== 'assistant') return;
    for (const watch of this.#watch(state, message, known.rev ?? 0).values()) watch.push(text);
  }

  #begin(state: State, message: string, rev: number, text: string, final: boolean): void {
    const watches = this.#watch(state, message, rev);
    if (text !== '') {
      for (const [pane, watch] of watches) this.#found(pane, message, unknown(read(watch, text), state, pane), !final);
    }
    if (final) this.#finish(message);
  }

  #watch(state: State, message: string, rev: number): Map<string, Watch> {
    const watches = new Map<string, Watch>();
    for (const reader of this.#world.readers(state)) {
      const own = reader.watch({ id: message, rev });
      if (own !== undefined) watches.set(reader.pane, own);
    }
    if (watches.size > 0) (this.#open ??= new Map()).set(message, watches);
    return watches;
  }

  #finish(message: string): void {
    for (const [pane, watch] of this.#open?.get(message) ?? []) {
      const more = watch.end();
      if (more.length > 0) this.#found(pane, message, more, false);
      this.#news.push({ type: 'finished', pane, message });
    }
    this.#open?.delete(message);
  }

  /** Every pane with tasks hears of it, whether it reads or not: a task may be about a message that somebody named. */
  #leave(message: string, state: State): void {
    this.#open?.delete(message);
    for (const [pane, { declaration }] of Object.entries(state.private.panes))
      if (declaration.tasks === true) this.#news.push({ type: 'gone', pane, message });
  }

  #found(pane: string, message: string, tasks: TaskChange[], streaming: boolean): void {
    if (tasks.length > 0) this.#news.push({ type: 'found', pane, message, tasks, streaming });
  }
}

function read(watch: Watch, add: string): TaskChange[] {
  return watch.push(add).map(({ task }) => task);
}

/** Those that are not on record, in a run or as a part. */
function unknown(tasks: TaskChange[], state: State, pane: string): TaskChange[] {
  const view = state.view.panes[pane];
  return tasks.filter(({ id, key }) => view?.tasks[id] === undefined && view?.parts[key ?? ''] === undefined);
}
