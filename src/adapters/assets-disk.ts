import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Assets } from '../ports/assets.ts';
import { assetPattern, sessionPattern } from '../protocol/names.ts';

/** Begins the name of a file that is being written; no asset's name does. */
const temporaryPrefix = '.tmp-';

/**
 * Assets as files `<folder>/<session>/<sha256>.<extension>`. A file stands under its name only when it is whole and durable: written under
 * another name in the same folder, synced, renamed, the folder synced. Opening creates the folder and removes what a crash left half
 * written. Rejects with the error of the file system (ENOSPC, EACCES …); with RangeError for a name that is not one (never a path).
 */
export async function openDiskAssets(folder: string): Promise<Assets> {
  await makeFolder(folder);
  await removeTemporary(folder);
  return new DiskAssets(folder);
}

/** The name of an asset: `<sha256>.<extension>`. Throws RangeError when the extension is none. */
export function assetName(bytes: Uint8Array, extension: string): string {
  const name = `${createHash('sha256').update(bytes).digest('hex')}.${extension}`;
  if (!assetPattern.test(name)) {
    throw new RangeError(`expected an extension of 1 to 8 letters a-z and digits, got ${JSON.stringify(extension)}`);
  }
  return name;
}

/** The path under which the server gives an asset out. */
export function assetPath(session: string, name: string): string {
  return `/v1/assets/${session}/${name}`;
}

/** Throws RangeError for what is no name of a session. */
export function checkSession(session: string): void {
  if (!sessionPattern.test(session)) throw new RangeError(`no name of a session: ${JSON.stringify(session)}`);
}

class DiskAssets implements Assets {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async put(session: string, bytes: Uint8Array, extension: string): Promise<string> {
    checkSession(session);
    const name = assetName(bytes, extension);
    const folder = join(this.#folder, session);
    const target = join(folder, name);
    if (await hasSize(target, bytes.byteLength)) {
      // Whoever renamed it may not have synced the folder yet.
      await syncFolder(folder);
      return assetPath(session, name);
    }
    await makeFolder(folder);
    const temporary = join(folder, `${temporaryPrefix}${randomUUID()}`);
    try {
      await writeSynced(temporary, bytes);
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await syncFolder(folder);
    await syncFolder(this.#folder);
    return assetPath(session, name);
  }

  async get(session: string, name: string): Promise<Uint8Array | undefined> {
    if (!sessionPattern.test(session) || !assetPattern.test(name)) return undefined;
    try {
      return await readFile(join(this.#folder, session, name));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async erase(session: string): Promise<void> {
    checkSession(session);
    await rm(join(this.#folder, session), { recursive: true, force: true });
    await syncFolder(this.#folder);
  }
}

/** A whole file has its size; one of another size was damaged and is written again. */
async function hasSize(path: string, bytes: number): Promise<boolean> {
  try {
    return (await stat(path)).size === bytes;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function removeTemporary(folder: string): Promise<void> {
  for (const session of await readdir(folder, { withFileTypes: true })) {
    if (!session.isDirectory()) continue;
    for (const name of await readdir(join(folder, session.name))) {
      if (name.startsWith(temporaryPrefix)) await rm(join(folder, session.name, name), { force: true });
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
