import { describe, expect, test } from 'vitest';
import { systemClock, systemIds } from '../../src/server/clock.ts';
import { SimClock } from '../support/sim-clock.ts';
import { createLog, createScrub } from '../../src/server/log.ts';

const secrets = ['token-12345', 'sk-"quoted"\\key', 'pass/word?', 'token-12345-longer'];

async function lines(
  pretty: boolean,
  level: 'debug' | 'warn' | 'silent' = 'debug',
): Promise<{ log: Awaited<ReturnType<typeof createLog>>; out: string[] }> {
  const out: string[] = [];
  const log = await createLog({ level, secrets, pretty, sink: { write: (line) => out.push(line) } });
  return { log, out };
}

describe('log', () => {
  test('a line is one JSON object with level, ISO time, fields and message', async () => {
    const { log, out } = await lines(false);
    log.info({ session: 's1', runs: 2 }, 'woken');
    expect(out).toHaveLength(1);
    expect(JSON.parse(out[0] ?? '')).toEqual({
      level: 30,
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      session: 's1',
      runs: 2,
      msg: 'woken',
    });
    expect(out[0]?.endsWith('\n')).toBe(true);
  });

  test('below the level nothing is written, and nothing at all when silent', async () => {
    const { log, out } = await lines(false, 'warn');
    log.debug({}, 'a');
    log.info({}, 'b');
    log.warn({}, 'c');
    log.error({}, 'd');
    expect(out.map((line): unknown => JSON.parse(line))).toMatchObject([{ msg: 'c' }, { msg: 'd' }]);
    const silent = await lines(false, 'silent');
    silent.log.error({}, 'x');
    expect(silent.out).toEqual([]);
  });

  test.each([false, true])(
    'no secret is in a line, from a field, a message, an error or its cause (pretty: %s)',
    async (pretty) => {
      const { log, out } = await lines(pretty);
      for (const secret of secrets) {
        log.info({ header: `Bearer ${secret}`, deep: { list: [secret], [secret]: 1 } }, `said ${secret}`);
        log.error({ error: new Error(`refused ${secret}`, { cause: new Error(secret) }) }, 'failed');
        log.warn({ url: `http://h/?t=${encodeURIComponent(secret)}` }, JSON.stringify({ secret }));
      }
      const all = out.join('');
      expect(out.length).toBe(12);
      expect(all).toContain('[secret]');
      for (const secret of [...secrets, '-longer', 'quoted', 'word'])
        expect([secret, all.includes(secret), all.includes(JSON.stringify(secret).slice(1, -1))]).toEqual([
          secret,
          false,
          false,
        ]);
    },
  );

  test('an error keeps its message, stack and cause', async () => {
    const { log, out } = await lines(false);
    log.error({ error: new TypeError('bad', { cause: new Error('root') }) }, 'failed');
    expect(JSON.parse(out[0] ?? '')).toMatchObject({
      error: { type: 'TypeError', message: 'bad', cause: { message: 'root' } },
    });
  });

  test('pretty lines are for people', async () => {
    const { log, out } = await lines(true);
    log.warn({ session: 's1' }, 'slow');
    expect(out.join('')).toMatch(/WARN.*slow[\s\S]*session: "s1"/);
  });

  test('without secrets a text stays as it is', () => {
    expect(createScrub([])('anything')).toBe('anything');
    expect(createScrub([''])('anything')).toBe('anything');
  });
});

describe('clock', () => {
  test('a timer runs after at least its delay, a cleared one never, a deferred call in the next macrotask', async () => {
    const order: string[] = [];
    const beganMs = performance.now();
    systemClock.clearTimeout(systemClock.setTimeout(() => order.push('cleared'), 1));
    // Real timers do not keep the process alive; the deferred call and this promise do not depend on that here.
    const ran = new Promise<void>((resolve) => {
      systemClock.setTimeout(() => {
        order.push('timer');
        resolve();
      }, 20);
    });
    systemClock.defer(() => order.push('deferred'));
    await Promise.resolve().then(() => order.push('microtask'));
    await ran;
    expect(order).toEqual(['microtask', 'deferred', 'timer']);
    expect(performance.now() - beganMs).toBeGreaterThanOrEqual(19);
  });

  test('a delay longer than the platform can count does not fire at once', async () => {
    let fired = false;
    const warnings: string[] = [];
    process.once('warning', (warning) => warnings.push(warning.name));
    const timer = systemClock.setTimeout(() => (fired = true), 2 ** 40);
    await new Promise<void>((resolve) => {
      systemClock.setTimeout(resolve, 5);
    });
    expect(fired).toBe(false);
    // The platform says so when it cuts a delay to 1 ms.
    expect(warnings).toEqual([]);
    systemClock.clearTimeout(timer);
    systemClock.clearTimeout(undefined);
  });

  test('the simulated clock runs chained timers in due order, each with what it sets going, and leaves none behind', async () => {
    const clock = new SimClock();
    const order: string[] = [];
    const beganMs = clock.now();
    const note = (text: string): void => void order.push(`${text}@${clock.now() - beganMs}`);
    clock.setTimeout(() => {
      note('first');
      clock.defer(() => note('deferred'));
      void Promise.resolve().then(() => clock.setTimeout(() => note('chained'), 5));
    }, 10);
    clock.setTimeout(() => note('last'), 20);
    clock.setTimeout(() => note('same time, set later'), 10);
    clock.clearTimeout(clock.setTimeout(() => note('cleared'), 12));
    await clock.advance(15);
    expect(order).toEqual(['first@10', 'deferred@10', 'same time, set later@10', 'chained@15']);
    expect([clock.pending, clock.nextInMs]).toEqual([1, 5]);
    await clock.drain();
    expect([order.at(-1), clock.pending, clock.now() - beganMs]).toEqual(['last@20', 0, 20]);
  });

  test('ids are UUIDv7 in order, and random numbers in [0, 1)', () => {
    const ids = Array.from({ length: 100 }, () => systemIds.uuid());
    expect(ids).toEqual([...new Set(ids)].sort());
    expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    const random = systemIds.random();
    expect(random >= 0 && random < 1).toBe(true);
  });
});
