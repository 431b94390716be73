import { createHash, randomUUID } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { copyFile, link, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sessionPattern } from '../../protocol/names.ts';
import { firstLines, type Export } from './build.ts';

/** What became of a file: `taken` = it is the export of a session whose name differs in case only, on a disk that does not tell them apart. */
export type Outcome = 'written' | 'same' | 'removed' | 'absent' | 'taken';

/** What was done, and the name under which somebody's edited file now stands. */
export interface Done {
  outcome: Outcome;
  aside?: string;
}

/** What stands under a file's name. */
type Found =
  | { kind: 'none' }
  /** Ours, as it was written. */
  | { kind: 'export'; session: string; hash: string }
  /** Ours, and changed since. */
  | { kind: 'edited'; session: string }
  /** Not from us, or no longer to be known as ours. */
  | { kind: 'foreign' };

/** A larger file is not as it was written: no export gets so large. */
const maxFileBytes = 134_217_728;
const headBytes = 1_024;
const headPattern = /^---\nmullion: "sha256-([0-9a-f]{64})"\nsession: "([A-Za-z0-9_-]{1,64})"\nseq: (\d{1,16})\n/;
const temporaryPattern = /^\.mullion-[0-9a-f-]{36}\.tmp$/;
/** Edited files of one session that are kept beside it; then somebody has to look. */
export const maxAside = 1_000;

/**
 * Exports as files `<session>.md`. A file that differs from what was written - its front matter holds the hash of the rest - was edited by
 * somebody: it is moved to `<session>.edited-<n>.md`, never overwritten, never deleted. A file appears whole and durable or not at all:
 * written under another name in the same folder, synced, renamed, the folder synced. Rejects with the error of the file system.
 * Not more than one write at a time.
 */
export class ExportFolder {
  readonly #folder: string;
  /** The file that is being written. */
  #writing = '';

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes the folder and removes what a crash left half written. */
  async open(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#folder))
      if (temporaryPattern.test(name) && name !== this.#writing) await rm(join(this.#folder, name), { force: true });
  }

  /** Makes the file of a session be this export. */
  async write(session: string, { bytes, hash }: Export): Promise<Done> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const target = this.#path(session);
    const before = await inspect(target);
    if (isTaken(before, session)) return { outcome: 'taken' };
    if (before.kind === 'export' && before.session === session && before.hash === hash) return { outcome: 'same' };
    this.#writing = `.mullion-${randomUUID()}.tmp`;
    const temporary = join(this.#folder, this.#writing);
    try {
      await writeSynced(temporary, bytes);
      // Looked at again: writing takes its time, and somebody may have saved meanwhile.
      const aside = await this.#makeWay(session, await inspect(target));
      await rename(temporary, target);
      await sync(this.#folder);
      return { outcome: 'written', ...(aside === undefined ? {} : { aside }) };
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
  }

  /** The session is gone: so is its file, unless somebody has edited it. A file that is not known as an export of it stays. */
  async remove(session: string): Promise<Done> {
    const target = this.#path(session);
    const found = await inspect(target);
    if (found.kind === 'none' || found.kind === 'foreign' || found.session !== session) return { outcome: 'absent' };
    const aside = await this.#makeWay(session, found);
    await rm(target, { force: true });
    await sync(this.#folder);
    return { outcome: 'removed', ...(aside === undefined ? {} : { aside }) };
  }

  /** The sessions whose exports, edited or not, stand here, each with the record that it is of. At most `limit`. */
  async standing(limit: number): Promise<Map<string, number>> {
    const standing = new Map<string, number>();
    for (const name of await readdir(this.#folder)) {
      if (standing.size >= limit) break;
      const session = name.endsWith('.md') ? name.slice(0, -3) : '';
      if (!sessionPattern.test(session)) continue;
      const head = await readHead(join(this.#folder, name)).catch(() => undefined);
      if (head?.session === session) standing.set(session, head.seq);
    }
    return standing;
  }

  #path(session: string): string {
    if (!sessionPattern.test(session)) throw new RangeError(`no name of a session: ${JSON.stringify(session)}`);
    return join(this.#folder, `${session}.md`);
  }

  /** Gives what is not ours, or not as we wrote it, a name of its own. */
  async #makeWay(session: string, found: Found): Promise<string | undefined> {
    if (found.kind === 'none') return undefined;
    if (found.kind === 'export' && found.session === session) return undefined;
    for (let n = 1; n <= maxAside; n += 1) {
      const name = `${session}.edited-${n}.md`;
      if (await keepAs(this.#path(session), join(this.#folder, name))) {
        await sync(this.#folder);
        return name;
      }
    }
    throw new Error(`expected at most ${maxAside} edited files of session ${session}, there are more`);
  }
}

function isTaken(found: Found, session: string): boolean {
  if (found.kind === 'none' || found.kind === 'foreign' || found.session === session) return false;
  return found.session.toLowerCase() === session.toLowerCase();
}

async function inspect(path: string): Promise<Found> {
  const status = await lstat(path).catch(nothingIfMissing);
  if (status === undefined) return { kind: 'none' };
  if (status.isSymbolicLink()) return { kind: 'foreign' };
  // Opening a pipe would wait for ever; a folder can be neither replaced nor kept.
  if (!status.isFile()) throw new Error(`expected a file, got something else: ${path}`);
  const head = await readHead(path);
  if (head === undefined) return { kind: 'foreign' };
  const { session, hash } = head;
  if (status.size > maxFileBytes) return { kind: 'edited', session };
  return (await hashOf(path, firstLines(hash).length)) === hash
    ? { kind: 'export', session, hash }
    : { kind: 'edited', session };
}

async function hashOf(path: string, start: number): Promise<string> {
  const hasher = createHash('sha256');
  const stream: AsyncIterable<Buffer> = createReadStream(path, { start });
  for await (const piece of stream) hasher.update(piece);
  return hasher.digest('hex');
}

/** What the first lines of an export say; undefined when these are not. */
async function readHead(path: string): Promise<{ session: string; hash: string; seq: number } | undefined> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(headBytes), 0, headBytes, 0);
    const [, hash, session, seq] = headPattern.exec(buffer.toString('latin1', 0, bytesRead)) ?? [];
    return hash === undefined || session === undefined ? undefined : { session, hash, seq: Number(seq) };
  } finally {
    await file.close();
  }
}

/** A second name for the file, if nothing has that name; the first one may then be replaced. False: the name is used. */
async function keepAs(path: string, aside: string): Promise<boolean> {
  try {
    await link(path, aside);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    // Disks without hard links get a copy.
    if (!hasCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK')) throw error;
  }
  try {
    await copyFile(path, aside, constants.COPYFILE_EXCL);
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
  await sync(aside);
  return true;
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

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function nothingIfMissing(error: unknown): undefined {
  if (!hasCode(error, 'ENOENT')) throw error;
  return undefined;
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
