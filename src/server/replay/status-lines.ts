import type { LiveFrame } from '../../protocol/frames.ts';
import { isTerminal } from '../../protocol/names.ts';
import type { PaneView, View } from '../../protocol/view.ts';

/** A terminal, or a pipe: `process.stdout` is one. */
export interface Terminal {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

/** What the newest live frame of a pane said. */
type Live = Pick<LiveFrame, 'progress' | 'wait' | 'run'>;

/**
 * One status line per pane: on a terminal redrawn in place, elsewhere one line per change of phase. `close()` leaves the cursor below
 * them; nothing is drawn after it.
 */
export class StatusLines {
  readonly #terminal: Terminal;
  readonly #panes: readonly string[];
  readonly #shown = new Map<string, string>();
  readonly #live = new Map<string, Live>();
  #drawn = 0;
  #closed = false;

  constructor(terminal: Terminal, panes: readonly string[]) {
    this.#terminal = terminal;
    this.#panes = panes;
  }

  /** A live frame: shown (on a terminal) with the next `draw`, and dropped when its run is no longer the pane's. */
  live(frame: LiveFrame): void {
    if (frame.pane === undefined || (frame.progress === undefined && frame.wait === undefined)) return;
    this.#live.set(frame.pane, frame);
  }

  /** Shows the view; `note` stands in an own line above the panes. Cheap when nothing has changed. */
  draw(view: View, note = ''): void {
    if (this.#closed) return;
    const panes = this.#panes.flatMap((name): [string, PaneView][] => {
      const pane = view.panes[name];
      return pane === undefined ? [] : [[name, pane]];
    });
    if (this.#terminal.isTTY === true) this.#redraw(panes, note);
    else this.#print(panes);
  }

  /** Ends the lines. Idempotent. */
  close(): void {
    this.#closed = true;
  }

  #redraw(panes: readonly [string, PaneView][], note: string): void {
    const width = Math.max(20, (this.#terminal.columns ?? 80) - 1);
    const lines = [note, ...panes.map(([name, pane]) => statusLine(name, pane, this.#liveOf(name, pane)))].map((line) =>
      line.slice(0, width),
    );
    const text = lines.join('\n');
    if (this.#shown.get('') === text) return;
    this.#shown.set('', text);
    // Up to the first of our lines, then each one anew; the rest of an old, longer line is erased.
    const up = this.#drawn === 0 ? '' : `\u001b[${this.#drawn}A`;
    this.#terminal.write(`${up}${lines.map((line) => `\r${line}\u001b[K\n`).join('')}`);
    this.#drawn = lines.length;
  }

  #print(panes: readonly [string, PaneView][]): void {
    for (const [name, pane] of panes) {
      const key = `${pane.run ?? ''} ${pane.phase} ${pane.attempt}`;
      if (this.#shown.get(name) === key) continue;
      this.#shown.set(name, key);
      if (pane.run !== null) this.#terminal.write(`${statusLine(name, pane, undefined)}\n`);
    }
  }

  #liveOf(name: string, pane: PaneView): Live | undefined {
    const live = this.#live.get(name);
    return live !== undefined && live.run === pane.run && !isTerminal(pane.phase) ? live : undefined;
  }
}

/** `history   summarizing  generation 4 · attempt 2 · waiting, position 3`. */
export function statusLine(name: string, pane: PaneView, live: Live | undefined): string {
  const parts = [`generation ${pane.generation}`];
  if (pane.attempt > 1) parts.push(`attempt ${pane.attempt}`);
  if (live?.wait !== undefined && live.wait !== null) {
    const position = live.wait.position === undefined ? '' : `, position ${live.wait.position}`;
    parts.push(`${live.wait.reason === 'queue' ? 'in the queue' : live.wait.reason}${position}`);
  } else if (live?.progress !== undefined) {
    parts.push(`${live.progress.value}/${live.progress.max} ${live.progress.unit}`);
  }
  if (pane.retryAt !== null) parts.push(`again at ${pane.retryAt.slice(11, 19)}`);
  if (pane.error !== null) parts.push(`${pane.error.code}: ${pane.error.message}`);
  else if (pane.reason !== null) parts.push(pane.reason);
  if (pane.paused) parts.push('paused');
  return plain(`${name.padEnd(9)} ${pane.phase.padEnd(14)} ${parts.join(' · ')}`).replace(/\s+/g, (gap) =>
    gap.replaceAll('\n', ' '),
  );
}

/** The text without control characters, but for line breaks and tabs: what a model or a chat says must not steer the terminal. */
export function plain(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, '');
}
