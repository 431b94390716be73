import type { StageInput } from '../../machines/pane-setup.ts';
import {
  startBody,
  type AnyPaneDefinition,
  type Body,
  type BodyEvent,
  type StageSession,
  type StageWorld,
} from './body.ts';

/** What the stages of one session need. */
export interface StagesWorld extends StageWorld {
  definition(pane: string): AnyPaneDefinition | undefined;
  /** True while the server stops: no stage begins any more. */
  readonly draining: boolean;
}

/** The bodies of one session's stages, from their start until they have really ended. */
export class Stages {
  readonly #world: StagesWorld;
  readonly #session: StageSession;
  readonly #unwound: (pane: string) => void;
  readonly #bodies = new Map<string, Set<Body>>();

  /** `unwound` is called when a body that was stopped has ended. */
  constructor(world: StagesWorld, session: StageSession, unwound: (pane: string) => void) {
    this.#world = world;
    this.#session = session;
    this.#unwound = unwound;
  }

  /** Bodies of all panes that have not ended. */
  get size(): number {
    return this.#bodies.size;
  }

  /** Bodies of one pane that have not ended. */
  count(pane: string): number {
    return this.#bodies.get(pane)?.size ?? 0;
  }

  /** Resolves when all bodies that run now have ended. */
  async ended(): Promise<void> {
    const bodies = [...this.#bodies.values()].flatMap((ofPane) => [...ofPane]);
    await Promise.all(bodies.map((body) => body.ended));
  }

  /** Aborts what a pane has running: its actor, which would have, is dead. */
  abort(pane: string): void {
    for (const body of this.#bodies.get(pane) ?? []) body.stop('the pane crashed');
  }

  /** The invoked actor of a working phase: starts the body, and returns what stops it. */
  start(input: StageInput, sendBack: (event: BodyEvent) => void): () => void {
    const { clock, metrics } = this.#world;
    const definition = this.#world.definition(input.pane);
    if (definition === undefined || this.#world.draining) return () => undefined;
    // A body reports its end once, or it is stopped: synchronous, so that there is no moment between the two.
    let over = false;
    const body = startBody(this.#world, this.#session, definition, input, (event) => {
      if (over) return;
      over = event.type === 'stage.done' || event.type === 'stage.failed';
      sendBack(event);
    });
    let stoppedAtMs: number | null = null;
    this.#keep(input.pane, body, () => {
      if (stoppedAtMs === null) return;
      metrics.abortSeconds.with({ pane: input.pane }).observe((clock.now() - stoppedAtMs) / 1_000);
      this.#unwound(input.pane);
    });
    return () => {
      if (over) return;
      over = true;
      stoppedAtMs = clock.now();
      body.stop('the run has ended');
    };
  }

  #keep(pane: string, body: Body, ended: () => void): void {
    const bodies = this.#bodies.get(pane) ?? new Set();
    this.#bodies.set(pane, bodies.add(body));
    void body.ended.then(() => {
      bodies.delete(body);
      if (bodies.size === 0) this.#bodies.delete(pane);
      ended();
    });
  }
}
