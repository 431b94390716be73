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
  resolveConfig,
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

/** The image engine of a configuration that has one. */
function only({ image }: Config): Config['image']['engines'][number] {
  expect(image.engines).toHaveLength(1);
  return image.engines[0];
}

describe('defaults', () => {
  test('nothing configured: offline engines on 127.0.0.1:4747, data in .mullion, every limit filled in', async () => {
    expect(await load()).toEqual({
      server: { host: '127.0.0.1', port: 4747 },
      data: join(folder, '.mullion'),
      text: { engine: 'offline' },
      image: { engines: [{ engine: 'offline' }], tryTimeoutMs: 60_000 },
      panes: {},
      limits: {
        hosts: {},
        default: { concurrency: 4, minIntervalMs: 0, requestsPerMinute: null, tokensPerMinute: null },
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
      export: { dir: null },
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
      limits: {
        hosts: { 'http://127.0.0.1:11434/': { concurrency: 1, minIntervalMs: 0, requestsPerMinute: 30 } },
        maxSessions: 5,
      },
      auth: { tokens: ['token-one'], origins: ['https://app.example'] },
    });
    expect(config.text).toEqual({
      engine: 'openai',
      baseUrl: 'http://127.0.0.1:11434/v1',
      apiKey: key,
      models: { default: 'm', evaluate: 'm-small' },
    });
    expect(only(config)).toMatchObject({ baseUrl: 'http://127.0.0.1:7860/v1', apiKey: 'other-key', size: '1536x1024' });
    expect(config.panes['reply']).toEqual({ enabled: true, systemPrompt: 'Be brief.' });
    expect(config.limits.hosts).toEqual({
      'http://127.0.0.1:11434': { concurrency: 1, minIntervalMs: 0, requestsPerMinute: 30, tokensPerMinute: null },
    });
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
    expect(only(config)).toEqual({ engine: 'offline' });
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
      expect([config.text, only(config)]).toEqual([{ engine: 'offline' }, { engine: 'offline' }]);
      expect(config.warnings).toEqual([expect.stringMatching(/MULLION_TEXT_MODEL/)]);
    }
    expect((await load({}, {})).warnings).toEqual([]);
  });

  test('the file\'s "offline" stays in spite of a key in the shell, MULLION_TEXT_MODEL overrides it', async () => {
    const file = { text: { engine: 'offline' }, image: { engine: 'none' } };
    const config = await load(file, { OPENAI_API_KEY: key });
    expect([config.text, only(config)]).toEqual([{ engine: 'offline' }, { engine: 'none' }]);
    expect(await load(file, { OPENAI_API_KEY: key, MULLION_TEXT_MODEL: 'm' })).toMatchObject({
      text: { engine: 'openai' },
    });
    expect(only(await load(file, { MULLION_IMAGE_MODEL: 'i' }))).toMatchObject({ engine: 'openai', model: 'i' });
  });

  test("MULLION_IMAGE_MODEL makes the image engine openai at the text engine's address", async () => {
    const env = {
      OPENAI_BASE_URL: 'http://h:1/v1',
      OPENAI_API_KEY: key,
      MULLION_TEXT_MODEL: 'm',
      MULLION_IMAGE_MODEL: 'i',
    };
    expect(only(await load({}, env))).toEqual({
      engine: 'openai',
      baseUrl: 'http://h:1/v1',
      apiKey: key,
      model: 'i',
      partialImages: 0,
    });
  });

  test("the text engine's key is not given to an image engine on another host", async () => {
    const env = { OPENAI_API_KEY: key, MULLION_TEXT_MODEL: 'm' };
    const config = await load({ image: { baseUrl: 'http://other:9/v1', model: 'i' } }, env);
    expect(only(config)).not.toHaveProperty('apiKey');
    const path = await load({ image: { baseUrl: 'https://api.openai.com/other/v1', model: 'i' } }, env);
    expect(only(path)).toHaveProperty('apiKey', key);
  });

  test('an image engine without a model is refused, and so are settings beside "offline"', async () => {
    expect(await problems({ image: { baseUrl: 'http://h/v1' } })).toEqual([
      expect.stringContaining('image.model: expected'),
    ]);
    expect(
      await problems({ image: { engine: 'none', model: 'x' }, text: { engine: 'offline', baseUrl: 'http://h' } }),
    ).toEqual([
      'text.baseUrl: expected only with "engine": "openai", got it with "offline"',
      'image.model: expected only with "engine": "openai" or "a1111", got it with "none"',
    ]);
  });
});

describe('[D4] image engines', () => {
  const graph = {
    1: { class_type: 'CLIPTextEncode', inputs: { text: '{{prompt}}', clip: ['2', 1] } },
    2: { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: 'fixed.safetensors' } },
  };
  const put = (name: string, content: unknown): Promise<void> =>
    writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));

  test('a1111 and comfyui are taken with all they can be told, and without: where these programs usually listen', async () => {
    const recipe = { size: '1024x640', steps: 30, cfgScale: 6.5, sampler: 'Euler a', negativePrompt: 'text' };
    const a1111 = { engine: 'a1111', auth: { user: 'me', password: 'pass-word' }, model: 'xl', ...recipe };
    expect(only(await load({ image: { ...a1111, baseUrl: 'http://h:1/' } }))).toEqual({
      ...a1111,
      baseUrl: 'http://h:1',
    });
    expect(only(await load({ image: { engine: 'a1111' } }))).toEqual({
      engine: 'a1111',
      baseUrl: 'http://127.0.0.1:7860',
    });
    const comfyui = { engine: 'comfyui', checkpoint: 'c.safetensors', scheduler: 'karras', ...recipe };
    expect(only(await load({ image: comfyui }))).toEqual({ ...comfyui, baseUrl: 'http://127.0.0.1:8188' });
    expect(only(await load({ image: { engine: 'openai', model: 'i', partialImages: 3 } }))).toMatchObject({
      partialImages: 3,
    });
  });

  test('a chain keeps its order, and each engine its own settings; the frozen default is a chain of one', async () => {
    const config = await load(
      {
        text: { engine: 'offline' },
        image: {
          engines: [
            { engine: 'openai', model: 'i' },
            { engine: 'a1111', steps: 9 },
            { engine: 'comfyui', checkpoint: 'c' },
            { engine: 'offline' },
          ],
          tryTimeoutMs: 30_000,
        },
      },
      { OPENAI_API_KEY: key },
    );
    expect(config.image).toEqual({
      engines: [
        { engine: 'openai', baseUrl: 'https://api.openai.com/v1', apiKey: key, model: 'i', partialImages: 0 },
        { engine: 'a1111', baseUrl: 'http://127.0.0.1:7860', steps: 9 },
        { engine: 'comfyui', baseUrl: 'http://127.0.0.1:8188', checkpoint: 'c' },
        { engine: 'offline' },
      ],
      tryTimeoutMs: 30_000,
    });
    expect(Object.isFrozen(config.image.engines[1])).toBe(true);
    expect(config.warnings).toEqual([]);
  });

  test.each<[object, string]>([
    [{ engines: [] }, 'image.engines: expected a list of 1 to 4 engines, got a list'],
    [
      { engines: Array.from({ length: 5 }, () => ({ engine: 'offline' })) },
      'image.engines: expected a list of 1 to 4 engines, got a list',
    ],
    [{ engines: {} }, 'image.engines: expected a list of 1 to 4 engines, got an object'],
    [
      { engine: 'offline', engines: [{ engine: 'offline' }] },
      'image.engine: expected either image.engines or one engine, got both; it belongs into an engine of the list',
    ],
    [
      { model: 'x', engines: [{ engine: 'offline' }] },
      'image.model: expected either image.engines or one engine, got both; it belongs into an engine of the list',
    ],
    [{ engines: [{}] }, 'image.engines.0.engine: expected the name of an engine, got nothing'],
    [{ engines: [{ engine: 'none' }] }, 'image.engines.0.engine: expected an engine that draws, got "none"'],
    [
      { engines: [{ engine: 'offline' }, { engine: 'a1111' }] },
      'image.engines.0.engine: expected "offline" as the last one only, since it never fails; more are behind it',
    ],
    [
      { engines: [{ engine: 'a1111' }, { engine: 'openai' }] },
      'image.engines.1.model: expected the name of a model, got none. Set MULLION_IMAGE_MODEL or image.engines.1.model.',
    ],
    [
      { engines: [{ engine: 'a1111', scheduler: 'karras' }] },
      'image.engines.0.scheduler: expected only with "engine": "comfyui", got it with "a1111"',
    ],
    [
      { engine: 'offline', steps: 3 },
      'image.steps: expected only with "engine": "a1111" or "comfyui", got it with "offline"',
    ],
    [{ engine: 'a1111', size: 'auto' }, 'image.size: expected WIDTHxHEIGHT of 64 to 8192 pixels each, got "auto"'],
    [{ engine: 'comfyui' }, 'image.checkpoint: expected the name of one, the workflow has a {{checkpoint}}'],
    [{ engine: 'a1111', steps: 0 }, 'image.steps: expected a whole number from 1 to 1000, got 0'],
    [{ engine: 'a1111', cfgScale: 101 }, 'image.cfgScale: expected a number from 0 to 100, got 101'],
    [
      { engine: 'openai', model: 'm', partialImages: 4 },
      'image.partialImages: expected a whole number from 0 to 3, got 4',
    ],
    [{ tryTimeoutMs: 999 }, 'image.tryTimeoutMs: expected a whole number from 1000 to 3600000, got 999'],
    [
      { engine: 'a1111', auth: { user: 'a:b', password: 'p' } },
      'image.auth.user: expected a name without a colon, got "a:b"',
    ],
    [{ engine: 'a1111', auth: { user: 'a' } }, 'image.auth.password: expected a text that is not empty, got nothing'],
    [{ engine: 'a1111', baseUrl: 'http://me:pass@h' }, 'image.baseUrl: expected a URL without user name and password'],
    [
      { engine: 'comfyui', workflow: 7 },
      'image.workflow: expected the path of a JSON file, or the workflow itself, got 7',
    ],
    [{ engine: 'dalle' }, 'image.engine: expected one of offline, none, openai, a1111, comfyui, got "dalle"'],
  ])('%j is refused', async (image, problem) => {
    const found = await problems({ image });
    expect(found).toEqual([expect.stringContaining(problem)]);
    expect(found.join()).not.toContain('pass@');
  });

  test('exactly at the limits it is not', async () => {
    const image = { engine: 'a1111', steps: 1000, cfgScale: 100 };
    expect(only(await load({ image }))).toMatchObject(image);
    expect((await load({ image: { ...image, tryTimeoutMs: 1000 } })).image.tryTimeoutMs).toBe(1000);
    const engines = ['a1111', 'a1111', 'a1111', 'offline'].map((engine) => ({ engine }));
    expect((await load({ image: { engines } })).image.engines).toHaveLength(4);
  });

  test('a workflow is a file, counted from the folder of the configuration, or the workflow itself', async () => {
    await put('flow.json', `\uFEFF${JSON.stringify(graph)}`);
    await writeFile(
      join(folder, 'other.json'),
      JSON.stringify({ image: { engine: 'comfyui', workflow: './flow.json' } }),
    );
    const config = await loadConfig({ config: join(folder, 'other.json') }, {}, '/');
    expect(only(config)).toMatchObject({ workflow: JSON.parse(JSON.stringify(graph)) });
    const own = { image: { engine: 'comfyui' as const, workflow: graph } };
    const inline = resolveConfig({ file: own, name: 'x', folder: undefined }, {}, {}, folder);
    expect(only(inline)).toMatchObject({ workflow: JSON.parse(JSON.stringify(graph)) });
    expect(Object.isFrozen(graph)).toBe(false);
  });

  test.each<[string, unknown, string]>([
    ['absent', undefined, 'expected a file that can be read, got ENOENT'],
    ['not JSON', '{"text": "sk-secret', 'expected JSON in flow.json, got something else'],
    ['no object', [1], 'expected a workflow in flow.json, got JSON that is no object'],
    ['of the editor', { nodes: [], links: [] }, 'this is the format of the editor'],
    ['without a place for the prompt', { 1: { class_type: 'X', inputs: {} } }, 'has no {{prompt}}'],
    ['no workflow', { 1: 'x' }, 'expected class_type and inputs in node'],
    ['too large', ' '.repeat(2 * 1024 * 1024 + 1), 'more than 2097152'],
  ])('a workflow that is %s is refused', async (_, content, problem) => {
    if (content !== undefined) await put('flow.json', content);
    const found = await problems({ image: { engines: [{ engine: 'comfyui', workflow: 'flow.json' }] } });
    expect(found).toEqual([expect.stringMatching(/^image\.engines\.0\.workflow: /)]);
    expect(found[0]).toContain(problem);
    expect(found[0]).not.toContain('sk-secret');
  });

  test('a workflow of exactly the largest size is read', async () => {
    const text = JSON.stringify(graph);
    await put('flow.json', text.padEnd(2 * 1024 * 1024));
    expect(only(await load({ image: { engine: 'comfyui', workflow: 'flow.json' } }))).toHaveProperty('workflow');
  });

  test('MULLION_IMAGE_MODEL names the model of one engine, and not of a chain', async () => {
    const env = { MULLION_IMAGE_MODEL: 'i' };
    expect(only(await load({ image: { engine: 'a1111', model: 'old' } }, env))).toMatchObject({ model: 'i' });
    expect(only(await load({ image: { engine: 'comfyui' } }, env))).toMatchObject({ checkpoint: 'i' });
    expect(await problems({ image: { engines: [{ engine: 'a1111' }] } }, env)).toEqual([
      'MULLION_IMAGE_MODEL: expected only with one image engine, got it with image.engines',
    ]);
  });

  test('a chain whose last engine has no time left in a run of the scene is warned about', async () => {
    const engines = [{ engine: 'a1111' }, { engine: 'a1111' }, { engine: 'offline' }];
    expect((await load({ image: { engines } })).warnings).toEqual([
      expect.stringMatching(/^image\.tryTimeoutMs: .* 120000 ms.* 120000 ms/),
    ]);
    expect((await load({ image: { engines, tryTimeoutMs: 59_999 } })).warnings).toEqual([]);
    expect((await load({ image: { engines }, panes: { scene: { timeoutMs: 120_001 } } })).warnings).toEqual([]);
  });

  test('keys and passwords of all engines are secrets, and in no problem', async () => {
    const auth = { user: 'me', password: 'pass-word' };
    const image = {
      engines: [
        { engine: 'openai', model: 'i', apiKey: key },
        { engine: 'a1111', auth },
      ],
    };
    const secrets = secretsOf(await load({ image }));
    expect(secrets).toEqual([key, 'pass-word', Buffer.from('me:pass-word').toString('base64')]);
    for (const wrong of [
      { engine: 'a1111', auth: 'me:pass-word' },
      { engines: [{ engine: 'a1111', auth: 'me:pass-word' }] },
      { engine: 'a1111', auth: { ...auth, pass: 'pass-word' } },
      { engine: 'a1111', auth: { user: 'a', password: ['pass-word'] } },
      { engine: 'openai', auth },
      { engine: 'offline', apiKey: 'pass-word' },
    ])
      expect((await problems({ image: wrong })).join()).not.toContain('pass-word');
    expect(await problems({ image: { engine: 'a1111', auth: { user: 'a', password: 12_345_678 } } })).toEqual([
      expect.stringContaining('image.auth.password: expected a text that is not empty, got a number (not shown)'),
    ]);
  });

  test('patterns of illustrations are compiled, and stand in no other pane', async () => {
    const patterns = ['<pic>([^<]+)</pic>'];
    expect((await load({ panes: { illustrations: { patterns } } })).panes['illustrations']).toEqual({ patterns });
    expect(await problems({ panes: { scene: { patterns } } })).toEqual([
      expect.stringContaining('panes: expected patterns in the pane "illustrations" only'),
    ]);
    for (const [wrong, why] of [
      [['(a)', 'no group'], 'pattern 2, "no group": expected a group'],
      [['(a'], 'pattern 1, "(a"'],
      [[], 'expected 1 to 16 patterns, got 0'],
      [Array(17).fill('(a)'), 'expected 1 to 16 patterns, got 17'],
    ] as const)
      expect(await problems({ panes: { illustrations: { patterns: wrong } } })).toEqual([
        expect.stringContaining(`panes.illustrations.patterns: ${why}`),
      ]);
    expect(await problems({ panes: { illustrations: { patterns: 'x' } } })).toEqual([
      expect.stringContaining('panes.illustrations.patterns: expected a list, got "x"'),
    ]);
  });
});

describe('refusals', () => {
  test.each<[object, string]>([
    [
      { texts: {} },
      'texts: expected one of the known keys (server, data, text, image, panes, limits, auth, log, export), got the unknown key "texts"',
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
      { limits: { default: { concurrency: 1, tokensPerMinute: 0 } } },
      'limits.default.tokensPerMinute: expected a whole number from 1 to 1000000000, got 0',
    ],
    [
      {
        limits: {
          hosts: Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`http://h${i}`, { concurrency: 1 }])),
        },
      },
      'limits.hosts: expected at most 256 hosts, got an object',
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
