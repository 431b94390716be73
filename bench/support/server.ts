import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compose, type Composed, type Parts } from '../../src/server/compose.ts';
import { resolveConfig } from '../../src/server/config/config.ts';
import type { ConfigFile } from '../../src/server/config/config-schema.ts';

/** A whole server on a free port, with a journal of its own on disk. */
export interface BenchServer extends Composed {
  readonly port: number;
  readonly folder: string;
  stop(): Promise<void>;
}

/** A private folder, removed by the caller. */
export function benchFolder(): string {
  return mkdtempSync(join(tmpdir(), 'mullion-bench-'));
}

/** Composes and starts a server as `mullion serve` does, with the parts and the configuration that a bench needs. */
export async function benchServer(file: ConfigFile, parts: Parts = {}): Promise<BenchServer> {
  const folder = benchFolder();
  const limits = { framesPerSecond: 1_000_000, ...file.limits };
  const config = resolveConfig(
    { file: { text: { engine: 'offline' }, image: { engine: 'none' }, ...file, limits }, name: 'bench', folder },
    { port: '0', data: folder },
    {},
    folder,
  );
  const composed = await compose(config, parts);
  const url = await composed.listen();
  return {
    ...composed,
    port: Number(new URL(url).port),
    folder,
    async stop() {
      await composed.close(0);
      rmSync(folder, { recursive: true });
    },
  };
}

/** Panes that take no part. */
export const off = { enabled: false } as const;
