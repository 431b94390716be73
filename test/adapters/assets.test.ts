import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openDiskAssets } from '../../src/adapters/assets-disk.ts';
import { MemoryAssets } from '../../src/adapters/assets-memory.ts';
import type { Assets } from '../../src/ports/assets.ts';

let root: string;
let folder: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'mullion-assets-'));
  folder = join(root, 'data', 'assets');
});
afterEach(() => rmSync(root, { recursive: true }));

const bytes = new TextEncoder().encode('picture');
const sha256 = createHash('sha256').update(bytes).digest('hex');

describe.each<[string, () => Promise<Assets>]>([
  ['disk', () => openDiskAssets(folder)],
  ['memory', async () => new MemoryAssets()],
])('assets: %s', (_name, make) => {
  let assets: Assets;
  beforeEach(async () => {
    assets = await make();
  });

  test('gives back the bytes under the path made of session, SHA-256 and extension', async () => {
    expect(await assets.put('chat-7', bytes, 'png')).toBe(`/v1/assets/chat-7/${sha256}.png`);
    expect(Buffer.from((await assets.get('chat-7', `${sha256}.png`)) ?? []).toString()).toBe('picture');
    expect(await assets.get('chat-7', `${sha256}.jpg`)).toBeUndefined();
    expect(await assets.get('chat-8', `${sha256}.png`)).toBeUndefined();
  });

  test('the same content twice, also at once, has one path; zero bytes are content', async () => {
    const paths = await Promise.all([1, 2, 3].map(() => assets.put('s', bytes, 'png')));
    expect(new Set(paths).size).toBe(1);
    const [, name = ''] = /([^/]+)$/.exec(await assets.put('s', new Uint8Array(), 'txt')) ?? [];
    expect(await assets.get('s', name)).toHaveLength(0);
  });

  test.each(['', '..', 'a/b', '/etc', 'a\0', 'x'.repeat(65)])('refuses the session name %j', async (session) => {
    await expect(assets.put(session, bytes, 'png')).rejects.toThrow(RangeError);
    await expect(assets.erase(session)).rejects.toThrow(RangeError);
    expect(await assets.get(session, `${sha256}.png`)).toBeUndefined();
  });

  test.each(['', '../x', 'PNG', 'png/', 'x'.repeat(9), 'p.g'])('refuses the extension %j', async (extension) => {
    await expect(assets.put('s', bytes, extension)).rejects.toThrow(RangeError);
  });

  test.each(['', '..', '../s/x.png', `${sha256}.png/..`, 'x.png', sha256])('has nothing named %j', async (name) => {
    await assets.put('s', bytes, 'png');
    expect(await assets.get('s', name)).toBeUndefined();
  });

  test('erase deletes the assets of that session only, and may be repeated', async () => {
    await assets.put('a', bytes, 'png');
    await assets.put('b', bytes, 'png');
    await assets.erase('a');
    await assets.erase('a');
    expect(await assets.get('a', `${sha256}.png`)).toBeUndefined();
    expect(await assets.get('b', `${sha256}.png`)).toHaveLength(7);
    await assets.put('a', bytes, 'png');
    expect(await assets.get('a', `${sha256}.png`)).toHaveLength(7);
  });
});

describe('assets on disk', () => {
  test('one file per content, no temporary file stays', async () => {
    const assets = await openDiskAssets(folder);
    await Promise.all([1, 2, 3].map(() => assets.put('s', bytes, 'png')));
    expect(readdirSync(join(folder, 's'))).toEqual([`${sha256}.png`]);
  });

  test('opening removes what a crash left half written, and nothing else', async () => {
    await (await openDiskAssets(folder)).put('s', bytes, 'png');
    writeFileSync(join(folder, 's', '.tmp-1234'), 'half');
    const again = await openDiskAssets(folder);
    expect(readdirSync(join(folder, 's'))).toEqual([`${sha256}.png`]);
    expect(await again.get('s', `${sha256}.png`)).toHaveLength(7);
  });

  test('a file of another size under the name is written again', async () => {
    const assets = await openDiskAssets(folder);
    mkdirSync(join(folder, 's'));
    writeFileSync(join(folder, 's', `${sha256}.png`), 'pic');
    await assets.put('s', bytes, 'png');
    expect(await assets.get('s', `${sha256}.png`)).toHaveLength(7);
  });

  test('a folder that cannot be made rejects with the error of the file system', async () => {
    writeFileSync(join(root, 'file'), '');
    await expect(openDiskAssets(join(root, 'file', 'assets'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  });
});
