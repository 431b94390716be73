// Takes the pictures of the README: the real page over the real server with its offline engines, in Chromium.
//   npx tsx scripts/pictures.ts
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Page } from 'playwright-core';
import { createMullion } from '../src/server/index.ts';

const story = [
  'Ines Farkas crosses the snowy pass at night. Below her a glasshouse stands in the valley, every pane lit from inside.',
  'The keeper lets Ines in. The plan on the wall shows ninety panes, but Ines counts ninety-one. The boiler is cold.',
  'Ines puts her palm on the extra pane. It is warm, and behind the glass a second lantern moves where the dark slope should be.',
];
const quiet = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const folder = mkdtempSync(join(tmpdir(), 'mullion-pictures-'));
const mullion = await createMullion({ config: { server: { port: 0 }, data: folder } });
const url = await mullion.listen();
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: quiet });
for (const [name, colorScheme] of [
  ['day', 'light'],
  ['night', 'dark'],
] as const) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme });
  const page = await context.newPage();
  await page.goto(`${url}/#s=glass-orchard-${name}`);
  for (const [index, text] of story.entries()) {
    await say(page, text);
    if (index < story.length - 1) await settled(page, (index + 1) * 2);
  }
  await page.getByText('waiting for the reply').first().waitFor();
  await page
    .locator('.msg')
    .nth(story.length * 2 - 1)
    .getByText(/\S+ \S+ \S+ \S+ \S+/)
    .first()
    .waitFor();
  await page.screenshot({ path: `docs/picture/play-${name}.jpg`, type: 'jpeg', quality: 88 });
  await context.close();
}
await browser.close();
await mullion.close();
rmSync(folder, { recursive: true });

async function say(page: Page, text: string): Promise<void> {
  await page.locator('#say').fill(text);
  await page.locator('#say').press('Enter');
}

/** All messages are there, and reply, story and scene are as of the newest. */
async function settled(page: Page, messages: number): Promise<void> {
  await page.waitForFunction((count) => document.querySelectorAll('.msg').length === count, messages);
  await page.getByText('reply complete').waitFor();
  await page.waitForFunction(() => {
    const phases = [...document.querySelectorAll<HTMLElement>('.pane[data-pane]')].map((pane) => pane.dataset['phase']);
    return phases.length >= 2 && phases.every((phase) => phase === 'updated' || phase === 'unchanged');
  });
}
