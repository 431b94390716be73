import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  ConfigError,
  type Config,
  type Environment,
  type Flags,
  loadConfig,
  secretsOf,
} from '../../src/server/config/config.ts';
import { placeOf, scanJson } from '../../src/server/replay/json-position.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mullion-config-'));
});
afterEach(() => rm(folder, { recursive: true }));

const key = 'sk-very-secret-1234';

async function load(file?: object | string, env: Environment = {}, flags: Flags = {}): Promise<Config> {
  if (file !== undefined)
    await writeFile(join(folder, 'mullion.config.json'), typeof file === 'string' ? file : JSON.stringify(file));
  return loadConfig(flags, env, folder);
}

async function problems(file?: object | string, env: Environment = {}, flags: Flags = {}): Promise<readonly string[]> {
  const error: unknown = await load(file, env, flags).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ConfigError);
  return error instanceof ConfigError ? error.problems : [];
}

describe('defaults', () => {
  test('nothing configured: offline engines on 127.0.0.1:4747, data in .mullion, every limit filled in', async () => {
    expect(await load()).toEqual({
      server: { host: '127.0.0.1', port: 4747 },
      data: join(folder, '.mullion'),
      text: { engine: 'offline' },
      image: { engine: 'offline' },
      panes: {},
      limits: {
        hosts: {},
        default: { concurrency: 4, minIntervalMs: 0 },
        maxWaiting: 1000,
        maxSessions: 100_000,
        outboxBytes: 1_048_576,
        maxFrameBytes: 262_144,
        passivateAfterMs: 60_000,
        maxConnections: 19_000,
        maxSubscriptions: 100,
        maxInFlight: 256,
        framesPerSecond: 500,
      },
      auth: { tokens: [], origins: [] },
      warnings: [],
      log: { level: 'info' },
    });
  });

  test('the result is frozen through and through', async () => {
    const config = await load({ panes: { history: { window: 5 } }, auth: { tokens: ['abcd'] } });
    for (const part of [config, config.server, config.panes, config.panes['history'], config.auth.tokens])
      expect(Object.isFrozen(part)).toBe(true);
  });
});

describe('precedence', () => {
  test('the environment overrides the file, a flag overrides both', async () => {
    const file = { server: { host: 'localhost', port: 1 }, data: 'in-file', log: { level: 'warn' } };
    const env = { MULLION_PORT: '2', MULLION_DATA: 'in-env', MULLION_HOST: '::1' };
    expect(await load(file)).toMatchObject({ server: { host: 'localhost', port: 1 }, data: join(folder, 'in-file') });
    expect(await load(file, env)).toMatchObject({ server: { host: '::1', port: 2 }, data: join(folder, 'in-env') });
    const flags = { host: '127.0.0.2', port: '0', data: '/abs', logLevel: 'debug' };
    const flagged = await load(file, env, flags);
    expect(flagged).toMatchObject({ server: { host: '127.0.0.2', port: 0 }, data: '/abs', log: { level: 'debug' } });
  });

  test('an empty variable counts as absent', async () => {
    expect(await load({}, { OPENAI_API_KEY: '', MULLION_PORT: '' })).toMatchObject({
      text: { engine: 'offline' },
      server: { port: 4747 },
    });
  });

  test('the whole example of the issue is taken as it stands', async () => {
    const config = await load({
      text: {
        engine: 'openai',
        baseUrl: 'http://127.0.0.1:11434/v1',
        apiKey: key,
        models: { default: 'm', evaluate: 'm-small' },
      },
      image: {
        engine: 'openai',
        baseUrl: 'http://127.0.0.1:7860/v1/',
        apiKey: 'other-key',
        model: 'i',
        size: '1536x1024',
      },
      panes: {
        history: { debounceMs: 150, timeoutMs: 60_000 },
        scene: {},
        reply: { enabled: true, systemPrompt: 'Be brief.' },
      },
      limits: { hosts: { 'http://127.0.0.1:11434/': { concurrency: 1, minIntervalMs: 0 } }, maxSessions: 5 },
      auth: { tokens: ['token-one'], origins: ['https://app.example'] },
    });
    expect(config.text).toEqual({
      engine: 'openai',
      baseUrl: 'http://127.0.0.1:11434/v1',
      apiKey: key,
      models: { default: 'm', evaluate: 'm-small' },
    });
    expect(config.image).toMatchObject({ baseUrl: 'http://127.0.0.1:7860/v1', apiKey: 'other-key', size: '1536x1024' });
    expect(config.panes['reply']).toEqual({ enabled: true, systemPrompt: 'Be brief.' });
    expect(config.limits.hosts).toEqual({ 'http://127.0.0.1:11434': { concurrency: 1, minIntervalMs: 0 } });
    expect(config.limits.maxSessions).toBe(5);
    expect(secretsOf(config)).toEqual(['token-one', key, 'other-key']);
  });

  test('an .mjs file with a default export does as well; both files at once are refused', async () => {
    await writeFile(
      join(folder, 'mullion.config.mjs'),
      'export default { server: { port: 40 + 7 }, data: undefined };',
    );
    expect((await load()).server.port).toBe(47);
    expect(await problems({})).toEqual([expect.stringContaining('mullion.config.json and mullion.config.mjs')]);
  });

  test('--config names the file; paths in it count from its folder', async () => {
    await writeFile(join(folder, 'other.json'), '{"data":"here"}');
    const config = await loadConfig({ config: join(folder, 'other.json') }, {}, '/');
    expect(config.data).toBe(join(folder, 'here'));
    expect(await problems(undefined, {}, { config: 'absent.json' })).toEqual([
      '--config: expected a file that can be read, got "absent.json", which does not exist',
    ]);
  });
});

describe('engines', () => {
  test.each([
    [
      'OPENAI_BASE_URL without a key',
      { OPENAI_BASE_URL: 'http://h:1/v1/' },
      { baseUrl: 'http://h:1/v1', apiKey: null },
    ],
    ['OPENAI_API_KEY alone', { OPENAI_API_KEY: key }, { baseUrl: 'https://api.openai.com/v1', apiKey: key }],
    ['MULLION_TEXT_MODEL alone', {}, { baseUrl: 'https://api.openai.com/v1', apiKey: null }],
  ])('%s makes the text engine openai', async (_, env, expected) => {
    const config = await load({}, { ...env, MULLION_TEXT_MODEL: 'm' });
    expect(config.text).toEqual({ engine: 'openai', models: { default: 'm' }, ...expected });
    expect(config.image).toEqual({ engine: 'offline' });
  });

  test('without a model a file is refused, and the error says which settings give one', async () => {
    for (const file of [{ text: { baseUrl: 'http://h:1/v1' } }, { text: { engine: 'openai' } }])
      expect(await problems(file, {})).toEqual([
        expect.stringMatching(/^text\.models\.default: expected .*got none.*MULLION_TEXT_MODEL/),
      ]);
  });

  test('an address or a key in the shell without a model runs offline, and says so', async () => {
    for (const env of [{ OPENAI_BASE_URL: 'http://h:1/v1' }, { OPENAI_API_KEY: key }]) {
      const config = await load({}, env);
      expect(config).toMatchObject({ text: { engine: 'offline' }, image: { engine: 'offline' } });
      expect(config.warnings).toEqual([expect.stringMatching(/MULLION_TEXT_MODEL/)]);
    }
    expect((await load({}, {})).warnings).toEqual([]);
  });

  test('the file\'s "offline" stays in spite of a key in the shell, MULLION_TEXT_MODEL overrides it', async () => {
    const file = { text: { engine: 'offline' }, image: { engine: 'none' } };
    expect(await load(file, { OPENAI_API_KEY: key })).toMatchObject({
      text: { engine: 'offline' },
      image: { engine: 'none' },
    });
    expect(await load(file, { OPENAI_API_KEY: key, MULLION_TEXT_MODEL: 'm' })).toMatchObject({
      text: { engine: 'openai' },
    });
    expect(await load(file, { MULLION_IMAGE_MODEL: 'i' })).toMatchObject({ image: { engine: 'openai', model: 'i' } });
  });

  test("MULLION_IMAGE_MODEL makes the image engine openai at the text engine's address", async () => {
    const env = {
      OPENAI_BASE_URL: 'http://h:1/v1',
      OPENAI_API_KEY: key,
      MULLION_TEXT_MODEL: 'm',
      MULLION_IMAGE_MODEL: 'i',
    };
    expect((await load({}, env)).image).toEqual({
      engine: 'openai',
      baseUrl: 'http://h:1/v1',
      apiKey: key,
      model: 'i',
      size: null,
    });
  });

  test("the text engine's key is not given to an image engine on another host", async () => {
    const env = { OPENAI_API_KEY: key, MULLION_TEXT_MODEL: 'm' };
    expect((await load({ image: { baseUrl: 'http://other:9/v1', model: 'i' } }, env)).image).toMatchObject({
      apiKey: null,
    });
  });

  test('an image engine without a model is refused, and so are settings beside "offline"', async () => {
    expect(await problems({ image: { baseUrl: 'http://h/v1' } })).toEqual([
      expect.stringContaining('image.model: expected'),
    ]);
    expect(
      await problems({ image: { engine: 'none', model: 'x' }, text: { engine: 'offline', baseUrl: 'http://h' } }),
    ).toEqual([
      'text.baseUrl: expected only with "engine": "openai", got it with "offline"',
      'image.model: expected only with "engine": "openai", got it with "none"',
    ]);
  });
});

describe('refusals', () => {
  test.each<[object, string]>([
    [
      { texts: {} },
      'texts: expected one of the known keys (server, data, text, image, panes, limits, auth, log), got the unknown key "texts"',
    ],
    [{ server: { prot: 1 } }, 'server.prot: expected one of the known keys (host, port), got the unknown key "prot"'],
    [{ server: { port: '80' } }, 'server.port: expected a whole number from 0 to 65535, got "80"'],
    [{ server: { port: 65_536 } }, 'server.port: expected a whole number from 0 to 65535, got 65536'],
    [{ server: [] }, 'server: expected an object, got a list'],
    [{ data: '' }, 'data: expected a text that is not empty, got ""'],
    [{ text: { engine: 'ollama' } }, 'text.engine: expected one of offline, openai, got "ollama"'],
    [
      { text: { baseUrl: 'localhost:11434' } },
      'text.baseUrl: expected an http or https URL such as http://127.0.0.1:11434/v1, got "localhost:11434"',
    ],
    [
      { text: { models: { Default: 'm' } } },
      'text.models.Default: expected the name of a stage, such as "evaluate", got "Default"',
    ],
    [{ image: { size: 'big' } }, 'image.size: expected WIDTHxHEIGHT in pixels, such as 1536x1024, got "big"'],
    [{ panes: { History: {} } }, 'panes.History: expected a lower-case pane name such as "history", got "History"'],
    [{ panes: { history: { windows: 3 } } }, 'panes.history.windows: expected one of the known keys'],
    [{ panes: { history: { window: 201 } } }, 'panes.history.window: expected at most 200, got 201'],
    [{ panes: { history: { window: 0 } } }, 'panes.history.window: expected at least 1, got 0'],
    [{ panes: { history: { window: 1.5 } } }, 'panes.history.window: expected a whole number, got 1.5'],
    [
      { panes: { history: { policy: 'never' } } },
      'panes.history.policy: expected one of supersede, latest, queue, reject, got "never"',
    ],
    [{ panes: { history: { enabled: 1 } } }, 'panes.history.enabled: expected true or false, got 1'],
    [
      { panes: { scene: { systemPrompt: 'x' } } },
      'panes: expected systemPrompt in the pane "reply" only, got an object',
    ],
    [
      { limits: { hosts: { 'http://h/v1': { concurrency: 1 } } } },
      'limits.hosts.http://h/v1: expected an origin such as https://app.example, without a path, got "http://h/v1"',
    ],
    [
      { limits: { hosts: { 'http://h': { concurrency: 0 } } } },
      'limits.hosts.http://h.concurrency: expected a whole number from 1 to 10000, got 0',
    ],
    [
      { auth: { origins: ['*'] } },
      'auth.origins.0: expected an origin such as https://app.example, without a path, got "*"',
    ],
    [{ log: { level: 'verbose' } }, 'log.level: expected one of debug, info, warn, error, silent, got "verbose"'],
  ])('%j', async (file, expected) => {
    const found = await problems(file);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`mullion.config.json: ${expected}`);
  });

  test('both sides of the port: 0 and 65535 are taken', async () => {
    for (const port of [0, 65_535]) expect((await load({ server: { port } })).server.port).toBe(port);
    expect((await load({}, { MULLION_PORT: '65535' })).server.port).toBe(65_535);
    expect(await problems({}, { MULLION_PORT: '65536' })).toEqual([
      'MULLION_PORT: expected a whole number from 0 to 65535, got "65536"',
    ]);
    expect(await problems({}, {}, { port: '-1' })).toEqual([
      '--port: expected a whole number from 0 to 65535, got "-1"',
    ]);
  });

  test('all problems come at once', async () => {
    expect(await problems({ server: { port: 'x' }, data: 3, nope: 1 })).toHaveLength(3);
    expect(await problems({}, { MULLION_PORT: 'x', MULLION_HOST: '0.0.0.0' }, { logLevel: 'loud' })).toHaveLength(3);
  });

  test('keys that would reach a prototype are refused', async () => {
    const { panes } = await load('{"panes":{"__proto__":{"enabled":false}}}');
    expect([Object.keys(panes), Object.getPrototypeOf(panes), 'enabled' in {}]).toEqual([[], Object.prototype, false]);
    expect(await problems('{"__proto__":{"data":"x"}}')).toEqual([
      expect.stringContaining('got the unknown key "__proto__"'),
    ]);
  });

  test('no error shows a secret, whichever way the value is wrong', async () => {
    const found = [
      ...(await problems({ auth: { tokens: [`${key} with spaces`] }, text: { apiKey: { nested: key } } })),
      ...(await problems({ auth: { tokens: key } })),
      ...(await problems({ text: { baseUrl: `http://user:${key}@host/v1`, models: { default: 'm' } } })),
      ...(await problems({}, { OPENAI_BASE_URL: `http://user:${key}@host/v1` })),
      ...(await problems({}, { MULLION_TOKEN: `${key} with spaces` })),
      ...(await problems(`{"text": {"apiKey": "${key}" "models": {}}}`)),
      ...(await problems({ text: { apiKey: key }, extra: key })),
    ];
    expect(found.length).toBeGreaterThanOrEqual(8);
    expect(found.join('\n')).not.toContain(key);
    expect(found).toContain('mullion.config.json: expected JSON, got something else at line 1, column 43');
  });

  test('an .mjs file that throws, or has no default export, is named', async () => {
    await writeFile(join(folder, 'a.mjs'), 'export const port = 1;');
    await writeFile(join(folder, 'b.mjs'), 'throw new Error("boom");');
    expect(await problems(undefined, {}, { config: 'a.mjs' })).toEqual([
      'a.mjs: expected "export default {…}", got no default export',
    ]);
    expect(await problems(undefined, {}, { config: 'b.mjs' })).toEqual([
      'b.mjs: expected a module that can be loaded, got boom',
    ]);
  });
});

describe('safe by default', () => {
  test.each(['0.0.0.0', '::', '192.168.1.4', 'example.com'])(
    '%s without a token refuses to start and says why',
    async (host) => {
      const [problem] = await problems({ server: { host } });
      expect(problem).toContain(
        `server.host: expected a loopback address (127.0.0.1, ::1, localhost) or a token, got "${host}" and no token`,
      );
      expect((await load({ server: { host } }, { MULLION_TOKEN: 'a-token' })).auth.tokens).toEqual(['a-token']);
    },
  );

  test.each(['127.0.0.1', '127.8.8.8', '::1', '[::1]', 'localhost'])('%s needs no token', async (host) => {
    expect((await load({ server: { host } })).server.host).toBe(host);
  });

  test('a token has 4 to 512 printable characters', async () => {
    for (const token of ['abcd', 'x'.repeat(512)])
      expect((await load({ auth: { tokens: [token] } })).auth.tokens).toEqual([token]);
    for (const token of ['abc', 'x'.repeat(513), 'a b c d', 'ünïcöde'])
      expect(await problems({ auth: { tokens: [token] } })).toEqual([
        expect.stringContaining('auth.tokens.0: expected 4 to 512 printable'),
      ]);
  });

  test('secretsOf leaves out placeholder keys of local servers', async () => {
    const config = await load(
      {},
      { OPENAI_API_KEY: 'x', OPENAI_BASE_URL: 'http://h/v1', MULLION_TEXT_MODEL: 'm', MULLION_TOKEN: 'tok-123' },
    );
    expect(secretsOf(config)).toEqual(['tok-123']);
  });
});

describe('where JSON breaks', () => {
  test.each([
    ['{"a": 1,}', 1, 9],
    ['{"a" 1}', 1, 6],
    ['[1, 2', 1, 6],
    ['{\n  "a": tru\n}', 2, 8],
    ['[1] x', 1, 5],
    ['', 1, 1],
    ['{"a": [}', 1, 8],
    ['{"a": "x\n"}', 1, 7],
  ])('%j at line %i, column %i', (text, line, column) => {
    expect(placeOf(text, scanJson(text).breaksAt ?? -1)).toEqual({ line, column });
  });

  test('JSON has no break, also with long strings', () => {
    const text = JSON.stringify({
      a: [1, -2.5e3, true, null, { b: '\u2028"\\\n' }],
      c: 'x\n'.repeat(2_000_000),
      d: {},
      e: [],
    });
    expect(scanJson(text).breaksAt).toBeUndefined();
  });
});
