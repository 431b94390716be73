import { createHash } from 'node:crypto';
import type { Json } from '../../protocol/records.ts';
import type { View } from '../../protocol/view.ts';
import type { Refused, SessionHost } from '../session-api.ts';
import { documentPieces, type Chapter } from './document.ts';
import { assetNameOf, inOrder, textOf } from './parts.ts';
import type { Transcript } from './transcript.ts';

/** What an export is made from. */
export type ExportSource = Pick<SessionHost, 'transcript' | 'asset'>;

/** A whole export. */
export interface Export {
  bytes: Buffer;
  /** SHA-256, hex, of all that follows the line that holds it. */
  hash: string;
}

/** Longest texts of chapters in one export together, in bytes; the rest of them are shown by their beginning. */
export const maxChapterBytes = 4_194_304;

/** Characters rendered at a stretch, before other work has its turn. */
const stretchUnits = 131_072;

/** The export of a session as of its newest record. `defer` lets other work have its turn. */
export async function buildExport(
  source: ExportSource,
  session: string,
  defer: (fn: () => void) => void,
): Promise<Export | Refused> {
  const transcript = await source.transcript(session);
  if ('refused' in transcript) return transcript;
  return render(transcript, await readChapters(source, transcript.view), defer);
}

/** How an export begins: what follows has this hash. */
export function firstLines(hash: string): string {
  return `---\nmullion: "sha256-${hash}"\n`;
}

async function render(
  transcript: Transcript,
  chapters: readonly Chapter[],
  defer: (fn: () => void) => void,
): Promise<Export> {
  const pieces: Buffer[] = [];
  const hasher = createHash('sha256');
  let units = 0;
  for (const text of documentPieces(transcript, chapters)) {
    const piece = Buffer.from(text);
    pieces.push(piece);
    hasher.update(piece);
    units += text.length;
    if (units < stretchUnits) continue;
    units = 0;
    await new Promise<void>((resolve) => {
      defer(resolve);
    });
  }
  const hash = hasher.digest('hex');
  return { bytes: Buffer.concat([Buffer.from(firstLines(hash)), ...pieces]), hash };
}

async function readChapters(source: ExportSource, { session, panes }: View): Promise<Chapter[]> {
  const chapters: Chapter[] = [];
  let left = maxChapterBytes;
  for (const { value } of inOrder(panes['chapters']?.parts ?? {})) {
    if (!isObject(value)) continue;
    const name = assetNameOf(session, value['asset']);
    const bytes = name === null ? undefined : await source.asset(session, name);
    const fits = bytes !== undefined && bytes.byteLength <= left;
    if (fits) left -= bytes.byteLength;
    chapters.push({
      title: textOf(value, 'title'),
      partial: value['partial'] === true,
      text: fits ? new TextDecoder().decode(bytes) : null,
      excerpt: textOf(value, 'excerpt'),
    });
  }
  return chapters;
}

function isObject(value: Json): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
