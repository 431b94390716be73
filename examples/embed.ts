import { createMullion } from '../src/server/index.ts';

const mullion = await createMullion({ config: { server: { port: 0 }, panes: { reply: { enabled: false } } } });
const { sessions } = mullion;
await sessions.command({ type: 'session.open', id: 'open', session: 'ferry' });
const say = (id: string, role: 'user' | 'assistant', text: string) =>
  sessions.command({ type: 'message.add', id, session: 'ferry', role, text });
await say('m1', 'user', 'I board the night ferry in the rain. The captain knows my name.');
await say('m2', 'assistant', 'She hands you a lantern. "You are expected on the other shore."');
console.log(`${await mullion.listen()}/#s=ferry`);
process.once('SIGINT', () => void mullion.close());
