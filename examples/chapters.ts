import { createMullion } from '../src/server/index.ts';

const config = { server: { port: 0 }, panes: { reply: { enabled: false }, illustrations: { enabled: true } } };
const mullion = await createMullion({ config });
const { sessions } = mullion;
const session = `book-${Date.now().toString(36)}`;
console.log(`${await mullion.listen()}/#s=${session}`);
await sessions.command({ type: 'session.open', id: 'open', session });

// Each picture and each chapter is there as soon as it is made, whatever becomes of the others.
const made = new Promise<void>((resolve) => {
  const working = new Set(['illustrations', 'chapters']);
  void sessions.subscribe(session, undefined, {
    push({ frames }) {
      for (const { record } of frames.map(({ json }) => JSON.parse(json))) {
        if (record?.type === 'pane.content') console.log(`${record.pane} ${record.key}: ${record.value.asset}`);
        if (record?.phase === 'updated') working.delete(record.pane);
        if (working.size === 0) resolve();
      }
    },
  });
});

const text = 'Mara rows out at dusk. <!--img-prompt="a dark lighthouse above a small boat"--> The lamp is out.';
await sessions.command({ type: 'message.add', id: 'tale', session, role: 'assistant', text });
const chapters = [
  { id: 'landing', title: 'The landing', brief: 'Mara ties up her boat at the foot of the tower.' },
  { id: 'lamp', title: 'The lamp', brief: 'She climbs the stairs and finds out why the lamp is dark.' },
];
await sessions.command({ type: 'pane.run', id: 'write', session, pane: 'chapters', input: { chapters } });
await made;
await mullion.close();
