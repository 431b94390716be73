/**
 * Follows one session from Node and says one thing in it. The client reconnects, resumes and retries by itself.
 *
 *   npm start                                  (in another terminal)
 *   npx tsx examples/node-client.ts http://127.0.0.1:4747 "Mara rows to the lighthouse at dusk."
 */
import { WebSocket } from 'ws';
import { connect, textOf, type ClientState } from '../src/client/index.ts';

const [url = 'http://127.0.0.1:4747', text = 'Mara rows to the lighthouse at dusk. The lamp is dark.'] =
  process.argv.slice(2);
const session = `node-${Date.now().toString(36)}`;
const client = connect(`${url.replace(/^http/, 'ws')}/v1/ws`, { session, webSocket: WebSocket });

let shown = '';
client.subscribe(() => {
  const { panes } = client.getSnapshot().view;
  const line = Object.entries(panes)
    .map(([name, pane]) => `${name}: ${pane.phase}`)
    .join('   ');
  if (line !== shown && line !== '') console.log((shown = line));
});

await client.send({ type: 'session.open' });
const { generation = 0 } = await client.say(text);

const { view } = await until((state) => {
  const { reply, history, scene } = state.view.panes;
  // `fresh`: the pane covers everything that has been said.
  return (
    state.view.generation === generation &&
    reply?.phase === 'updated' &&
    history?.fresh === true &&
    scene?.fresh === true
  );
});

const last = view.messages.at(-1);
const scene = view.panes['scene']?.content;
if (last !== undefined) console.log(`${last.role}: ${textOf(client.getSnapshot(), last)}\n`);
console.log('story:', view.panes['history']?.content?.['text']);
console.log('scene:', scene?.['description']);
console.log('picture:', scene?.['image']);
client.close();

/** The first state that fits. */
function until(fits: (state: ClientState) => boolean): Promise<ClientState> {
  return new Promise((resolve) => {
    const check = (): void => {
      if (!fits(client.getSnapshot())) return;
      stop();
      resolve(client.getSnapshot());
    };
    const stop = client.subscribe(check);
    check();
  });
}
