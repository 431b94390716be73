import type { Fact } from '../../src/protocol/records.ts';
import { opened, phase } from '../support/fake-socket.ts';
import type { PageServer } from '../support/page-server.ts';

/** The pictures of the story: content-addressed names, as the server makes them. */
export const wide = `/v1/assets/glass/${'a'.repeat(64)}.svg`;
export const near = `/v1/assets/glass/near${'b'.repeat(60)}.svg`;

const summary =
  'Ines Farkas, surveyor for the road office, crosses the Kestrel Pass in the first snow to measure a glasshouse that no two maps agree on. The keeper lets her stay the night in exchange for news from the valley.\n\nThe plan shows ninety-one panes. Ines counts ninety-two.';
const description =
  'The glasshouse under the north ridge at night, snow on its roof, all panes lit from inside. A surveyor with a lantern stands on the path.';
const answers = [
  '“You are late,” says the keeper, and does not take the lantern. “The road office sends somebody every ninth winter. They never stay to see the thaw.”',
  'The keeper does not look up from the graft. “The plan is older than the orchard,” she says, and binds the cut with a strip of waxed linen.\n\nSnow slides off the roof somewhere above you; the whole house hums with it, one low note, and every lemon leaf turns its pale side over. “Count them again when the boiler is lit. Cold glass hides things.”',
];
const questions = [
  'A surveyor reaches a glasshouse that no two maps agree on.',
  'I hold the lantern to the north wall and count the lights, twice. “Your plan says ninety-one panes. I make it ninety-two.”',
];
export const streamed =
  'It is. Not by much: the warmth of a cup that somebody has just set down. Where your glove leaves its print the frost draws back in a clean ring, and behind it, where there should be a dark slope and the lights of the pass, there is a room. A bench. A row of seedlings under bell jars. A second lantern, lit, and nobody ';

const user = (n: number, text: string): Fact => ({
  type: 'message.added',
  message: { id: `u${n}`, role: 'user', text, generation: n, final: true, reply: 'pane' },
});

/** Two exchanges, both panes up to date with the second. */
export function tellBeginning(server: PageServer, session: string): void {
  const started = Date.now() - 8 * 60_000;
  let step = 0;
  const at = () => new Date(started + (step += 1) * 9_000).toISOString();
  server.tell(session, opened, at());
  for (let n = 1; n <= 2; n += 1) {
    server.tell(session, user(n, questions[n - 1] ?? ''), at());
    server.tell(session, phase('reply', `r${n}`, 'streaming', { generation: n }), at());
    const text = answers[n - 1] ?? '';
    const message = { id: `a${n}`, role: 'assistant', generation: n, reply: 'none', run: `r${n}` } as const;
    server.tell(session, { type: 'message.added', message: { ...message, text, final: true } }, at());
    server.tell(session, phase('reply', `r${n}`, 'updated', { generation: n }), at());
  }
  const covers = server.journal(session).view.transcript;
  const history = {
    text: summary,
    threads: ['Which pane is not on the plan?', 'The boiler is cold; the keeper wants it lit.'],
  };
  const done = { generation: 2, covers };
  server.tell(
    session,
    phase('history', 'h2', 'updated', { ...done, content: { ...history, engine: 'llama-3.3-70b' } }),
    at(),
  );
  const scene = { description, image: wide, engine: 'comfyui' };
  server.tell(session, phase('scene', 's2', 'updated', { ...done, content: scene }), at());
}

/** A third question, and the reply is coming in. */
export function tellStreaming(server: PageServer, session: string): void {
  server.tell(session, user(3, 'I put my palm on the extra pane. Is it warmer than the others?'));
  server.tell(session, phase('reply', 'r3', 'streaming', { generation: 3 }));
  server.tell(session, phase('history', 'h3', 'waiting', { generation: 3 }));
  server.tell(session, phase('scene', 's3', 'waiting', { generation: 3 }));
  const message = {
    id: 'a3',
    role: 'assistant',
    text: '',
    generation: 3,
    final: false,
    reply: 'none',
    run: 'r3',
  } as const;
  server.tell(session, { type: 'message.added', message });
  server.tell(session, { type: 'message.text', text: { message: 'a3', at: 0, add: streamed.slice(0, 80) } });
  const text = { message: 'a3', at: 80, add: streamed.slice(80) };
  server.live(session, { pane: 'reply', run: 'r3', attempt: 1, text });
}

/** The reply is there, the panes are at work. */
export function tellWorking(server: PageServer, session: string): void {
  const rest =
    streamed.slice(80) +
    'holding it.\n\n“Ah,” says the keeper behind you, quite gently. “You have found where I keep the summer.”';
  server.tell(session, { type: 'message.text', text: { message: 'a3', at: 80, add: rest } });
  server.tell(session, { type: 'message.ended', message: 'a3', outcome: 'complete' });
  server.tell(session, phase('reply', 'r3', 'updated', { generation: 3 }));
  for (const [pane, run] of [
    ['history', 'h3'],
    ['scene', 's3'],
  ] as const)
    server.tell(session, phase(pane, run, 'evaluating', { generation: 3 }));
  server.tell(session, phase('history', 'h3', 'summarizing', { generation: 3 }));
  server.tell(session, phase('scene', 's3', 'imaging', { generation: 3 }));
}
