import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The package: two folders above `test/e2e`. */
export const root = fileURLToPath(new URL('../../', import.meta.url));
/** The compiled program, as `bin` in package.json names it. */
export const program = `${root}dist/mullion.js`;

/** Longest wait for the listening line, ms: the machine may be busy. */
const listenWithinMs = 20_000;

/** How a process ended: one of the two is null. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** What a process is started with. */
export interface Start {
  args: readonly string[];
  /** Added to an environment without anything that configures Mullion or OpenAI. */
  env?: Record<string, string>;
  cwd?: string;
}

/** A started program: what it has said so far, and its end. */
export interface Running {
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
  stdout(): string;
  stderr(): string;
  /** Sends the signal; resolves when the process has ended. */
  end(signal: NodeJS.Signals): Promise<Exit>;
}

/** A server that listens. */
export interface ServerProcess extends Running {
  /** `http://HOST:PORT`. */
  readonly url: string;
  /** The WebSocket of the same server. */
  readonly ws: string;
  /** From spawn to the listening line. */
  readonly startMs: number;
}

/** This process's environment without what would configure the program under test. */
export function cleanEnv(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:OPENAI_|MULLION_|VITEST|NODE_ENV$|NODE_OPTIONS$)/.test(name),
  );
  return { ...Object.fromEntries(kept), ...extra };
}

/** Starts the program. */
export function start({ args, env = {}, cwd }: Start): Running {
  const child = spawn(process.execPath, [program, ...args], {
    env: cleanEnv(env),
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once('error', reject);
    // `close`, not `exit`: the pipes have been read to their end.
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  return {
    child,
    exited,
    stdout: () => stdout,
    stderr: () => stderr,
    end: (signal) => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      return exited;
    },
  };
}

/** Starts `mullion serve` on a free port and waits for its one line on stdout. Rejects with what it said when it ends before. */
export async function startServer(options: {
  data: string;
  args?: readonly string[];
  env?: Record<string, string>;
  cwd?: string;
  port?: number;
}): Promise<ServerProcess> {
  const { data, args = [], env, port = 0 } = options;
  const since = performance.now();
  const running = start({
    args: ['serve', '--port', String(port), '--data', data, ...args],
    cwd: options.cwd ?? data,
    ...(env === undefined ? {} : { env }),
  });
  const { stdout } = running.child;
  if (stdout === null) throw new Error('the server has no stdout');
  const lines = createInterface({ input: stdout });
  const timer = setTimeout(() => running.child.kill('SIGKILL'), listenWithinMs);
  const line = await Promise.race([
    once(lines, 'line').then(([text]) => String(text)),
    running.exited.then(() => undefined),
  ]);
  clearTimeout(timer);
  const startMs = performance.now() - since;
  const [, url] = /^mullion listening on (http:\/\/\S+)$/.exec(line ?? '') ?? [];
  if (url === undefined) {
    const { code, signal } = await running.end('SIGKILL');
    throw new Error(`the server did not listen (exit ${code ?? signal ?? '?'}): ${line ?? ''} ${running.stderr()}`);
  }
  return { ...running, url, ws: `${url.replace(/^http/, 'ws')}/v1/ws`, startMs };
}
