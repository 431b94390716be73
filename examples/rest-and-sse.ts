/**
 * Mullion with nothing but fetch: commands by POST, everything else as server-sent events. Works the same in any language.
 *
 *   npx tsx examples/rest-and-sse.ts http://127.0.0.1:4747
 */
import { randomUUID } from 'node:crypto';

const [url = 'http://127.0.0.1:4747'] = process.argv.slice(2);
const session = `rest-${Date.now().toString(36)}`;

await command({ type: 'session.open' });
const { seq } = await command({
  type: 'message.add',
  role: 'user',
  text: 'Mara rows to the lighthouse at dusk. The lamp is dark.',
});
console.log(`stored as record ${String(seq)}`);

// After a lost connection: the same request with the header `Last-Event-ID`, the `id:` of the last event.
const ended = new Set<string>();
for await (const { event, data } of events(`${url}/v1/sessions/${session}/events`)) {
  if (event === 'snapshot') for (const [name, pane] of Object.entries(data.view?.panes ?? {})) note(name, pane.phase);
  if (event === 'record' && data.record?.type === 'pane.phase') note(data.record.pane, data.record.phase);
  if (ended.size === 3) break;
}
const { view } = await (await fetch(`${url}/v1/sessions/${session}`)).json();
console.log(view.panes.history.content.text);

function note(pane: string, phase: string): void {
  console.log(`${pane}: ${phase}`);
  if (['updated', 'unchanged', 'error', 'cancelled', 'imaging_failed'].includes(phase)) ended.add(pane);
}

/** Sends a command. The key makes it safe to send again when the answer is lost. */
async function command(body: object, key: string = randomUUID()): Promise<{ seq?: number }> {
  const response = await fetch(`${url}/v1/sessions/${session}/commands`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.error.code}: ${answer.error.message}`);
  return answer;
}

interface Data {
  view?: { panes: { [name: string]: { phase: string } } };
  record?: { type: string; pane: string; phase: string };
}

/** The events of a stream, as they come. */
async function* events(from: string): AsyncGenerator<{ event: string; data: Data }> {
  const response = await fetch(from);
  let rest = '';
  for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const blocks = (rest + text).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const [, event = ''] = /^event: (.*)$/m.exec(block) ?? [];
      const [, data = 'null'] = /^data: (.*)$/m.exec(block) ?? [];
      if (event !== '') yield { event, data: JSON.parse(data) };
    }
  }
}
