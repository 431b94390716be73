import type { JsonObject } from '../../protocol/records.ts';
import type { Message, PaneView, View } from '../../protocol/view.ts';
import { harmless, inline, quoted } from './quote.ts';
import { illustrated, illustrationsOf } from './illustrated.ts';
import { assetNameOf, textOf } from './parts.ts';
import type { Transcript } from './transcript.ts';
import { yamlMapping, type YamlValue } from './yaml.ts';

/** A chapter with its whole text. */
export interface Chapter {
  title: string;
  partial: boolean;
  /** null: its text is not there any more, or did not fit. */
  text: string | null;
  excerpt: string;
}

/**
 * The export of a session, in pieces, without the line that holds its hash: front matter, then the document. A function of its arguments:
 * the same state gives the same bytes.
 *
 * Lines that begin with `#`, `!` or `<!--` are the document's own. All that anybody wrote stands in a quote (`>`), or escaped within a line.
 */
export function* documentPieces(transcript: Transcript, chapters: readonly Chapter[]): Generator<string> {
  const { view, messages, leftOut } = transcript;
  yield `${yamlMapping(frontMatter(transcript))}---\n`;
  yield `\n# ${view.session}\n`;
  const picture = scenePicture(view);
  if (picture !== null) yield `\n## Scene\n\n${picture}\n`;
  if (messages.length + leftOut > 0) yield `\n## Messages\n`;
  if (leftOut > 0) yield `\n<!-- ${leftOut} earlier messages are left out: the export would be too large -->\n`;
  const illustrations = illustrationsOf(view);
  for (const message of messages)
    yield `\n### ${headingOf(message)}\n\n${quoted(illustrated(message, illustrations.get(message.id) ?? []))}`;
  if (chapters.length > 0) yield `\n## Chapters\n`;
  for (const [index, chapter] of chapters.entries()) yield chapterText(index + 1, chapter);
}

function frontMatter({ view, at, messages, leftOut }: Transcript): { [key: string]: YamlValue } {
  const { history, scene } = view.panes;
  return {
    session: view.session,
    seq: view.seq,
    generation: view.generation,
    transcript: view.transcript,
    at,
    messages: messages.length,
    leftOut,
    ...(history?.content == null ? {} : { history: ofPane(history, history.content, { summary: 'text' }) }),
    ...(scene?.content == null
      ? {}
      : { scene: ofPane(scene, scene.content, { description: 'description', image: 'image' }) }),
  };
}

/** What a pane knows, up to which message, and whether that is still so. */
function ofPane(pane: PaneView, content: JsonObject, fields: { [key: string]: string }): { [key: string]: YamlValue } {
  const texts = Object.entries(fields).map(([key, field]) => [key, textOf(content, field)]);
  return {
    ...Object.fromEntries(texts),
    engine: textOf(content, 'engine'),
    asOf: textOf(content, 'asOf'),
    generation: pane.contentGeneration,
    covers: pane.covers,
    fresh: pane.fresh,
    phase: pane.phase,
  };
}

function scenePicture({ session, panes }: View): string | null {
  const content = panes['scene']?.content ?? {};
  const name = assetNameOf(session, content['image']);
  return name === null ? null : `![${inline(textOf(content, 'description'))}](/v1/assets/${session}/${name})`;
}

function headingOf({ id, role, at, generation, final, outcome, reason, rev = 0 }: Message): string {
  const why = reason === undefined ? '' : ` (${inline(reason)})`;
  return [
    role,
    at,
    `generation ${generation}`,
    id,
    ...(final ? [] : ['being written']),
    ...(outcome === 'stopped' || outcome === 'failed' ? [`${outcome}${why}`] : []),
    ...(rev > 0 ? [rev === 1 ? 'edited' : `edited ${rev} times`] : []),
  ].join(' · ');
}

function chapterText(number: number, { title, partial, text, excerpt }: Chapter): string {
  const heading = `\n### ${[`${number}. ${inline(title)}`.trim(), ...(partial ? ['unfinished'] : [])].join(' · ')}\n`;
  if (text !== null) return `${heading}\n${quoted(harmless(text))}`;
  return `${heading}\n<!-- only the beginning: the text of this chapter cannot be had, or is too long -->\n\n${quoted(harmless(excerpt))}`;
}
