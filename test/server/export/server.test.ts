import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { compose } from '../../../src/server/compose.ts';
import { resolveConfig } from '../../../src/server/config/config.ts';

/** A whole server with its disk, engines offline. */
async function start(folder: string) {
  const flags = { data: join(folder, 'data'), port: '0', export: join(folder, 'out') };
  const server = await compose(resolveConfig(undefined, flags, {}, folder));
  onTestFinished(() => server.close(0));
  const url = await server.listen();
  let ids = 0;
  return {
    server,
    url,
    async send(command: object): Promise<void> {
      ids += 1;
      const body = JSON.stringify({ id: `${process.hrtime.bigint()}-${ids}`, ...command });
      const headers = { 'content-type': 'application/json' };
      const response = await fetch(`${url}/v1/sessions/chat-1/commands`, { method: 'POST', headers, body });
      expect([response.status, await response.text()]).toEqual([200, expect.any(String)]);
    },
  };
}

const quiet = { reply: { enabled: false }, history: { enabled: false }, scene: { enabled: false } };

describe('a server with --export', () => {
  it('[X3] writes what was committed before it stops, the same as the route gives; a deleted session goes', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'export-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'out', 'chat-1.md');

    const first = await start(folder);
    await first.send({ type: 'session.open', panes: quiet });
    await first.send({ type: 'message.add', role: 'user', text: 'We set out.' });
    const given = await (await fetch(`${first.url}/v1/sessions/chat-1/export.md`)).text();
    expect(given).toContain('\n> We set out.\n');
    // Long before the quiet second is over.
    await first.server.close(0);
    expect(readFileSync(file, 'utf8')).toBe(given);

    writeFileSync(file, given.replace('We set out.', 'We set out, they say.'));
    const second = await start(folder);
    await second.send({ type: 'message.add', role: 'user', text: 'We came home.' });
    await second.server.close(0);
    expect(readFileSync(file, 'utf8')).toContain('\n> We came home.\n');
    expect(readFileSync(join(folder, 'out', 'chat-1.edited-1.md'), 'utf8')).toContain('they say');

    const third = await start(folder);
    await third.send({ type: 'session.delete' });
    await third.server.close(0);
    expect(existsSync(file)).toBe(false);
    expect(readdirSync(join(folder, 'out'))).toEqual(['chat-1.edited-1.md']);
  });
});
