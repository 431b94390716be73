import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/protocol/records.ts';
import { drawing, startStudio, type Studio } from './studio.ts';

const executablePath = '/usr/bin/chromium';
const shots = '/tmp/mullion-shots';
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const hasBrowser = existsSync(executablePath);
if (!hasBrowser)
  console.error(`PAGE TESTS SKIPPED: no browser at ${executablePath}; the gallery and the chapters were not checked`);

const desktop = { width: 1440, height: 900 };
const phone = { width: 390, height: 844 };
const tags = {
  pass: '<!--img-prompt="The pass in first snow"-->',
  house: '<img_prompt="The house of glass at night">',
  boiler: '<!-- img-prompt = "The boiler room" -->',
};
const reply = `You are late, says the keeper.\n\n${tags.pass}\n\nShe opens the door to the house. ${tags.house} It is warm inside.\n\n${tags.boiler}\n\nCold glass hides things.`;

describe.skipIf(!hasBrowser)('gallery and chapters on the real server', () => {
  let browser: Browser;
  let studio: Studio;
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
    studio = await startStudio();
    await studio.command('glass', { type: 'session.open' });
  });
  afterEach(async () => {
    for (const page of pages.splice(0)) await page.context().close();
    await studio.close();
  });

  async function open(options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ viewport: desktop, colorScheme: 'light', ...options });
    const page = await context.newPage();
    pages.push(page);
    page.setDefaultTimeout(8_000);
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error') faults.push(message.text());
    });
    await page.goto(`${studio.url}/#s=glass`);
    return page;
  }

  const shot = (page: Page, name: string) => page.screenshot({ path: `${shots}/${name}.png` });
  const seen = (page: Page, text: string | RegExp) => page.locator('.msg, .lights').getByText(text).first().waitFor();
  const chip = (page: Page, pane: string, text: string | RegExp) =>
    page.locator(`[data-pane="${pane}"] .pane-meta .chip`).filter({ hasText: text }).waitFor({ state: 'attached' });
  const tile = (page: Page, label: string) => page.locator('.tile').filter({ hasText: label });
  const row = (page: Page, title: string) => page.locator('.chap').filter({ hasText: title });
  const rowSays = (page: Page, title: string, text: string | RegExp) =>
    row(page, title).locator('.st').filter({ hasText: text }).waitFor();
  const withPictures = () =>
    studio.command('glass', { type: 'session.open', panes: { illustrations: { enabled: true, parallel: 3 } } });
  const say = (id: string, role: 'user' | 'assistant', text: string, final = true) =>
    studio.command('glass', { type: 'message.add', message: id, role, text, final, reply: false });
  const ask = (titles: readonly string[], wishes: JsonObject = {}) =>
    studio.command('glass', {
      type: 'pane.run',
      pane: 'chapters',
      input: {
        chapters: titles.map((title, index) => ({ id: `chapter-${index + 1}`, title, brief: title })),
        ...wishes,
      },
    });
  const focused = (page: Page) =>
    page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.id ?? '');

  async function violations(page: Page) {
    const found: unknown = await page.evaluate(`${axeSource};
      axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html.slice(0, 160) + n.failureSummary).join(' | ')))`);
    return found;
  }

  test('[U1] pictures: in line, at work with the backend’s number, failed and tried again, each at its place in the text', async () => {
    await withPictures();
    for (const name of ['pass', 'house', 'boiler']) studio.hold(name);
    await say('u1', 'user', 'I knock.');
    const page = await open();
    await seen(page, 'I knock.');
    await say('a1', 'assistant', reply);
    await chip(page, 'illustrations', 'imaging, 0 of 3');
    await tile(page, 'The pass').locator('.st', { hasText: 'imaging' }).waitFor();
    await tile(page, 'The house').locator('.st', { hasText: 'queued #1' }).waitFor();
    await tile(page, 'The boiler').locator('.st', { hasText: 'queued #2' }).waitFor();
    expect(await page.locator('.lites > i').count()).toBe(3);
    const pass = await studio.call('pass');
    pass.report.preview(drawing('preview'));
    pass.report.progress(12, 30, 'step');
    await tile(page, 'The pass').locator('.st', { hasText: '12/30' }).waitFor();
    await tile(page, 'The pass').locator('.preview img').waitFor({ state: 'attached' });
    await page.locator('.inline-task', { hasText: 'Illustration 1, The pass in first snow' }).waitFor();
    await shot(page, 'gallery-busy-1440');
    await page.getByRole('button', { name: 'Put first illustration 3' }).click();
    await tile(page, 'The boiler').locator('.st', { hasText: 'queued #1' }).waitFor();
    pass.finish();
    await tile(page, 'The pass').getByRole('img', { name: 'The pass in first snow' }).waitFor();
    (await studio.call('boiler')).fail('refused');
    await tile(page, 'The boiler').locator('.st', { hasText: 'refused' }).waitFor();
    await page.locator('.at-place[data-status="failed"]', { hasText: 'Illustration 3, The boiler room' }).waitFor();
    await chip(page, 'illustrations', 'imaging, 1 of 3');
    await page
      .getByRole('alert')
      .filter({ hasText: 'Illustrations: The boiler room: refused' })
      .waitFor({ state: 'attached' });
    await shot(page, 'gallery-failed-1440');
    (await studio.call('house')).finish();
    await chip(page, 'illustrations', '1 of 3 failed: refused');
    studio.letGo('boiler');
    await page.locator('.at-place').getByRole('button', { name: 'Retry illustration 3' }).click();
    await tile(page, 'The boiler').getByRole('img', { name: 'The boiler room' }).waitFor();
    const order = await page
      .locator('.msg')
      .last()
      .locator('.text > *')
      .evaluateAll((nodes) => nodes.map((node) => node.querySelector('img')?.alt ?? node.textContent));
    expect(order).toEqual([
      'You are late, says the keeper.',
      'The pass in first snow',
      'She opens the door to the house.',
      'The house of glass at night',
      'It is warm inside.',
      'The boiler room',
      'Cold glass hides things.',
    ]);
    await shot(page, 'gallery-done-1440');
    expect(faults).toEqual([]);
  });

  test('[U2] a tag is never seen as markup while a message is streamed, and a prompt is text', async () => {
    await withPictures();
    const attack = "\\\"><img src=x onerror='window.hacked=1'><b>bold";
    const text = `Snow. <!--img-prompt="A lantern on the path"--> Light. <img-prompt="${attack}"> Dark.`;
    const page = await open();
    await chip(page, 'illustrations', 'idle');
    await page.evaluate(() => {
      const watch = new MutationObserver(() => {
        if (/<!|img[-_]?p|prompt|onerror/i.test(document.querySelector('.msg .text')?.textContent ?? ''))
          document.body.dataset['markup'] = 'seen';
      });
      // Lines that stand for pictures name their prompts, which is not markup.
      watch.observe(document.querySelector('.log') ?? document.body, {
        subtree: true,
        childList: true,
        characterData: true,
      });
    });
    await say('a1', 'assistant', '', false);
    const cuts = [0, 7, 14, 29, 46, 49];
    for (const [index, at] of cuts.slice(0, -1).entries())
      await studio.command('glass', {
        type: 'message.delta',
        message: 'a1',
        at,
        text: text.slice(at, cuts[index + 1]),
      });
    await page.locator('.msg .text img[alt="A lantern on the path"]').waitFor();
    expect(await page.evaluate(() => document.body.dataset['markup'])).toBeUndefined();
    await studio.command('glass', { type: 'message.delta', message: 'a1', at: 49, text: text.slice(49), end: true });
    const hostile = "\"><img src=x onerror='window.hacked=1'><b>bold";
    await page.locator('.tile .lab').filter({ hasText: hostile }).waitFor();
    await page.locator('.tile').nth(1).locator('img').waitFor();
    expect(await page.locator('.tile').nth(1).locator('img').getAttribute('alt')).toBe(hostile);
    expect(await page.evaluate(() => 'hacked' in window)).toBe(false);
    expect(await page.locator('.msg .text').textContent()).toBe('Snow.Light.Dark.');
    // Whoever edits the text leaves its pictures behind.
    await studio.command('glass', { type: 'message.edit', message: 'a1', text: 'Only snow.' });
    await page.locator('.tile').first().waitFor({ state: 'detached' });
    expect(await page.locator('.msg .text').textContent()).toBe('Only snow.');
    expect(faults).toEqual([]);
  });

  test('[U3] off until it is turned on; a reload and a second tab in the middle show the same', async () => {
    const page = await open();
    await say('a1', 'assistant', reply);
    await seen(page, 'Cold glass hides things.');
    expect(await page.locator('.msg .text').textContent()).not.toMatch(/img|prompt/);
    await seen(page, 'Pictures inside the text are off in this session.');
    await page.locator('[data-pane="illustrations"]').getByRole('button', { name: 'Turn on' }).click();
    await chip(page, 'illustrations', 'idle');
    for (const name of ['house', 'draft Cold Glass']) studio.hold(name);
    await page.getByRole('button', { name: 'Illustrate last reply Illustrations' }).click();
    await ask(['The Kestrel Pass', 'Cold Glass', 'Thaw']);
    await tile(page, 'The pass').locator('img').waitFor();
    (await studio.call('house')).report.progress(3, 9, 'step');
    (await studio.call('draft Cold Glass')).write('One two three four. ');
    await rowSays(page, 'Cold Glass', 'writing, 4 words');
    await rowSays(page, 'The Kestrel Pass', /^\d words$/);
    const content = (of: Page) =>
      of.evaluate(() =>
        [...document.querySelectorAll('.chip, .pane-foot .say, .tile, .chap, .at-place')].map((node) =>
          node.textContent?.replace('3/9', 'imaging'),
        ),
      );
    await chip(page, 'chapters', 'writing 2 of 3');
    const before = await content(page);
    const second = await page.context().newPage();
    await second.goto(page.url());
    await page.reload();
    for (const one of [page, second]) {
      await rowSays(one, 'Cold Glass', 'writing, 4 words');
      await rowSays(one, 'The Kestrel Pass', /^\d words$/);
      expect(await content(one)).toEqual(before);
    }
    expect(faults).toEqual([]);
  });

  test('[U4] a picture is drawn again in its place, and its versions can be seen', async () => {
    await withPictures();
    const page = await open();
    await say('a1', 'assistant', `Snow. ${tags.pass}`);
    await tile(page, 'The pass').locator('img').waitFor();
    const first = await tile(page, 'The pass').locator('img').getAttribute('src');
    studio.hold('pass');
    await page.getByRole('button', { name: 'Draw again illustration 1' }).click();
    const again = await studio.call('pass');
    await tile(page, 'The pass').locator('.st', { hasText: 'imaging' }).waitFor();
    expect(await tile(page, 'The pass').locator('img').getAttribute('src')).toBe(first);
    again.finish();
    await seen(page, '2 of 2');
    await page.getByRole('button', { name: 'Older version of illustration 1' }).click();
    await seen(page, '1 of 2');
    studio.letGo('pass');
    studio.hold('pass');
    await page.getByRole('button', { name: 'Draw again illustration 1' }).click();
    await page.getByRole('button', { name: 'Cancel illustration 1' }).click();
    await chip(page, 'illustrations', 'cancelled');
    expect(await tile(page, 'The pass').locator('img').count()).toBe(1);
    expect(faults).toEqual([]);
  });

  test('[U5] chapters are asked for by form, stopped with their text kept, rewritten, compared and put back', async () => {
    const page = await open();
    await say('a1', 'assistant', 'It begins to snow.');
    await seen(page, 'It begins to snow.');
    await page.locator('[data-pane="chapters"] .blank-note').getByRole('button', { name: 'Write chapters' }).click();
    expect(await focused(page)).toBe('Title of chapter 1');
    await page.keyboard.type('The Kestrel Pass');
    await page.getByLabel('Brief of chapter 1').fill('She crosses in snow.');
    await page.getByRole('button', { name: 'Add a chapter' }).click();
    await page.getByLabel('Title of chapter 2').pressSequentially('Cold ');
    const before = await page.getByLabel('Title of chapter 2').boundingBox();
    // News of the session must not touch a field that somebody writes in.
    await say('a2', 'assistant', 'It goes on.');
    await seen(page, 'It goes on.');
    await page.keyboard.type('Glass');
    expect(await page.getByLabel('Title of chapter 2').inputValue()).toBe('Cold Glass');
    expect(await page.getByLabel('Title of chapter 2').boundingBox()).toEqual(before);
    await page.getByLabel('Brief of chapter 2').fill('She counts again.');
    await page.getByLabel('an edit pass').check();
    await shot(page, 'chapters-form-1440');
    expect(await violations(page)).toEqual([]);
    await page.reload();
    await page.getByRole('button', { name: 'Write chapters', exact: true }).first().click();
    expect(await page.getByLabel('Brief of chapter 2').inputValue()).toBe('She counts again.');
    studio.hold('draft Cold Glass');
    await page.getByRole('button', { name: 'Write 2 chapters' }).click();
    await rowSays(page, 'The Kestrel Pass', /^\d+ words$/);
    const draft = await studio.call('draft Cold Glass');
    draft.write('## Cold Glass\n\nShe counts ninety-two panes');
    await rowSays(page, 'Cold Glass', 'writing, 6 words');
    await row(page, 'Cold Glass').getByRole('button').first().click();
    await page.locator('.chap-text .prose', { hasText: /^She counts ninety-two panes$/ }).waitFor();
    draft.write(' and stops.');
    await seen(page, /ninety-two panes and stops/);
    await shot(page, 'chapters-writing-1440');
    await page.getByRole('button', { name: 'Cancel chapter 2' }).click();
    await rowSays(page, 'Cold Glass', 'cut off at 8 words');
    await seen(page, 'Cut off: somebody stopped it here');
    await seen(page, /ninety-two panes and stops/);
    studio.letGo('draft Cold Glass');
    await page.getByRole('button', { name: 'Rewrite chapter 2' }).click();
    await page.getByRole('textbox', { name: 'What is to be different?' }).fill('Shorter, please.');
    await page.locator('.rewrite').getByRole('button', { name: 'Rewrite' }).click();
    await page.locator('.chap-text .prose', { hasText: 'Shorter, please.' }).waitFor();
    await page.getByRole('button', { name: 'Older version of chapter 2' }).click();
    await page.locator('.chap-text .prose', { hasText: 'and stops' }).waitFor();
    await page.getByRole('button', { name: 'Revert to 1 chapter 2' }).click();
    await rowSays(page, 'Cold Glass', 'cut off at 8 words');
    await page.locator('.chap-text .stepper', { hasText: '3 of 3' }).waitFor();
    await shot(page, 'chapters-reverted-1440');
    expect(faults).toEqual([]);
  });

  test('[U6] a pause says where it stops; a review waits for a word and hands it on', async () => {
    const page = await open();
    await say('a1', 'assistant', 'It begins to snow.');
    for (const name of ['draft The Kestrel', 'draft Thaw']) studio.hold(name);
    await ask(['The Kestrel Pass', 'Cold Glass', 'Thaw'], { review: true, edit: true });
    const draft = await studio.call('draft The Kestrel');
    draft.write('Snow falls on the pass.');
    await rowSays(page, 'The Kestrel Pass', 'writing, 5 words');
    await page.getByRole('button', { name: 'Pause Chapters' }).click();
    await chip(page, 'chapters', 'pausing after drafting');
    await shot(page, 'chapters-pausing-1440');
    draft.finish();
    await chip(page, 'chapters', 'paused');
    await rowSays(page, 'The Kestrel Pass', 'paused, 5 words');
    await seen(page, 'continues with editing');
    await page.getByRole('button', { name: 'Resume Chapters' }).click();
    await chip(page, 'chapters', 'paused for your review');
    await rowSays(page, 'The Kestrel Pass', /^\d+ words$/);
    await row(page, 'The Kestrel Pass').getByRole('button').first().click();
    await page.getByRole('textbox', { name: 'What should the next ones do differently?' }).fill('More wind.');
    await shot(page, 'chapters-review-1440');
    expect(await violations(page)).toEqual([]);
    await page.getByRole('button', { name: 'Continue Chapters' }).click();
    await rowSays(page, 'Cold Glass', /^\d+ words$/);
    await row(page, 'Cold Glass').getByRole('button').first().click();
    await seen(page, /edit of Cold Glass\. More wind\./);
    expect(await page.getByRole('textbox', { name: 'What should the next ones do differently?' }).inputValue()).toBe(
      '',
    );
    await page.getByRole('button', { name: 'Continue Chapters' }).click();
    (await studio.call('draft Thaw')).fail('bad_request');
    await rowSays(page, 'Thaw', 'failed: bad request');
    await chip(page, 'chapters', '1 of 3 failed: bad request');
    studio.letGo('draft Thaw');
    await page.getByRole('button', { name: 'Retry failed Chapters' }).click();
    await rowSays(page, 'Thaw', /^\d+ words$/);
    expect(faults).toEqual([]);
  });

  test('[U7] by keyboard alone: to a picture’s button, through the form and into a chapter, with the focus kept', async () => {
    await withPictures();
    studio.hold('pass');
    const page = await open();
    await say('a1', 'assistant', `Snow. ${tags.pass}`);
    await tile(page, 'The pass').waitFor();
    await page.getByRole('button', { name: 'Cancel illustration 1' }).focus();
    await page.keyboard.press('Enter');
    await tile(page, 'The pass').locator('.st', { hasText: 'cancelled' }).waitFor();
    expect(await focused(page)).toMatch(/^Retry illustration 1/);
    studio.letGo('pass');
    await page.keyboard.press('Enter');
    await tile(page, 'The pass').locator('img').waitFor();
    expect(await focused(page)).toMatch(/^Draw again illustration 1/);
    // What goes away before the focused button does not take the focus along.
    await say('a2', 'assistant', `Light. ${tags.house}`);
    await tile(page, 'The house').locator('img').waitFor();
    await studio.command('glass', { type: 'message.remove', message: 'a2' });
    await tile(page, 'The house').waitFor({ state: 'detached' });
    expect(await focused(page)).toMatch(/^Draw again illustration 1, The pass/);
    await page.locator('[data-tool="chapters"]').focus();
    await page.keyboard.press('Enter');
    await page.keyboard.type('Thaw');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.type('It melts.');
    await page.keyboard.press('Escape');
    expect(await focused(page)).toBe('Write chapters');
    await page.keyboard.press('Enter');
    expect(await page.getByLabel('Brief of chapter 1').inputValue()).toBe('It melts.');
    await page.keyboard.press('Enter');
    await rowSays(page, 'Thaw', /^\d+ words$/);
    await row(page, 'Thaw').getByRole('button').first().focus();
    await page.keyboard.press('Enter');
    await page.locator('.chap-text .prose', { hasText: 'draft of Thaw' }).waitFor();
    expect(await page.evaluate(() => document.activeElement?.getAttribute('aria-expanded'))).toBe('true');
    expect(faults).toEqual([]);
  });

  test.each([
    ['1440-night', { viewport: desktop, colorScheme: 'dark' }],
    ['820-day', { viewport: { width: 820, height: 1180 }, colorScheme: 'light' }],
    ['390-day', { viewport: phone, colorScheme: 'light', hasTouch: true, isMobile: true }],
    ['390-night', { viewport: phone, colorScheme: 'dark', hasTouch: true, isMobile: true }],
  ] as const)(
    '[U8] every pane at work at %s: no accessibility violation, and a dot for what came unseen',
    async (size, options) => {
      await studio.command('glass', {
        type: 'session.open',
        panes: { illustrations: { enabled: true }, history: { enabled: true }, scene: { enabled: true } },
      });
      for (const name of ['house', 'boiler', 'draft Cold Glass', 'evaluate']) studio.hold(name);
      await say('u1', 'user', 'I knock.');
      const page = await open(options);
      await seen(page, 'I knock.');
      await say('a1', 'assistant', reply);
      await studio.call('evaluate');
      await ask(['The Kestrel Pass', 'Cold Glass', 'Thaw']);
      (await studio.call('draft Cold Glass')).write('One two three four. ');
      const house = await studio.call('house');
      house.report.preview(drawing('preview'));
      house.report.progress(12, 30, 'step');
      if (!size.startsWith('1440')) {
        const chapters = page.getByRole('tab', { name: 'Chapters' });
        await chapters.locator('.unread').waitFor();
        await chapters.click();
        await rowSays(page, 'Cold Glass', 'writing, 4 words');
        expect(await chapters.locator('.unread').isVisible()).toBe(false);
        await shot(page, `chapters-busy-${size}`);
        expect(await violations(page)).toEqual([]);
        await page.getByRole('tab', { name: 'Illustrations' }).click();
      }
      await tile(page, 'The house').locator('.meter').waitFor();
      await shot(page, `gallery-busy-${size}`);
      expect(await violations(page)).toEqual([]);
      expect(await page.locator('#say').isEnabled()).toBe(true);
      expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
      expect(faults).toEqual([]);
    },
  );
});
