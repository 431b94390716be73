import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { toJSONSchema } from 'zod';
import { maxOpenMessages } from '../src/machines/decide-message.ts';
import { idleStage } from '../src/machines/pane-setup.ts';
import { reportEveryMs } from '../src/machines/tasks/pane-setup.ts';
import { maxChapters } from '../src/panes/chapters/request.ts';
import { maxMatchUnits } from '../src/panes/illustrations/patterns.ts';
import { maxPictures } from '../src/panes/illustrations/plan.ts';
import { maxPromptUnits } from '../src/panes/illustrations/scan.ts';
import { builtInPanes } from '../src/panes/index.ts';
import { settleMs } from '../src/ports/models.ts';
import { limits } from '../src/protocol/names.ts';
import { checkFile, fileSchema } from '../src/server/config/config-schema.ts';
import { resolveConfig } from '../src/server/config/config.ts';
import { maxChapterBytes } from '../src/server/export/build.ts';
import { maxAside } from '../src/server/export/export-folder.ts';
import { exporterDefaults } from '../src/server/export/exporter.ts';
import { transcriptBounds } from '../src/server/export/transcript.ts';
import { maxHosts } from '../src/server/limits/host-limit.ts';
import { createPaneRegistry, defaultPaneOptions } from '../src/server/sessions/pane-registry.ts';
import { maxRememberedPictures } from '../src/server/sessions/picture-cache.ts';
import { previewBounds } from '../src/server/sessions/previews.ts';
import { maxReplayRecords } from '../src/server/sessions/subscription.ts';
import { createMetrics } from '../src/server/telemetry.ts';
import { maxExportsAtOnce } from '../src/server/transport/routes/export.ts';

const root = new URL('../', import.meta.url).pathname;
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const inFolder = (folder: string, ending: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name}`);

const pages = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'examples/README.md', ...inFolder('docs', '.md')];
const examples = inFolder('examples', '.ts');
const sources = inFolder('src', '.ts');
const found = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map((match) => match[1] ?? '');
const unique = (names: Iterable<string>): string[] => [...new Set(names)].sort();

/** The cells of the table rows of a page. */
const rows = (text: string): string[][] =>
  found(text, /^\| (.*) \|$/gm).map((row) => row.split(/ ?(?<!\\)\| ?/).map((cell) => cell.trim()));
/** The same, table by table. */
const tables = (text: string): string[][][] => found(text, /((?:^\|.*\|\n)+)/gm).map(rows);

describe('examples', () => {
  test.each(pages)('the TypeScript in %s is the text of a file in examples', (page) => {
    // Readers import the package, the file its source: package.json leads from one to the other.
    const texts = examples.map((file) => read(file).replace("'../src/server/index.ts'", "'mullion'"));
    for (const block of found(read(page), /^```(?:ts|typescript)\n([\s\S]*?)^```$/gm)) expect(texts).toContain(block);
  });

  // test/examples.test.ts runs them.
  test('the README shows embed.ts, and the package exports what it imports', () => {
    expect(read('README.md')).toContain("import { createMullion } from 'mullion';");
    expect(JSON.parse(read('package.json'))).toMatchObject({ exports: { '.': { default: './dist/server/index.js' } } });
  });

  test('are all in their list', () => {
    for (const file of examples) expect(read('examples/README.md')).toContain(`](${basename(file)})`);
  });
});

describe('what pages point to', () => {
  test.each(pages)('every relative link and picture of %s is there', (page) => {
    const text = read(page);
    const targets = [...found(text, /\]\(([^)\s]+)\)/g), ...found(text, /\bsrc(?:set)?="([^"]+)"/g)];
    for (const target of targets) {
      if (/^(?:https?:|#)/.test(target)) continue;
      expect(existsSync(join(root, dirname(page), target.split('#', 1)[0] ?? '')), `${page}: ${target}`).toBe(true);
    }
  });

  test.each(pages)('every file that %s names is there', (page) => {
    const files = [...sources, ...inFolder('test', '.ts')];
    for (const name of found(read(page), /`([a-z0-9][a-z0-9/.-]*\.ts)`/g))
      expect(
        files.some((file) => file === name || file.endsWith(`/${name}`)),
        `${page}: ${name}`,
      ).toBe(true);
  });

  test('scripts of package.json that pages name are there', () => {
    const { scripts }: { scripts: { [name: string]: string } } = JSON.parse(read('package.json'));
    for (const page of pages)
      for (const name of found(read(page), /`[^`]*npm run (?:--silent )?([a-z:0-9]+)/g))
        expect(Object.keys(scripts), page).toContain(name);
  });

  test('pictures have at most 400 KB', () => {
    for (const file of inFolder('docs/picture', '.png'))
      expect(readFileSync(join(root, file)).byteLength, file).toBeLessThanOrEqual(400_000);
  });
});

describe('rules', () => {
  const rules = [...read('docs/SPEC.md').matchAll(/^- \*\*([A-Z]+\d+)\*\* (.*)$/gm)].map((match) => ({
    id: match[1] ?? '',
    text: match[2] ?? '',
  }));

  test('have ids of their own, and a test or the words "no test yet"', () => {
    expect(unique(rules.map(({ id }) => id))).toHaveLength(rules.length);
    for (const { id, text } of rules) expect(text, id).toMatch(/`test\/|no test yet/);
  });

  // The first rules came before the ids were in titles; the promises, and all that came later, are found by their id.
  test('P1 to P9, and the rules of tasks, engines, drawing, queues, exports and the page, stand in the files that are named', () => {
    const named = rules.filter(({ id }) => /^(?:P|T|I|D|Q|X|U)\d+$/.test(id));
    expect(named.filter(({ id }) => id.startsWith('P'))).toHaveLength(9);
    for (const { id, text } of named)
      for (const file of found(text, /`(test\/[^`]+)`/g)) expect(read(file), `${id}: ${file}`).toContain(`[${id}]`);
  });

  test('every id of theirs in a title is a rule', () => {
    const known = new Set(rules.map(({ id }) => id));
    for (const file of inFolder('test', '.test.ts'))
      for (const id of found(read(file), /\[((?:P|T|I|D|Q|X|U)\d+)\]/g))
        expect([file, id, known.has(id)]).toEqual([file, id, true]);
  });
});

/** What a pane reads besides the options of all. */
const ofTasks = ['taskTimeoutMs', 'parallel'];
/** What only panes that follow the transcript read. */
const ofFollowers = ['startOn', 'replyWaitMs', 'debounceMs', 'debounceMaxMs', 'timeoutMs'];

describe('options of panes', () => {
  const { declarations } = createPaneRegistry(builtInPanes, {}, idleStage);
  const panes = Object.entries(declarations).map(([name, { tasks = false, ...options }]) => {
    const others = tasks ? ofFollowers : ofTasks;
    const own = Object.entries(options).filter(([option]) => !others.includes(option));
    return { name, options: Object.fromEntries(own), stages: builtInPanes.find((pane) => pane.name === name)?.stages };
  });
  const all = unique([...Object.keys(defaultPaneOptions), ...ofTasks, 'propose']);

  test('the tables of the README say the defaults of the code', () => {
    const [, list = ''] = read('README.md').split('## Panes');
    const said = Object.fromEntries(rows(list).map(([name = '', value = '']) => [name.replaceAll('`', ''), value]));
    const defaults = { ...defaultPaneOptions, taskTimeoutMs: 300_000, parallel: 4, propose: 0 };
    expect(Object.keys(defaults).sort()).toEqual(all);
    for (const [name, value] of Object.entries(defaults)) expect(said[name], name).toBe(String(value));
    for (const { name, options, stages } of panes) {
      const table = tables(list).find((candidate) => candidate.some(([cell]) => cell === `\`${name}\``)) ?? [];
      const [head = []] = table;
      const row = table.find(([cell]) => cell === `\`${name}\``) ?? [];
      expect(row[1], name).toBe(stages?.map((stage) => stage.name).join(', '));
      for (const [column, option] of head.entries())
        if (option in options) expect([option, row[column]]).toEqual([option, String(Reflect.get(options, option))]);
    }
  });

  test('PROTOCOL section 7 says them too, pane by pane', () => {
    const section = /^## 7\.[\s\S]*?(?=^## 8\.)/m.exec(read('docs/PROTOCOL.md'))?.[0] ?? '';
    const said = new Set<string>();
    for (const [names = '', values = ''] of rows(section)) {
      const parts = values.split(/\s*[,/]\s*(?![^(]*\))/);
      for (const [index, option] of found(names, /`(\w+)`/g).entries()) {
        said.add(option);
        const [, usual = '', others = ''] = /^(\S+)(?: \((.*)\))?/.exec(parts[index] ?? '') ?? [];
        const own = new Map(
          [...others.matchAll(/(?:pane )?([a-z]+(?:, [a-z]+)*):? (\w+)/g)].flatMap(([, whose = '', value]) =>
            whose.split(', ').map((name) => [name, value] as const),
          ),
        );
        for (const { name, options } of panes)
          if (option in options)
            expect([name, option, own.get(name) ?? usual]).toEqual([name, option, String(options[option])]);
      }
    }
    expect([...said].sort()).toEqual(all);
  });
});

describe('OPERATIONS', () => {
  const text = read('docs/OPERATIONS.md');
  const config = resolveConfig(undefined, {}, {}, root);

  test('names every key of the configuration, and its default where that is a number', () => {
    const table = new Map(
      rows(text).flatMap(([key = '', value = '']) => found(key, /`([\w.]+)`/g).map((name) => [name, value] as const)),
    );
    const schema: Schema = JSON.parse(JSON.stringify(toJSONSchema(fileSchema, { io: 'input' })));
    for (const [section, { properties }] of Object.entries(schema.properties ?? {})) {
      if (section === 'panes') continue;
      const keys = properties === undefined ? [section] : Object.keys(properties).map((key) => `${section}.${key}`);
      for (const key of keys) {
        if (key === 'limits.hosts') expect(text).toContain('`limits.hosts.<origin>`');
        else expect([...table.keys()]).toContain(key);
        const value: unknown = key.split('.').reduce<unknown>((at, name) => Reflect.get(Object(at), name), config);
        if (typeof value === 'number') expect([key, table.get(key)]).toEqual([key, String(value)]);
      }
    }
    expect(table.get('limits.default')).toBe(
      `\`${JSON.stringify(config.limits.default).replaceAll(':', ': ').replaceAll(',', ', ').replaceAll('"minInt', '"minInt')}\``,
    );
  });

  test('environment variables and flags are those of the code', () => {
    const code = sources.filter((file) => file.startsWith('src/server/')).map(read);
    const known = unique(code.flatMap((source) => found(source, /'((?:MULLION|OPENAI)_[A-Z_]+)'/g)));
    expect(unique(found(text, /\b((?:MULLION|OPENAI)_[A-Z_]+)/g))).toEqual(known);
    for (const page of pages)
      for (const name of found(read(page), /\b((?:MULLION|OPENAI)_[A-Z_]+)/g)) expect(known, page).toContain(name);
    const cli = read('src/server/cli.ts');
    const flags = found(cli.slice(0, cli.indexOf('export function parseArguments')), /^ +'?([a-z-]+)'?: \{ value:/gm);
    expect(unique(found(text, /`--([a-z-]+)`/g))).toEqual(unique(flags));
  });

  test('metrics are those that are registered', () => {
    const metrics = createMetrics({ eventLoop: false });
    const registered = found(metrics.registry.render(), /^# TYPE (\S+)/gm);
    metrics.close();
    const pattern = /\b((?:mullion|process|nodejs)_[a-z_]+)/g;
    expect(unique(found(text, pattern))).toEqual(unique(registered));
    for (const name of found(read('docs/ARCHITECTURE.md'), pattern)) expect(registered).toContain(name);
  });
});

interface Schema {
  properties?: { [name: string]: Schema };
}

describe('image engines', () => {
  test('the configurations of ENGINES are taken', () => {
    const blocks = found(read('docs/ENGINES.md'), /^```json\n([\s\S]*?)^```$/gm);
    expect(blocks.length).toBeGreaterThanOrEqual(3);
    for (const block of blocks) {
      const checked = checkFile(JSON.parse(block), 'ENGINES');
      expect(checked).not.toHaveProperty('problems');
      if ('file' in checked)
        expect(resolveConfig({ ...checked, name: 'ENGINES', folder: undefined }, {}, {}, root).warnings).toEqual([]);
    }
  });

  const { engines } = JSON.parse(JSON.stringify(toJSONSchema(fileSchema, { io: 'input' }))).properties.image.properties;
  const names: string[] = engines.items.properties.engine.enum;

  test('each has a section of ENGINES, its line in OPERATIONS, and its usual address there', () => {
    const text = read('docs/ENGINES.md');
    expect(names).toContain('comfyui');
    for (const name of names) {
      expect(text).toContain(`\`${name}\``);
      expect(read('docs/OPERATIONS.md')).toContain(name);
    }
    for (const image of [{ engine: 'a1111' as const }, { engine: 'comfyui' as const, checkpoint: 'one' }]) {
      const [config] = resolveConfig({ file: { image }, name: 'config', folder: undefined }, {}, {}, root).image
        .engines;
      expect(text).toContain('baseUrl' in config ? config.baseUrl : 'an address');
    }
  });
});

describe('bounds', () => {
  const architecture = read('docs/ARCHITECTURE.md');

  test('that ARCHITECTURE names have the numbers of the code', () => {
    const known: { [name: string]: unknown } = {
      ...resolveConfig(undefined, {}, {}, root).limits,
      ...limits,
      maxOpenMessages,
      maxReplayRecords,
      maxHosts,
      maxPictures,
      maxChapters,
      maxPromptUnits,
      maxMatchUnits,
      maxRememberedPictures,
      maxExportsAtOnce,
      maxAside,
    };
    const named = [
      ...architecture.matchAll(/\b(?<value>\d+) \(`(?<name>max\w+)`\)/g),
      ...architecture.matchAll(/`(?<name>[a-z]\w+)` (?<value>\d+)\b/g),
    ].flatMap(({ groups }) => (groups !== undefined && (groups['name'] ?? '') in known ? [groups] : []));
    expect(named.length).toBeGreaterThanOrEqual(20);
    for (const { name = '', value } of named) expect([name, value]).toEqual([name, String(known[name])]);
  });

  test('that it names without a name have them too', () => {
    const mib = (bytes: number): string => `${bytes / 1_048_576} MiB`;
    const { maxBytes, maxOneBytes, maxCount } = previewBounds;
    expect(architecture).toContain(`${mib(maxBytes)} in all, ${mib(maxOneBytes)} each, ${maxCount}`);
    expect(architecture).toContain(
      `${mib(transcriptBounds.maxBytes)} of messages, ${mib(maxChapterBytes)} of chapters`,
    );
    const { quietMs, maxWaitMs, maxWaiting } = exporterDefaults;
    expect(architecture).toContain(
      `${maxWaiting} sessions; ${quietMs / 1_000} s of quiet, ${maxWaitMs / 1_000} s at most`,
    );
    expect(architecture).toContain(`10 records a second (one each ${reportEveryMs} ms)`);
    expect(architecture).toContain(`${settleMs / 1_000} s after an abort`);
  });

  test('that PROTOCOL names have them too', () => {
    const protocol = read('docs/PROTOCOL.md');
    expect(protocol).toContain(`At most ${maxOpenMessages} messages are written at a time`);
    expect(protocol).toContain(`${limits.maxQueuedRuns} queued runs: OVERLOADED`);
    expect(protocol).toContain(`at most ${limits.maxTextUnits} UTF-16 units`);
    expect(protocol).toContain(`${limits.maxDepth} levels of nesting and ${limits.maxKeys} keys`);
    expect(protocol).toContain(`more than ${maxReplayRecords} records behind`);
    expect(protocol).toContain(`newest that fit in ${limits.viewMessages} messages`);
    expect(protocol).toContain(`the ${limits.maxParts} committed last`);
    expect(protocol).toContain(`a value has at most ${limits.maxPartBytes / 1_024} KiB`);
    expect(protocol).toContain(
      `At most ${limits.maxTasks} tasks in a run (illustrations ${maxPictures}, chapters ${maxChapters})`,
    );
  });
});
