import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';

/** What a page pays for the client, as it is sent. */
const maxBytes = 6_144;

test('the browser client, as it is built, has at most 6 KiB when compressed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mullion-bundle-'));
  try {
    execFileSync(process.execPath, ['scripts/bundle.mjs', folder]);
    const client = readFileSync(join(folder, 'client.js'));
    expect(client.toString()).toContain('mullion.v1');
    expect(gzipSync(client, { level: 9 }).length).toBeLessThanOrEqual(maxBytes);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
