import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMullion, ProviderError } from '../../src/server/index.ts';
import type { Image, ImageModel, Report, TextModel, TextRequest } from '../../src/server/index.ts';
import type { Outgoing } from '../../src/client/types.ts';

/** A call of an engine that goes on when the test says so. */
export interface Call {
  report: Report;
  finish(): void;
  fail(code: 'timeout' | 'refused' | 'bad_request'): void;
  /** Text engines: a piece of the answer. */
  write(text: string): void;
}

/** The real server with engines that a test plays: every call whose name is held waits for the test, the others answer at once. */
export interface Studio {
  url: string;
  /** Calls with this in their name (a prompt; `draft The title`) wait from now on. */
  hold(name: string): void;
  /** They answer again by themselves, from the next call on. */
  letGo(name: string): void;
  /** The newest call with this in its name, once it is there. */
  call(name: string): Promise<Call>;
  command(session: string, command: Outgoing): Promise<void>;
  close(): Promise<void>;
}

/** Starts the server on a free port, with one picture at a time. */
export async function startStudio(): Promise<Studio> {
  const folder = mkdtempSync(join(tmpdir(), 'mullion-studio-'));
  const held = new Set<string>();
  const calls: { name: string; call: Call }[] = [];
  const waiting: { name: string; take: (call: Call) => void }[] = [];
  const isHeld = (name: string) => [...held].some((part) => name.includes(part));

  function begin(name: string, call: Call): void {
    calls.push({ name, call });
    for (const [index, one] of [...waiting.entries()].toReversed()) {
      if (!name.includes(one.name)) continue;
      waiting.splice(index, 1);
      one.take(call);
    }
  }

  const image: ImageModel = {
    engine: 'studio sketch',
    host: 'http://studio.test:1',
    generate: ({ prompt }, signal, report) =>
      new Promise<Image>((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
        report.heard();
        const finish = () => resolve(drawing(prompt));
        if (!isHeld(prompt)) return finish();
        const fail = (code: 'timeout' | 'refused' | 'bad_request') => reject(noRetry(code));
        return begin(prompt, { report, finish, fail, write: () => undefined });
      }),
  };
  const text: TextModel = {
    engine: () => 'studio pen',
    host: null,
    stream: (request, signal, report) => write(request, signal, report),
  };

  async function* write(request: TextRequest, signal: AbortSignal, report: Report): AsyncGenerator<string> {
    const { chapter } = request.material;
    const name = `${request.stage} ${chapter?.title ?? ''}`;
    report.heard();
    if (!isHeld(name)) {
      yield chapter === undefined
        ? 'The keeper counts the panes again.'
        : `# ${chapter.title}\n\n${request.stage} of ${chapter.title}. ${chapter.feedback}`;
      return;
    }
    const pieces: (string | Error | null)[] = [];
    let wake = () => {};
    const push = (piece: string | Error | null) => {
      pieces.push(piece);
      wake();
    };
    signal.addEventListener('abort', () => push(signal.reason));
    begin(name, { report, finish: () => push(null), fail: (code) => push(noRetry(code)), write: push });
    for (;;) {
      const piece = pieces.shift();
      if (piece === null) return;
      if (piece instanceof Error) throw piece;
      if (piece !== undefined) yield piece;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  }

  const mullion = await createMullion({
    config: {
      server: { port: 0 },
      data: folder,
      limits: { hosts: { 'http://studio.test:1': { concurrency: 1 } } },
      panes: { history: { enabled: false }, scene: { enabled: false } },
    },
    image,
    text,
  });
  const url = await mullion.listen();
  return {
    url,
    hold: (name) => void held.add(name),
    letGo: (name) => void held.delete(name),
    call(name) {
      const found = calls.findLast((one) => one.name.includes(name));
      if (found !== undefined) return Promise.resolve(found.call);
      return new Promise((take) => {
        waiting.push({ name, take });
      });
    },
    async command(session, command) {
      const response = await fetch(`${url}/v1/sessions/${session}/commands`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ id: crypto.randomUUID(), ...command }),
      });
      if (!response.ok) throw new Error(`${command.type}: ${await response.text()}`);
    },
    async close() {
      await mullion.close(0);
      rmSync(folder, { recursive: true });
    },
  };
}

const noRetry = (code: 'timeout' | 'refused' | 'bad_request') =>
  new ProviderError(code, `the studio was told to say ${code}`, { retryable: false });

/** A picture to look at: hills in a colour of the prompt's own, under a moon. */
export function drawing(prompt: string): Image {
  let hue = 0;
  for (const letter of prompt) hue = (hue * 31 + letter.charCodeAt(0)) % 360;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 300"><path fill="hsl(${hue} 35% 30%)" d="M0 0h480v300H0z"/><circle cx="${120 + (hue % 240)}" cy="80" r="34" fill="#f0d9a0"/><path fill="hsl(${hue} 30% 45%)" d="m0 190 110-90 80 70 90-80 90 90 110-60v180H0z"/><path fill="hsl(${hue} 25% 75%)" d="M0 250c120-20 360-20 480 0v50H0z"/></svg>`;
  return { bytes: new TextEncoder().encode(svg), extension: 'svg' };
}
