import { parseArgs } from 'node:util';
import type { Flags } from './config/config.ts';

/** What the command line asks for. */
export type CliCommand =
  | { command: 'serve'; flags: Flags }
  | { command: 'check'; flags: Flags }
  | ReplayCommand
  | { command: 'version' }
  | { command: 'help'; text: string }
  /** To be printed on stderr; then exit with `exitCode`. */
  | { command: 'refused'; message: string; exitCode: 2 };

/** `mullion replay FILE`. */
export interface ReplayCommand {
  command: 'replay';
  file: string;
  /** A running server; absent = one in this process. */
  url?: string;
  token?: string;
  /** Absent = a new one. */
  session?: string;
  /** Pause between messages, in ms. */
  delayMs: number;
  /** In Markdown: whose lines are the user's. */
  user?: string;
  flags: Flags;
}

type Name = 'serve' | 'check' | 'replay';

interface Option {
  value: string;
  about: string;
}

const shared: { [flag: string]: Option } = {
  config: { value: 'FILE', about: 'configuration (default: mullion.config.json or .mjs here)' },
  data: { value: 'FOLDER', about: 'where everything is kept (default: .mullion)' },
  'log-level': { value: 'LEVEL', about: 'debug, info, warn, error or silent (default: info)' },
};

const exported: { [flag: string]: Option } = {
  export: { value: 'DIR', about: 'keep each session there as a Markdown file (default: nowhere)' },
};

const commands: { [N in Name]: { usage: string; about: string; options: { [flag: string]: Option } } } = {
  serve: {
    usage: 'serve',
    about: 'run the server',
    options: {
      host: { value: 'ADDRESS', about: 'where to listen (default: 127.0.0.1)' },
      port: { value: 'NUMBER', about: '0 = any free one (default: 4747)' },
      ...exported,
      ...shared,
    },
  },
  check: { usage: 'check', about: 'ask every configured engine whether it works', options: shared },
  replay: {
    usage: 'replay FILE',
    about: 'feed a chat (SillyTavern .jsonl, OpenAI messages .json, Markdown) into a session and watch its panes',
    options: {
      url: { value: 'URL', about: 'a running server (default: one in this process)' },
      token: { value: 'TOKEN', about: 'for that server (default: MULLION_TOKEN)' },
      session: { value: 'NAME', about: 'which session (default: a new one)' },
      delay: { value: 'MS', about: 'pause between messages (default: 0)' },
      user: { value: 'NAME', about: "in Markdown: whose lines are the user's (default: the first name)" },
      ...exported,
      ...shared,
    },
  },
};

/**
 * What `argv` (without node and script) asks for. Pure, never throws. By node's own parser: cac, like most, turns what looks like a number
 * into one, and a token 007 is not 7.
 */
export function parseArguments(argv: readonly string[]): CliCommand {
  const [first, ...rest] = argv;
  if (first === undefined || first === 'help' || first === '--help' || first === '-h')
    return { command: 'help', text: help() };
  if (first === 'version' || first === '--version' || first === '-v') return { command: 'version' };
  if (!isName(first)) {
    const what = first.startsWith('-') ? `the option ${first}` : `"${first}"`;
    return refuse(`expected a command (${Object.keys(commands).join(', ')}), got ${what}`);
  }
  const parsed = split(first, rest);
  if ('command' in parsed) return parsed;
  if (parsed.help) return { command: 'help', text: help(first) };
  return build(first, parsed.values, parsed.operands);
}

const isName = (text: string): text is Name => Object.hasOwn(commands, text);

interface Values {
  readonly [flag: string]: string | undefined;
}

function split(name: Name, argv: string[]): { help: boolean; values: Values; operands: string[] } | CliCommand {
  const known = commands[name].options;
  const options = Object.fromEntries(Object.keys(known).map((flag) => [flag, { type: 'string' as const }]));
  const { tokens } = parseArgs({
    args: argv,
    options: { ...options, help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const values: { [flag: string]: string } = {};
  const operands: string[] = [];
  let helps = false;
  for (const token of tokens) {
    if (token.kind === 'positional') operands.push(token.value);
    if (token.kind !== 'option') continue;
    if (token.name === 'help') helps = true;
    else if (!Object.hasOwn(known, token.name))
      return refuse(`${name}: expected one of ${flagList(name)}, got the unknown option ${token.rawName}`);
    else if (token.value === undefined || token.value === '' || (!token.inlineValue && token.value.startsWith('--')))
      return refuse(`${name}: expected --${token.name} ${known[token.name]?.value ?? ''}, got no value`);
    else if (Object.hasOwn(values, token.name)) return refuse(`${name}: expected --${token.name} once, got it twice`);
    else values[token.name] = token.value;
  }
  return { help: helps, values, operands };
}

function build(name: Name, values: Values, operands: readonly string[]): CliCommand {
  const most = name === 'replay' ? 1 : 0;
  const extra = operands[most];
  if (extra !== undefined)
    return refuse(`${name}: expected ${most === 0 ? 'no arguments' : 'one FILE'}, got also "${extra}"`);
  const flags = present({
    host: values['host'],
    port: values['port'],
    data: values['data'],
    config: values['config'],
    logLevel: values['log-level'],
    export: values['export'],
  });
  if (name !== 'replay') return { command: name, flags };
  const [file] = operands;
  if (file === undefined) return refuse('replay: expected a FILE, got none');
  const delay = values['delay'] ?? '0';
  if (!/^\d{1,7}$/.test(delay)) return refuse(`replay: expected --delay in whole ms, got "${delay}"`);
  const { url, token, session, user } = values;
  const refusal = replayRefusal(url, session);
  return (
    refusal ?? { command: 'replay', file, delayMs: Number(delay), flags, ...present({ url, token, session, user }) }
  );
}

function replayRefusal(url: string | undefined, session: string | undefined): CliCommand | undefined {
  if (url !== undefined && !(URL.canParse(url) && /^(?:https?|wss?):$/.test(new URL(url).protocol)))
    return refuse(`replay: expected --url such as http://127.0.0.1:4747, got "${url}"`);
  if (session !== undefined && !/^[A-Za-z0-9_-]{1,64}$/.test(session))
    return refuse(`replay: expected --session of 1 to 64 characters A-Z a-z 0-9 _ -, got "${session}"`);
  return undefined;
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The object without keys that hold undefined. */
function present<T extends { [key: string]: string | undefined }>(object: T): Present<T> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- fromEntries forgets the keys; the filter makes the type true
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Present<T>;
}

const flagList = (name: Name): string =>
  Object.keys(commands[name].options)
    .map((flag) => `--${flag}`)
    .join(', ');

function refuse(message: string): CliCommand {
  return { command: 'refused', message: `${message}\nmullion --help lists what there is.`, exitCode: 2 };
}

function help(only?: Name): string {
  const lines = [`mullion ${only ?? 'COMMAND'} [options]`, ''];
  for (const [name, { usage, about, options }] of Object.entries(commands)) {
    if (only !== undefined && name !== only) continue;
    lines.push(`  mullion ${usage}`, `      ${about}`);
    for (const [flag, option] of Object.entries(options))
      lines.push(`      ${`--${flag} ${option.value}`.padEnd(20)} ${option.about}`);
    lines.push('');
  }
  return [...lines, '  mullion --version', '  mullion --help'].join('\n');
}
