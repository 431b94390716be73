import { randomUUID } from 'node:crypto';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../ports/clock.ts';
import type { Probe } from '../ports/models.ts';

/** One thing that `mullion check` looks at. */
export interface NamedProbe {
  name: string;
  probe(): Promise<Probe>;
}

/** What to check and where to say it. */
export interface CheckOptions {
  /** Asked all at once, printed in this order. */
  probes: readonly NamedProbe[];
  /** Absolute path of the data folder. */
  data: string;
  clock: Clock;
  out: { write(text: string): unknown };
  /** Removes secrets: providers like to quote a key that they refuse. */
  scrub: (text: string) => string;
  /** Longest wait for one probe, in ms. Default 30,000 (a local model may have to be loaded). */
  timeoutMs?: number;
}

/** `mullion check`: prints one line for each thing, and resolves with the exit code: 0 = everything works, 1 = not. Never rejects. */
export async function runCheck({ probes, data, clock, out, scrub, timeoutMs = 30_000 }: CheckOptions): Promise<0 | 1> {
  const all: NamedProbe[] = [...probes, { name: 'data', probe: () => probeFolder(data) }];
  const width = Math.max(...all.map(({ name }) => name.length));
  const results = all.map((named) => answer(named, clock, timeoutMs));
  let exitCode: 0 | 1 = 0;
  for (const [index, { name }] of all.entries()) {
    const { ok, message } = (await results[index]) ?? { ok: false, message: 'no answer' };
    if (!ok) exitCode = 1;
    out.write(`${ok ? 'ok    ' : 'failed'}  ${name.padEnd(width)}  ${scrub(message).replaceAll(/\s+/g, ' ')}\n`);
  }
  return exitCode;
}

async function answer(named: NamedProbe, clock: Clock, timeoutMs: number): Promise<Probe> {
  let timer: unknown;
  const late = new Promise<Probe>((resolve) => {
    timer = clock.setTimeout(
      () => resolve({ ok: false, message: `expected an answer within ${timeoutMs} ms, got none` }),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([named.probe(), late]);
  } catch (error) {
    return { ok: false, message: error instanceof Error ? error.message : String(error) };
  } finally {
    clock.clearTimeout(timer);
  }
}

/** Whether the folder exists (it is made) and a file in it can be written, flushed and removed. */
async function probeFolder(folder: string): Promise<Probe> {
  const path = join(folder, `.check-${randomUUID()}`);
  try {
    await mkdir(folder, { recursive: true });
    const file = await open(path, 'wx');
    try {
      await file.writeFile('mullion check\n');
      await file.sync();
    } finally {
      await file.close();
    }
    return { ok: true, message: `${folder} can be written` };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { ok: false, message: `expected a folder that can be written, got ${reason}` };
  } finally {
    await rm(path, { force: true }).catch(() => undefined);
  }
}
