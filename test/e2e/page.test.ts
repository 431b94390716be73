import { existsSync, mkdirSync } from 'node:fs';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { cases, eventStream, finish, token } from '../support/hostile-cases.ts';
import { gate, type Gate, type Script } from '../support/hostile-server.ts';
import { folder, follow, scripted, serve, type ServerProcess } from './support.ts';

const executablePath = '/usr/bin/chromium';
const shots = '/tmp/mullion-e2e';
const hasBrowser = existsSync(executablePath);
if (!hasBrowser)
  console.error(
    `E2E PAGE TESTS SKIPPED: no browser at ${executablePath}; the page was not tried against the real server`,
  );

const first = 'Mara rows to the lighthouse at dusk. The lamp is dark and the door stands open.';
const paragraphs = [
  'The door gives way with a sigh of salt and old varnish. ',
  'Inside, the stair winds up into a dark that smells of lamp oil and rain. ',
  'Somewhere above you a chair is pushed back.',
];

/** A reply in parts; each part after the first waits for its gate. */
function inParts(gates: readonly Gate[]): Script {
  return async (exchange) => {
    exchange.head(200, eventStream);
    for (const [index, text] of paragraphs.entries()) {
      const door = gates[index - 1];
      if (door !== undefined) await Promise.race([door.opened, exchange.closed]);
      await exchange.write(token(text));
    }
    exchange.end(`${finish()}data: [DONE]\n\n`);
  };
}

describe.skipIf(!hasBrowser)('the play page against the real server', () => {
  let browser: Browser;

  beforeAll(async () => {
    mkdirSync(shots, { recursive: true });
    const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
    args.push('--disable-background-networking', '--disable-component-update', '--disable-sync');
    browser = await chromium.launch({ executablePath, args });
  });
  afterAll(() => browser.close());

  /** Opens a session in a new profile. `faults`: exceptions, CSP reports and console errors, save those of a lost connection. */
  async function open(server: ServerProcess, session = 'keeper', options: BrowserContextOptions = {}) {
    const context = await browser.newContext({
      viewport: { width: 1440, height: 900 },
      colorScheme: 'light',
      ...options,
    });
    onTestFinished(() => context.close());
    const faults: string[] = [];
    const page = await context.newPage();
    watch(page, faults);
    await page.goto(`${server.url}/#s=${session}`);
    return { page, faults, context };
  }

  function watch(page: Page, faults: string[]): void {
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('console', (message) => {
      const { url } = message.location();
      const lost = /WebSocket connection|ERR_CONNECTION/.test(message.text());
      if (message.type() === 'error' && !lost) faults.push(`${message.text()} ${url}`);
    });
  }

  const shot = (page: Page, name: string) => page.screenshot({ path: `${shots}/${name}.png` });
  const chipSays = (page: Page, pane: string, text: string | RegExp) =>
    page.locator(`[data-pane="${pane}"] .chip`).filter({ hasText: text }).waitFor({ state: 'attached' });
  const seen = (page: Page, text: string) => page.locator('.log').getByText(text).first().waitFor();

  async function say(page: Page, text: string): Promise<void> {
    await page.locator('#say').fill(text);
    await page.locator('#say').press('Enter');
  }

  /** The texts of all messages as shown. */
  const messages = (page: Page) =>
    page.locator('.msg .text').evaluateAll((nodes) => nodes.map((node) => node.textContent));

  /** The picture of the scene has been decoded. */
  const pictured = (page: Page) =>
    page.waitForFunction(() => {
      const image = document.querySelector('[data-pane="scene"] img');
      return image instanceof HTMLImageElement && image.complete && image.naturalWidth > 0;
    });

  test.each([
    ['1440-day', {}],
    ['1440-night', { colorScheme: 'dark' }],
    ['390-day', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
  ] as const)(
    'offline engine at %s: a message, the reply, the story and the scene with a picture',
    async (name, options) => {
      const server = await serve({ data: folder() });
      const { page, faults } = await open(server, 'keeper', options);
      await page.getByText('Where does the story begin?').first().waitFor();
      await shot(page, `empty-${name}`);
      await say(page, first);
      await seen(page, first);
      await chipSays(page, 'history', /updated|up to date/i);
      await chipSays(page, 'scene', /updated|up to date/i);
      if (name.startsWith('390')) {
        await shot(page, `chat-${name}`);
        await page.getByRole('tab', { name: 'Scene' }).click();
      }
      await pictured(page);
      await shot(page, `offline-${name}`);
      expect((await messages(page)).length).toBe(2);
      expect(faults).toEqual([]);
    },
  );

  test('a reload in the middle of the reply loses nothing', async () => {
    const { model, serve: up } = await scripted();
    const gates = [gate(), gate()];
    model.script('reply', inParts(gates));
    const { page, faults } = await open(await up());
    await page.getByText('Where does the story begin?').first().waitFor();
    await say(page, first);
    await seen(page, 'salt and old varnish');
    await shot(page, 'streaming');
    await page.reload();
    await seen(page, 'salt and old varnish');
    gates[0]?.open();
    await seen(page, 'lamp oil and rain');
    await page.reload();
    await seen(page, 'lamp oil and rain');
    gates[1]?.open();
    await seen(page, 'a chair is pushed back');
    await chipSays(page, 'scene', /updated/i);
    await pictured(page);
    await shot(page, 'scripted');
    expect(await messages(page)).toEqual([first, paragraphs.join('')]);
    expect(faults).toEqual([]);
  });

  test('kill -9 and restart on the same port in the middle: a banner, then caught up, nothing lost [P4] [P5]', async () => {
    const { model, data, serve: up } = await scripted();
    model.script('summarize', cases.silence, cases.stream(['Mara has entered the lighthouse.']));
    model.script('image', cases.silence, cases.imageB64());
    const before = await up();
    const { page, faults } = await open(before);
    await page.getByText('Where does the story begin?').first().waitFor();
    await say(page, first);
    await chipSays(page, 'history', 'summarizing');
    await chipSays(page, 'scene', 'imaging');
    await shot(page, 'working');
    const shown = await messages(page);
    await before.end('SIGKILL');
    await page
      .locator('.transom')
      .filter({ hasText: /Offline|Reconnecting/ })
      .waitFor();
    expect(await messages(page)).toEqual(shown);
    await page.locator('#say').fill('written while offline');
    await page.locator('#say').press('Enter');
    await shot(page, 'offline-banner');
    const port = Number(new URL(before.url).port);
    await serve({ data, args: ['--config', `${data}/mullion.config.json`], port });
    // "Caught up" counts what was missed: nothing, when the page is back before the recovery is on record.
    await page
      .locator('.transom')
      .filter({ hasText: /Offline|Reconnecting/ })
      .waitFor({ state: 'detached' });
    await page.locator('.log').getByText('written while offline').first().waitFor();
    await chipSays(page, 'history', /updated/i);
    await page.waitForFunction(() => document.querySelectorAll('.msg .text').length === 4);
    await shot(page, 'caught-up');
    expect(await messages(page)).toEqual([...shown, 'written while offline', 'The keeper opens the door.']);
    expect(faults).toEqual([]);
  });

  test('Stop reply keeps the text so far, and the provider socket is closed [P7]', async () => {
    const { model, serve: up } = await scripted();
    model.script('reply', cases.stall(...paragraphs.slice(0, 1)));
    const server = await up();
    const { page, faults } = await open(server);
    await page.getByText('Where does the story begin?').first().waitFor();
    await say(page, first);
    await seen(page, 'salt and old varnish');
    const exchange = await model.next('reply');
    await page.getByRole('button', { name: 'Stop reply' }).click();
    expect(await exchange.closed).toBe('early');
    await page.getByRole('button', { name: 'Stop reply' }).waitFor({ state: 'hidden' });
    await seen(page, 'salt and old varnish');
    await chipSays(page, 'scene', /updated/i);
    await shot(page, 'stopped');
    const wire = await follow(server, 'keeper');
    expect(wire.current.messages.at(-1)).toMatchObject({ outcome: 'stopped', text: paragraphs[0] });
    expect(faults).toEqual([]);
  });

  test('two tabs of one session show the same, whichever wrote', async () => {
    const { serve: up } = await scripted();
    const server = await up();
    const { page: one, faults, context } = await open(server);
    await one.getByText('Where does the story begin?').first().waitFor();
    const two = await context.newPage();
    watch(two, faults);
    await two.goto(one.url());
    await say(one, first);
    await two.waitForFunction(() => document.querySelectorAll('.msg .text').length === 2);
    await say(two, 'And then?');
    for (const page of [one, two]) {
      await page.waitForFunction(() => document.querySelectorAll('.msg .text').length === 4);
      await page.locator('.msg .text').nth(3).getByText('opens the door.').waitFor();
      await chipSays(page, 'scene', /updated|no change|unchanged/i);
    }
    expect(await messages(one)).toEqual(await messages(two));
    expect(await messages(one)).toEqual([
      first,
      'The keeper opens the door.',
      'And then?',
      'The keeper opens the door.',
    ]);
    expect(faults).toEqual([]);
  });

  test('a failing provider: the page says so, keeps what was there and offers a way on [P8]', async () => {
    const { model, serve: up } = await scripted({
      panes: { history: { debounceMs: 5, retries: 0 }, scene: { debounceMs: 5, retries: 0 }, reply: { retries: 0 } },
    });
    model.script('reply', cases.stream(['It opens.']), cases.status(500), cases.stream(['Second try.']));
    // Another description: a picture of the same one would be found again.
    model.script('describe', cases.stream(['A door at dusk.']), cases.stream(['A cellar full of lamps.']));
    model.script('image', cases.imageB64(), cases.status(400));
    const { page, faults } = await open(await up());
    await page.getByText('Where does the story begin?').first().waitFor();
    await say(page, first);
    await chipSays(page, 'scene', /updated/i);
    await say(page, 'And then?');
    await chipSays(page, 'scene', /fail|no picture|imaging/i);
    await page
      .getByRole('button', { name: /again|retry/i })
      .first()
      .waitFor();
    await shot(page, 'failed');
    await pictured(page);
    expect(faults).toEqual([]);
  });
});
