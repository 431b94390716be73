import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from 'vitest';
import { declare, phase } from '../support/fake-socket.ts';
import { startPageServer, type PageServer } from '../support/page-server.ts';
import { near, streamed, tellBeginning, tellStreaming, tellWorking } from './story.ts';

const executablePath = '/usr/bin/chromium';
const shots = '/tmp/mullion-shots';
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const root = new URL('../../', import.meta.url).pathname;
const hasBrowser = existsSync(executablePath);
if (!hasBrowser)
  console.error(`PAGE TESTS SKIPPED: no browser at ${executablePath}; nothing of the play page was checked`);

const sizes = {
  desktop: { width: 1440, height: 900 },
  tablet: { width: 820, height: 1180 },
  phone: { width: 390, height: 844 },
};

describe.skipIf(!hasBrowser)('the play page', () => {
  let browser: Browser;
  let server: PageServer;
  let faults: string[];
  const pages: Page[] = [];

  beforeAll(async () => {
    mkdirSync(shots, { recursive: true });
    const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
    args.push('--disable-background-networking', '--disable-component-update', '--disable-sync');
    browser = await chromium.launch({ executablePath, args });
  });
  afterAll(() => browser.close());
  beforeEach(async () => {
    faults = [];
    server = await startPageServer(`${root}web`, `${root}dist/client.js`);
  });
  afterEach(async () => {
    for (const page of pages.splice(0)) await page.context().close();
    await server.close();
  });

  /** Opens the session in a new browser profile; every console error, CSP report and exception is a fault. */
  async function open(options: BrowserContextOptions = {}, session = 'glass'): Promise<Page> {
    const context = await browser.newContext({ viewport: sizes.desktop, colorScheme: 'light', ...options });
    const page = await context.newPage();
    pages.push(page);
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error' && !/WebSocket|ERR_|status of 401/.test(message.text()))
        faults.push(message.text());
    });
    await page.goto(`${server.url}/#s=${session}`);
    return page;
  }

  const chip = (page: Page, pane: string) => page.locator(`[data-pane="${pane}"] .chip`);
  const shot = (page: Page, name: string) => page.screenshot({ path: `${shots}/${name}.png` });
  const seen = (page: Page, text: string) => page.getByText(text).first().waitFor();
  const chipSays = (page: Page, pane: string, text: string) =>
    chip(page, pane).filter({ hasText: text }).waitFor({ state: 'attached' });

  /** Everything on the page that the session decides. */
  const content = (page: Page) =>
    page.evaluate(() =>
      [...document.querySelectorAll('.msg .text, .pane .chip, .asof, .pane-body, .pane-foot .say')].map(
        (node) => node.textContent,
      ),
    );

  async function violations(page: Page) {
    const found: unknown = await page.evaluate(`${axeSource};
      axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html.slice(0, 120) + n.failureSummary).join(' | ')))`);
    return found;
  }

  test('a new session is opened on the server and shows how to begin', async () => {
    const page = await open({}, 'fresh');
    await server.command('session.open');
    await seen(page, 'Where does the story begin?');
    await chipSays(page, 'scene', 'idle');
    await shot(page, 'empty-1440');
    await page.getByRole('button', { name: 'The night ferry takes on one passenger' }).click();
    expect(await server.command('message.add')).toMatchObject({ role: 'user', session: 'fresh' });
    expect(faults).toEqual([]);
  });

  test.each([
    ['1440-day', { viewport: sizes.desktop, colorScheme: 'light' }],
    ['1440-night', { viewport: sizes.desktop, colorScheme: 'dark' }],
    ['1100-day', { viewport: { width: 1100, height: 800 }, colorScheme: 'light' }],
    ['820-day', { viewport: sizes.tablet, colorScheme: 'light' }],
    ['390-day', { viewport: sizes.phone, colorScheme: 'light', hasTouch: true, isMobile: true }],
    ['390-night', { viewport: sizes.phone, colorScheme: 'dark', hasTouch: true, isMobile: true }],
  ] as const)('streaming, at work, updated at %s: no accessibility violations', async (name, options) => {
    tellBeginning(server, 'glass');
    const page = await open(options);
    await seen(page, 'Count them again when the boiler is lit');
    tellStreaming(server, 'glass');
    await page.locator('.caret').waitFor();
    await seen(page, 'A second lantern, lit, and nobody');
    await shot(page, `streaming-${name}`);
    expect(await violations(page)).toEqual([]);
    tellWorking(server, 'glass');
    await chipSays(page, 'history', 'summarizing');
    await chipSays(page, 'scene', 'imaging');
    await shot(page, `summarizing-${name}`);
    server.live('glass', {
      pane: 'scene',
      run: 's3',
      attempt: 1,
      progress: { value: 12, max: 30, unit: 'step' },
      preview: near,
    });
    await chipSays(page, 'scene', 'imaging 12/30');
    if (name.startsWith('390') || name.startsWith('820')) await page.getByRole('tab', { name: 'Scene' }).click();
    await page.locator('.preview img').waitFor({ state: 'attached' });
    await shot(page, `imaging-${name}`);
    expect(await violations(page)).toEqual([]);
    expect(faults).toEqual([]);
  });

  test('a reload in the middle of everything shows the same', async () => {
    tellBeginning(server, 'glass');
    const page = await open();
    await seen(page, 'Count them again');
    tellStreaming(server, 'glass');
    tellWorking(server, 'glass');
    await chipSays(page, 'scene', 'imaging');
    const before = await content(page);
    await page.locator('#say').fill('half a thought');
    await page.reload();
    await chipSays(page, 'scene', 'imaging');
    expect(await content(page)).toEqual(before);
    expect(await page.locator('#say').inputValue()).toBe('half a thought');
    expect(faults).toEqual([]);
  });

  test('live text is shown before it is recorded, and a stop keeps what is recorded', async () => {
    tellBeginning(server, 'glass');
    const page = await open();
    await seen(page, 'Count them again');
    tellStreaming(server, 'glass');
    await seen(page, streamed.trim());
    await page.getByRole('button', { name: 'Stop reply' }).click();
    expect(await server.command('pane.cancel')).toMatchObject({ pane: 'reply', run: 'r3' });
    await page.getByRole('button', { name: 'Stopping…' }).first().waitFor();
    server.tell('glass', { type: 'message.ended', message: 'a3', outcome: 'stopped' });
    server.tell('glass', phase('reply', 'r3', 'cancelled', { generation: 3, reason: 'user' }));
    await seen(page, 'stopped by you');
    expect(await page.locator('.msg').last().locator('.text').textContent()).toBe(streamed.slice(0, 80));
    await page.getByRole('button', { name: 'Retry reply' }).click();
    expect(await server.command('pane.run')).toMatchObject({ pane: 'reply' });
    expect(faults).toEqual([]);
  });

  test('the buttons of a pane send their command and say so until the server confirms', async () => {
    tellBeginning(server, 'glass');
    const page = await open();
    await seen(page, 'Count them again');
    tellStreaming(server, 'glass');
    tellWorking(server, 'glass');
    await page.getByRole('button', { name: 'Pause Scene' }).click();
    expect(await server.command('pane.pause')).toMatchObject({ pane: 'scene' });
    server.tell('glass', { type: 'pane.paused', pane: 'scene', paused: true });
    server.tell('glass', phase('scene', 's3', 'paused', { generation: 3 }));
    await page.getByRole('button', { name: 'Resume Scene' }).click();
    expect(await server.command('pane.resume')).toMatchObject({ pane: 'scene' });
    await page.getByRole('button', { name: 'Stop Story so far' }).click();
    expect(await server.command('pane.cancel')).toMatchObject({ pane: 'history', run: 'h3' });
    const stopping = page.getByRole('button', { name: 'Stopping… Story so far' });
    await stopping.waitFor();
    expect(await stopping.evaluate((node) => node === document.activeElement)).toBe(true);
    server.tell('glass', phase('history', 'h3', 'cancelling', { generation: 3 }));
    await chipSays(page, 'history', 'stopping…');
    server.tell('glass', phase('history', 'h3', 'cancelled', { generation: 3, reason: 'user' }));
    await seen(page, 'you stopped this run');
    await page.getByRole('button', { name: 'Run again Story so far' }).click();
    expect(await server.command('pane.run')).toMatchObject({ pane: 'history' });
    await page.getByRole('button', { name: 'Stop all' }).click();
    expect(await server.command('pane.cancel', 2)).not.toHaveProperty('pane');
    expect(faults).toEqual([]);
  });

  test('errors are said once as an alert; a commit pulses and then rests; updates are announced politely', async () => {
    tellBeginning(server, 'glass');
    const page = await open({ colorScheme: 'dark' });
    await seen(page, 'Count them again');
    tellStreaming(server, 'glass');
    tellWorking(server, 'glass');
    await chipSays(page, 'scene', 'imaging');
    const error = { code: 'refused', message: 'no', retryable: false } as const;
    server.tell('glass', phase('scene', 's3', 'imaging_failed', { generation: 3, error }));
    const retryAt = new Date(Date.now() + 8_000).toISOString();
    const limited = { code: 'rate_limited', message: 'slow down', retryable: true } as const;
    server.tell('glass', phase('history', 'h3', 'retrying', { generation: 3, attempt: 2, error: limited, retryAt }));
    await chipSays(page, 'history', 'error: rate limited, retry in');
    await chipSays(page, 'scene', 'picture failed: refused');
    expect(await page.getByRole('alert').allTextContents()).toEqual(['Scene: picture failed: refused']);
    await shot(page, 'error-1440-night');
    expect(await violations(page)).toEqual([]);
    const covers = server.journal('glass').view.transcript;
    const pulsed = page.locator('[data-pane="history"].updating-soft').waitFor();
    const text = 'Ines has found the ninety-second pane, and a room behind it where somebody keeps the summer.';
    server.tell(
      'glass',
      phase('history', 'h3', 'updated', {
        generation: 3,
        attempt: 2,
        covers,
        content: { text, engine: 'llama-3.3-70b' },
      }),
    );
    await pulsed;
    await shot(page, 'updated-1440-night');
    await page.locator('[data-pane="history"]:not(.updating-soft)').waitFor();
    await page.getByRole('status').filter({ hasText: 'Story so far: updated' }).waitFor({ state: 'attached' });
    expect(faults).toEqual([]);
  });

  test('offline: a line after a second, the composer still works, and everything is caught up afterwards', async () => {
    tellBeginning(server, 'glass');
    const page = await open();
    await seen(page, 'Count them again');
    tellStreaming(server, 'glass');
    tellWorking(server, 'glass');
    await chipSays(page, 'scene', 'imaging');
    server.away(true);
    await page.locator('.transom').waitFor();
    await page.locator('#say').fill('Is anybody there?');
    await page.keyboard.press('Enter');
    await seen(page, 'sends when you are back online');
    await page.getByText('Offline.').waitFor();
    await shot(page, 'offline-1440-day');
    expect(await page.locator('[data-pane="scene"] .pane-foot [aria-disabled="true"]').count()).toBe(2);
    const covers = server.journal('glass').view.transcript;
    server.tell(
      'glass',
      phase('scene', 's3', 'updated', {
        generation: 3,
        covers,
        content: {
          description: 'Close on one pane of the north wall. The frost has drawn back in a ring.',
          image: near,
          engine: 'comfyui',
        },
      }),
    );
    server.away(false);
    await page
      .getByRole('button', { name: 'Try now' })
      .click({ timeout: 3_000 })
      .catch(() => {});
    await seen(page, 'Caught up: 1 update.');
    expect(await server.command('message.add')).toMatchObject({ text: 'Is anybody there?' });
    await shot(page, 'caught-up-1440-day');
    expect(await violations(page)).toEqual([]);
    expect(faults).toEqual([]);
  });

  test('a message that was sent while offline survives a reload and goes out once, with its id', async () => {
    tellBeginning(server, 'glass');
    const page = await open();
    await seen(page, 'Count them again');
    server.away(true);
    await page.locator('.transom').waitFor();
    await page.locator('#say').fill('Hold the door.');
    await page.keyboard.press('Enter');
    await seen(page, 'sends when you are back online');
    const id = await page.evaluate(() => localStorage.getItem('mullion.unsent.glass'));
    await page.reload();
    await page.locator('.transom').waitFor();
    server.away(false);
    await page
      .getByRole('button', { name: 'Try now' })
      .click({ timeout: 3_000 })
      .catch(() => {});
    const sent = await server.command('message.add');
    expect(sent).toMatchObject({ text: 'Hold the door.' });
    expect(id).toContain(String(sent['id']));
    await page.waitForFunction(() => localStorage.getItem('mullion.unsent.glass') === null);
    expect(server.commands.filter((command) => command.type === 'message.add')).toHaveLength(1);
    expect(faults).toEqual([]);
  });

  test('what a model or a user writes stays text', async () => {
    tellBeginning(server, 'glass');
    const attack = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script><b>bold</b>';
    const covers = server.journal('glass').view.transcript;
    server.tell(
      'glass',
      phase('history', 'h9', 'updated', {
        generation: 2,
        covers,
        content: { text: attack, engine: attack, threads: [attack] },
      }),
    );
    server.tell(
      'glass',
      phase('scene', 's9', 'updated', {
        generation: 2,
        covers,
        content: { description: attack, image: 'https://elsewhere.test/x.png' },
      }),
    );
    server.tell('glass', {
      type: 'message.added',
      message: { id: 'x1', role: 'user', text: attack, generation: 3, final: true, reply: 'none' },
    });
    const page = await open();
    await page.locator('.msg').last().getByText(attack).waitFor();
    await page.locator('[data-pane="history"] .prose').getByText(attack).waitFor();
    expect(await page.evaluate(() => 'hacked' in window)).toBe(false);
    expect(await page.locator('b', { hasText: 'bold' }).count()).toBe(0);
    expect(await page.locator('.picture img').getAttribute('src')).toBeNull();
    expect(faults).toEqual([]);
  });

  test('a server with tokens: the page asks, keeps it for the tab, and fetches pictures with it', async () => {
    server.token = 'open sesame';
    tellBeginning(server, 'glass');
    const page = await open();
    await page.getByLabel('Token').fill('guess');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await seen(page, 'The server did not accept this token.');
    await page.getByLabel('Token').fill('open sesame');
    await shot(page, 'sign-in-1440');
    expect(await violations(page)).toEqual([]);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await seen(page, 'Count them again');
    await page.locator('.picture img[src^="blob:"]').waitFor();
    await page.reload();
    await seen(page, 'Count them again');
    expect(faults).toEqual([]);
  });

  test('without motion nothing moves, and the words still say it', async () => {
    tellBeginning(server, 'glass');
    const page = await open({ reducedMotion: 'reduce' });
    await seen(page, 'Count them again');
    tellStreaming(server, 'glass');
    tellWorking(server, 'glass');
    await chipSays(page, 'history', 'summarizing');
    expect(await page.evaluate(() => document.getAnimations().length)).toBe(0);
    expect(await page.locator('[data-pane="history"]').getAttribute('aria-busy')).toBe('true');
  });

  test('the phone: the sheet opens and closes with its tabs, the drawer closes with Escape and gives the focus back', async () => {
    tellBeginning(server, 'glass');
    server
      .journal('night')
      .add({ type: 'session.closed', reason: 'test' }, new Date(Date.now() - 86_400_000).toISOString());
    const page = await open({ viewport: sizes.phone });
    await seen(page, 'Count them again');
    const story = page.getByRole('tab', { name: 'Story so far' });
    await story.click();
    await page.locator('[data-pane="history"]').waitFor();
    await shot(page, 'sheet-390-day');
    expect(await violations(page)).toEqual([]);
    await story.click();
    await page.locator('[data-pane="history"]').waitFor({ state: 'hidden' });
    await page.getByRole('button', { name: 'Sessions' }).click();
    await page.locator('.sessions .row').nth(1).waitFor();
    await shot(page, 'drawer-390-day');
    await page.keyboard.press('Escape');
    await page.locator('.sessions').waitFor({ state: 'hidden' });
    expect(await page.evaluate(() => document.activeElement?.getAttribute('aria-label'))).toBe('Sessions');
  });

  test('two sessions: the list leads from one to the other, each with its own draft', async () => {
    tellBeginning(server, 'glass');
    const page = await open();
    await seen(page, 'Count them again');
    await page.locator('#say').fill('for the glasshouse');
    await page.getByRole('button', { name: 'New session' }).click();
    await seen(page, 'Where does the story begin?');
    expect(await page.locator('#say').inputValue()).toBe('');
    expect(await page.getByRole('button', { name: 'Stop all' }).isVisible()).toBe(false);
    await page.locator('.sessions .row', { hasText: 'A surveyor reaches' }).click();
    await seen(page, 'Count them again');
    expect(await page.locator('#say').inputValue()).toBe('for the glasshouse');
    await page.getByRole('button', { name: 'Day or night' }).click();
    expect(await page.evaluate(() => document.documentElement.dataset['theme'])).toBe('dark');
    expect(faults).toEqual([]);
  });

  test('[U9] what work waits for is said in words, at its tile, in its chip and in the list of sessions', async () => {
    tellBeginning(server, 'glass');
    const until = new Date(Date.now() + 600_000).toISOString();
    const waits = [
      { reason: 'queue', position: 2 },
      { reason: 'rate-limit', until },
      { reason: 'draining' },
      { reason: 'yielded' },
      { reason: 'backoff', until: new Date(Date.now() + 30_000).toISOString() },
    ] as const;
    const names = [...waits.map(({ reason }) => reason), 'later'];
    const tasks = names.map((name, index) => ({
      id: name,
      key: name,
      label: name,
      status: name === 'later' ? ('queued' as const) : ('running' as const),
      input: { message: 'a2', rev: 0, offset: 10 * index, length: 0, prompt: `picture ${index}` },
    }));
    for (const session of ['glass', 'night']) {
      const panes = { illustrations: declare('illustrations', ['imaging'], false) };
      server.tell(session, { type: 'session.opened', panes });
      server.tell(session, phase('illustrations', 'i1', 'imaging', { generation: 2, tasks }));
    }
    server.tell('night', {
      type: 'tasks',
      pane: 'illustrations',
      run: 'i1',
      tasks: [{ id: 'queue', status: 'succeeded' }],
    });
    server.waits['night'] = { illustrations: { reason: 'draining' } };
    const page = await open();
    await seen(page, 'Count them again');
    server.live('glass', {
      pane: 'illustrations',
      run: 'i1',
      attempt: 1,
      tasks: Object.fromEntries(waits.map((wait) => [wait.reason, { attempt: 1, stage: 'imaging', wait }])),
    });
    await chipSays(page, 'illustrations', 'queued #2');
    const states = await page.locator('.tile .st').allTextContents();
    expect(states).toEqual([
      'queued #2',
      expect.stringMatching(/^rate limit, until \d\d:\d\d$/),
      'waiting for a stopped picture to end',
      'gave way to the reply',
      expect.stringMatching(/^retry in \d+ s$/),
      // Its place in the line of its run would look like one in the line of the provider.
      'queued',
    ]);
    await page.locator('.sessions .row .st', { hasText: /^waiting$/ }).waitFor();
    await shot(page, 'waits-1440-day');
    await page.getByRole('button', { name: 'Cancel illustration 1' }).click();
    expect(await server.command('task.cancel')).toMatchObject({ pane: 'illustrations', task: 'queue' });
    const first = page.locator('.tile').first().locator('.st');
    await first.filter({ hasText: 'stopping…' }).waitFor();
    server.tell('glass', {
      type: 'tasks',
      pane: 'illustrations',
      run: 'i1',
      tasks: [{ id: 'queue', status: 'cancelled' }],
    });
    await first.filter({ hasText: 'cancelled' }).waitFor();
    // A number is shown while it is fresh; then nobody knows how far it is.
    const second = page.locator('.tile').nth(1);
    const live = { attempt: 1, stage: 'imaging', wait: null, progress: { value: 12, max: 30, unit: 'step' } };
    server.live('glass', { pane: 'illustrations', run: 'i1', attempt: 1, tasks: { 'rate-limit': live } });
    await second.locator('.st', { hasText: '12/30' }).waitFor();
    await page.clock.install();
    await page.clock.fastForward(3_100);
    await second.locator('.st', { hasText: 'imaging' }).waitFor();
    await second.locator('.meter.loading-soft').waitFor();
    server.waits = {};
    await page.reload();
    await page.locator('.sessions .row .st', { hasText: 'imaging, 1 of 6' }).waitFor();
    expect(await violations(page)).toEqual([]);
    expect(faults).toEqual([]);
  });
});
