// Takes the pictures of the README: the real page over the real server with its offline engines, in Chromium.
//   npx tsx scripts/pictures.ts [folder]
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
/** What an app's own model answers, with prompts for pictures in it. */
const answers = [
  '“You are late,” says the keeper, and does not take the lantern. <!--img-prompt="A lone figure with a lantern on a snowy mountain pass at night"--> “The road office sends somebody every ninth winter.”\n\n<!--img-prompt="A dark forest path in falling snow"-->',
  'The keeper does not look up from the graft. “The plan is older than the orchard,” she says.\n\n<!--img-prompt="A glasshouse in a snowy valley at night, every pane lit"-->\n\n“Count them again when the boiler is lit. Cold glass hides things.”',
];
const chapters = ['The Kestrel Pass', 'Ninety-One Panes', 'The Keeper’s Terms', 'Cold Glass', 'Thaw'].map(
  (title, index) => ({
    id: `chapter-${index + 1}`,
    title,
    brief: story[index % story.length] ?? title,
  }),
);
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
  const session = `glass-orchard-${name}`;
  await command(session, { type: 'session.open', panes: { illustrations: { enabled: true } } });
  await page.goto(`${url}/#s=${session}`);
  for (const [index, text] of story.entries()) {
    const answer = answers[index];
    if (answer === undefined) {
      await command(session, { type: 'pane.run', pane: 'chapters', input: { chapters } });
      await page.locator('.chap[data-status="done"]').first().waitFor();
      await say(page, text);
      continue;
    }
    await command(session, { type: 'message.add', role: 'user', text, reply: false });
    await command(session, { type: 'message.add', role: 'assistant', text: answer });
    await settled(page, (index + 1) * 2);
  }
  await page.locator('.chap[data-status="running"] .st', { hasText: /writing, \d\d+ words/ }).waitFor();
  await page
    .locator('.msg')
    .nth(story.length * 2 - 1)
    .getByText(/\S+ \S+ \S+ \S+ \S+/)
    .first()
    .waitFor();
  await page.waitForFunction(() => document.querySelector('.updating-soft') === null);
  await page.screenshot({ path: `${process.argv[2] ?? 'docs/picture'}/play-${name}.jpg`, type: 'jpeg', quality: 88 });
  await context.close();
}
await browser.close();
await mullion.close();
rmSync(folder, { recursive: true });

/** A command of the app that the page has no button for, or that is quicker so. */
async function command(session: string, content: object): Promise<void> {
  const response = await fetch(`${url}/v1/sessions/${session}/commands`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: crypto.randomUUID(), ...content }),
  });
  if (!response.ok) throw new Error(await response.text());
}

async function say(page: Page, text: string): Promise<void> {
  await page.locator('#say').fill(text);
  await page.locator('#say').press('Enter');
}

/** All messages are there, and the panes are as of the newest. */
async function settled(page: Page, messages: number): Promise<void> {
  await page.waitForFunction((count) => document.querySelectorAll('.msg').length === count, messages);
  await page.waitForFunction(() => {
    const phases = [...document.querySelectorAll<HTMLElement>('.pane[data-pane]')].map((pane) => pane.dataset['phase']);
    return phases.length >= 4 && phases.every((phase) => ['updated', 'unchanged', 'off', 'idle'].includes(phase ?? ''));
  });
}
