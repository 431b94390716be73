/**
 * One more pane in one file: `people` keeps a list of who has been named. Everything from `name` on is inferred: the phases on the wire, the
 * type of the content, and what the server needs to run, cancel, recover and broadcast it.
 *
 *   npx tsx examples/custom-pane.ts
 */
import { createMullion, definePane, type ContentOf } from '../src/server/index.ts';

export const peoplePane = definePane({
  name: 'people',
  options: { debounceMs: 50, window: 50 },
  stages: [
    {
      // The phase that everybody sees while this runs.
      name: 'counting',
      async run({ messages, signal }) {
        const counts: { [person: string]: number } = {};
        for (const { text } of messages)
          for (const [person] of text.matchAll(/(?<=[a-z,;] )\p{Lu}\p{Ll}+/gu))
            counts[person] = (counts[person] ?? 0) + 1;
        // A newer message has made this work stale: stop at the next safe point.
        signal.throwIfAborted();
        const names = Object.keys(counts).sort();
        return names.length === 0 ? { outcome: 'unchanged' } : { outcome: 'updated', content: { names, counts } };
      },
    },
  ],
});

/** `{ names: string[]; counts: { [person: string]: number } }`, inferred. */
export type People = ContentOf<typeof peoplePane>;

/** A server with the pane: the one line of registration. */
export function createServer(data: string) {
  return createMullion({ config: { data, server: { port: 0 } }, panes: [peoplePane] });
}

if (process.argv[1] === import.meta.filename) {
  const mullion = await createServer('.mullion-example');
  console.log(`open ${await mullion.listen()} and mention somebody; Ctrl-C ends`);
  process.once('SIGINT', () => void mullion.close());
}
