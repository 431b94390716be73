import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { isTerminal } from '../../src/protocol/names.ts';
import type { JsonObject } from '../../src/protocol/records.ts';
import type { View } from '../../src/protocol/view.ts';
import { configFor, startModelServer, type ModelServer } from './model-server.ts';
import { start, startServer, type Exit, type ServerProcess } from './process.ts';
import { Wire, type Seen } from './wire.ts';

export { Wire } from './wire.ts';
export { root, type ServerProcess } from './process.ts';
export type { ModelServer } from './model-server.ts';

/** A folder of this test, removed with everything in it when the test ends. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'mullion-e2e-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A server of this test; killed when the test ends, if it still runs. */
export async function serve(options: Parameters<typeof startServer>[0]): Promise<ServerProcess> {
  const server = await startServer(options);
  onTestFinished(async () => void (await server.end('SIGKILL')));
  return server;
}

/** Runs the program to its end. */
export async function cli(
  args: readonly string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<Exit & { stdout: string; stderr: string }> {
  const running = start({ args, ...options });
  onTestFinished(async () => void (await running.end('SIGKILL')));
  const exit = await running.exited;
  return { ...exit, stdout: running.stdout(), stderr: running.stderr() };
}

/** Writes `mullion.config.json` into a folder and returns its path. */
export function writeConfig(path: string, config: unknown): string {
  const file = join(path, 'mullion.config.json');
  writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config));
  return file;
}

/** A scripted model server of this test. */
export async function models(): Promise<ModelServer> {
  const server = await startModelServer();
  onTestFinished(() => server.close());
  return server;
}

/** A scripted model server, a data folder configured to use it, and a way to start (again) on it. */
export async function scripted(more: Record<string, unknown> = {}) {
  const model = await models();
  const data = folder();
  const config = writeConfig(data, configFor(model, more));
  return { model, data, serve: (): Promise<ServerProcess> => serve({ data, args: ['--config', config] }) };
}

/** Follows a session of this test; the socket is closed when the test ends. */
export async function follow(
  server: ServerProcess,
  session: string,
  options: { token?: string; seen?: Seen; create?: boolean } = {},
): Promise<Wire> {
  const wire = await Wire.follow(server.ws, session, options);
  onTestFinished(() => wire.cut());
  return wire;
}

/** GET that must be JSON. */
export async function getJson(url: string, headers: Record<string, string> = {}): Promise<unknown> {
  const response = await fetch(url, { headers });
  return response.json();
}

/** The path of the scene's picture. Throws when there is none. */
export function imageOf(view: View): string {
  const image = view.panes['scene']?.content?.['image'];
  if (typeof image !== 'string') throw new Error(`no picture: ${JSON.stringify(view.panes['scene'])}`);
  return image;
}

/** [P1] [P4] [P5]: nothing missing, nothing twice, each run with exactly one end and nothing of it afterwards. */
export function expectWhole({ seen }: Pick<Wire, 'seen'>): void {
  expect(seen.violations).toEqual([]);
  expect(seen.snapshots).toEqual(['initial']);
  const ended = new Set<string>();
  for (const record of seen.records) {
    if (record.type !== 'pane.phase') continue;
    expect(ended).not.toContain(record.run);
    if (isTerminal(record.phase)) ended.add(record.run);
  }
}

/** Each run has exactly one end, and nothing of it follows; call it when nothing is at work. [P1] */
export function expectEnded({ seen }: Pick<Wire, 'seen'>): void {
  const phases = new Map<string, string[]>();
  for (const record of seen.records)
    if (record.type === 'pane.phase') phases.set(record.run, [...(phases.get(record.run) ?? []), record.phase]);
  for (const [run, all] of phases) {
    expect(all.filter(isTerminal), `${run}: ${all.join(' ')}`).toHaveLength(1);
    expect(all.at(-1), run).toSatisfy(isTerminal);
  }
}

/** A part of a pane, as an object. Throws when it is not there. */
export function partOf(view: View, pane: string, key: string): { version: number; value: JsonObject; run: string } {
  const part = view.panes[pane]?.parts[key];
  const value = part?.value;
  if (part === undefined || typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`no part ${key}: ${JSON.stringify(view.panes[pane]?.parts)}`);
  return { version: part.version, value, run: part.run };
}

/** The text behind the asset of a part. */
export async function textOf(server: ServerProcess, value: JsonObject): Promise<string> {
  return (await assetOf(server, value)).text();
}

/** The asset of a part. */
export async function assetOf(server: ServerProcess, { asset }: JsonObject): Promise<Response> {
  if (typeof asset !== 'string') throw new Error(`no path of an asset: ${JSON.stringify(asset)}`);
  const response = await fetch(`${server.url}${asset}`);
  expect(response.status).toBe(200);
  return response;
}
