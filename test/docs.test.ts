import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { toJSONSchema } from 'zod';
import { maxOpenMessages } from '../src/machines/decide-message.ts';
import { builtInPanes } from '../src/panes/index.ts';
import { limits } from '../src/protocol/names.ts';
import { fileSchema } from '../src/server/config/config-schema.ts';
import { resolveConfig } from '../src/server/config/config.ts';
import { defaultPaneOptions } from '../src/server/sessions/pane-registry.ts';
import { maxReplayRecords } from '../src/server/sessions/subscription.ts';
import { createMetrics } from '../src/server/telemetry.ts';

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

  test('P1 to P9 stand in the titles of the files that are named', () => {
    const law = rules.filter(({ id }) => /^P\d$/.test(id));
    expect(law).toHaveLength(9);
    for (const { id, text } of law)
      for (const file of found(text, /`(test\/[^`]+)`/g)) expect(read(file), file).toContain(`[${id}]`);
  });
});

describe('options of panes', () => {
  const merged = builtInPanes.map(({ name, options }) => ({ name, options: { ...defaultPaneOptions, ...options } }));

  test('the tables of the README say the defaults of the code', () => {
    const text = read('README.md');
    const [, list = ''] = text.split('## Panes');
    const said = Object.fromEntries(rows(list).map(([name = '', value = '']) => [name.replaceAll('`', ''), value]));
    for (const [name, value] of Object.entries(defaultPaneOptions)) expect(said[name], name).toBe(String(value));
    const table = rows(list);
    const [head = []] = table;
    for (const { name, options } of merged) {
      const row = table.find(([cell]) => cell === `\`${name}\``) ?? [];
      const stages = builtInPanes.find((pane) => pane.name === name)?.stages.map((stage) => stage.name);
      expect(row[1], name).toBe(stages?.join(', '));
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
          [...others.matchAll(/(?:pane )?([a-z]+):? (\w+)/g)].map((match) => [match[1], match[2]] as const),
        );
        for (const { name, options } of merged)
          expect([name, option, own.get(name) ?? usual]).toEqual([name, option, String(Reflect.get(options, option))]);
      }
    }
    expect([...said].sort()).toEqual(Object.keys(defaultPaneOptions).sort());
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

describe('bounds', () => {
  const architecture = read('docs/ARCHITECTURE.md');

  test('that ARCHITECTURE names have the numbers of the code', () => {
    const known: { [name: string]: unknown } = {
      ...resolveConfig(undefined, {}, {}, root).limits,
      ...limits,
      maxOpenMessages,
      maxReplayRecords,
    };
    const named = [
      ...architecture.matchAll(/\b(?<value>\d+) \(`(?<name>max\w+)`\)/g),
      ...architecture.matchAll(/`(?<name>[a-z]\w+)` (?<value>\d+)\b/g),
    ].flatMap(({ groups }) => (groups !== undefined && (groups['name'] ?? '') in known ? [groups] : []));
    expect(named.length).toBeGreaterThanOrEqual(11);
    for (const { name = '', value } of named) expect([name, value]).toEqual([name, String(known[name])]);
  });

  test('that PROTOCOL names have them too', () => {
    const protocol = read('docs/PROTOCOL.md');
    expect(protocol).toContain(`At most ${maxOpenMessages} messages are written at a time`);
    expect(protocol).toContain(`${limits.maxQueuedRuns} queued runs: OVERLOADED`);
    expect(protocol).toContain(`at most ${limits.maxTextUnits} UTF-16 units`);
    expect(protocol).toContain(`${limits.maxDepth} levels of nesting and ${limits.maxKeys} keys`);
    expect(protocol).toContain(`more than ${maxReplayRecords} records behind`);
    expect(protocol).toContain(`newest that fit in ${limits.viewMessages} messages`);
  });
});
