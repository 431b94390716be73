import { hash } from 'node:crypto';
import { entryLimits, type Entry } from '../ports/journal.ts';
import { JournalError } from '../ports/errors.ts';

/**
 * Version of what lies inside a stored body. The layout around it, `<format> <checksum> <json>`, is the same in all formats; a change of
 * the JSON needs a new number here, a reader for the old one and a fixture test (test/fixtures/journal-v1).
 */
export const entryFormat = 1;

const checksumChars = 16;

/**
 * The bytes to store for `json`. The checksum (64 bits of SHA-1: `crypto.hash` on 300 B takes 0.38 us here, a table CRC-32 in JavaScript
 * 0.75 us, and Node 20 has no zlib.crc32) also covers the format and `context`, so that a body in the wrong row does not pass.
 * Stored as a blob: libsql aborts the process when it reads TEXT that is not UTF-8, and cuts text at a NUL.
 */
export function seal(context: string, json: string, format = entryFormat): Buffer {
  return Buffer.from(`${format} ${checksum(format, context, json)} ${json}`);
}

/** The JSON inside sealed bytes. Throws JournalError: corrupt, or format when a newer version wrote it. `what` names it in the message. */
export function unseal(context: string, bytes: Uint8Array, what: string): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
  const space = text.indexOf(' ');
  const format = Number(text.slice(0, space));
  const from = space + 1 + checksumChars + 1;
  const json = text.slice(from);
  if (space < 1 || text.slice(space + 1, from - 1) !== checksum(format, context, json)) {
    throw new JournalError('corrupt', `${what} does not match its checksum`);
  }
  if (format > entryFormat) throw newerFormat(what, format, entryFormat);
  return json;
}

function checksum(format: number, context: string, json: string): string {
  return hash('sha1', `${format}\n${context}\n${json}`, 'hex').slice(0, checksumChars);
}

/** The error for something that a newer version wrote. */
export function newerFormat(what: string, found: number, known: number): JournalError {
  return new JournalError(
    'format',
    `${what} has format ${found}, this version reads up to format ${known}: start the newer version of Mullion, or restore a backup`,
  );
}

/** An entry as it is stored. */
export interface EncodedEntry {
  /** JSON of the records. */
  records: string;
  keys: { id: string; json: string }[];
  summary: string;
  /** What counts against `entryLimits.bytes`: UTF-8 bytes of records, keys and summary. */
  bytes: number;
}

/** Encodes an entry at the call of `append`, so that later changes of the caller's objects do nothing. Throws JournalError too_large. */
export function encodeEntry(session: string, entry: Entry): EncodedEntry {
  if (entry.records.length > entryLimits.records) {
    throw new JournalError(
      'too_large',
      `session ${session}: an entry has at most ${entryLimits.records} records, got ${entry.records.length}`,
    );
  }
  const records = JSON.stringify(entry.records);
  const keys = entry.keys.map(({ id, digest, ack }) => ({ id, json: JSON.stringify({ digest, ack }) }));
  const summary = JSON.stringify(entry.summary);
  let bytes = Buffer.byteLength(records) + Buffer.byteLength(summary);
  for (const key of keys) bytes += Buffer.byteLength(key.id) + Buffer.byteLength(key.json);
  if (bytes > entryLimits.bytes) {
    throw new JournalError(
      'too_large',
      `session ${session}: an entry has at most ${entryLimits.bytes} bytes, got ${bytes}`,
    );
  }
  return { records, keys, summary, bytes };
}

/** Why an append must not happen (the fence, or records that do not continue the journal); undefined when it may. Shared by both journals. */
export function refuseAppend(session: string, head: number, expected: number, entry: Entry): JournalError | undefined {
  if (head !== expected) {
    return new JournalError('stale_writer', `session ${session}: expected head ${expected}, the journal is at ${head}`);
  }
  const wrong = entry.records.findIndex((record, index) => record.seq !== expected + index + 1);
  if (wrong === -1) return undefined;
  return new JournalError(
    'stale_writer',
    `session ${session}: expected seq ${expected + wrong + 1}, got ${entry.records[wrong]?.seq}`,
  );
}

/** Why a state must not be saved; undefined when it may. */
export function refuseState(session: string, head: number | undefined, seq: number): JournalError | undefined {
  if (head !== undefined && seq <= head) return undefined;
  return new JournalError(
    'stale_writer',
    `session ${session}: no state at ${seq}, the journal is at ${head ?? 'no entry'}`,
  );
}

/** How long command keys are kept, in ms. PROTOCOL section 4. */
export const keyLifeMs = 24 * 3_600_000;

/** Most keys that one call of `expire` looks at. */
export const expireBatch = 1_000;
