import { createActor, type Actor } from 'xstate';
import type { PaneEmitted, PaneInput } from '../../machines/pane-types.ts';
import type { SessionEmitted, SessionEvent, SessionMachine } from '../../machines/session.ts';
import type { TaskPaneEmitted, TaskPaneInput } from '../../machines/tasks/types.ts';
import type { Clock } from '../../ports/clock.ts';

/** Whatever an actor of a session says. */
export type Emitted = PaneEmitted | TaskPaneEmitted | SessionEmitted;

type PaneRef = { on(type: '*', handler: (emitted: Emitted) => void): unknown };

/** What the actors of a session need of the gate that drives them. */
export interface ActorsOwner {
  /** Runs a timer's effect as a turn. */
  turn(fn: () => void): void;
  hear(emitted: Emitted): void;
  /** The root actor has died. */
  died(error: unknown): void;
}

/** One session's actor system: the root and its panes, each spawned when something is first sent to it, gone again with `stop`. */
export class Actors {
  readonly #machine: SessionMachine;
  readonly #clock: Clock;
  readonly #owner: ActorsOwner;
  readonly #panes = new Set<string>();
  #root: Actor<SessionMachine> | null = null;

  constructor(machine: SessionMachine, clock: Clock, owner: ActorsOwner) {
    this.#machine = machine;
    this.#clock = clock;
    this.#owner = owner;
  }

  get awake(): boolean {
    return this.#root !== null;
  }

  has(pane: string): boolean {
    return this.#panes.has(pane);
  }

  /** The root; a new one begins at this generation. Returns true when it is new. */
  wake(session: string, generation: number): boolean {
    if (this.#root !== null) return false;
    const clock = {
      setTimeout: (fn: () => void, delayMs: number) =>
        this.#clock.setTimeout(() => this.#owner.turn(() => fn()), delayMs),
      clearTimeout: (timer: unknown) => this.#clock.clearTimeout(timer),
    };
    const root = createActor(this.#machine, { input: { session, generation, hold: 'none' }, clock });
    root.on('*', (emitted) => this.#owner.hear(emitted));
    // Without an error observer a fault of the root would end the process.
    root.subscribe({ error: (error) => this.#owner.died(error) });
    this.#root = root;
    root.start();
    return true;
  }

  send(event: SessionEvent): void {
    this.#root?.send(event);
  }

  /** Spawns panes that are not there yet, and listens before they start: else their first words are lost. */
  spawn(panes: (PaneInput | TaskPaneInput)[]): void {
    const root = this.#root;
    if (root === null || panes.length === 0) return;
    root.send({ type: 'spawn', panes });
    const { children } = root.getSnapshot();
    for (const { pane } of panes) {
      this.#panes.add(pane);
      // Every child of a session is a pane; xstate types children by the union of all logics.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const ref = children[pane] as unknown as PaneRef | undefined;
      ref?.on('*', (emitted) => this.#owner.hear(emitted));
    }
    root.send({ type: 'start', panes: panes.map(({ pane }) => pane) });
  }

  /** A pane's actor has died: the next `spawn` makes another. */
  bury(pane: string): void {
    this.#panes.delete(pane);
  }

  /** Stops all: what their states have running is aborted, their timers are cleared. */
  stop(): void {
    this.#root?.stop();
    this.#root = null;
    this.#panes.clear();
  }
}
