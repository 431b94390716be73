import type { PaneOptions } from '../../protocol/records.ts';
import { resolve } from 'node:path';
import type { ConfigFile, LogLevel } from './config-schema.ts';
import { type LoadedFile, readConfigFile } from './config-file.ts';
import { ConfigError } from './config-error.ts';
import { type ImageConfig, resolveImage, secretsOfImage, trimmed, warningsOfImage } from './config-image.ts';
import { type Environment, type Flags, Overrides } from './config-overrides.ts';
import { compilePatterns } from '../../panes/illustrations/patterns.ts';
import { scenePane } from '../../panes/scene.ts';
import { edgeDefaults } from '../transport/edge.ts';
import type { HostLimit } from '../limits/limits.ts';

export { ConfigError };
export type { Environment, Flags, ImageConfig, LogLevel };
export type { ImageEngineConfig } from './config-image.ts';

/** Models by stage; `default` serves the stages that are not named. */
export interface TextModels {
  readonly default: string;
  readonly [stage: string]: string;
}

/** The text engine. */
export type TextConfig =
  | { readonly engine: 'offline' }
  | {
      readonly engine: 'openai';
      readonly baseUrl: string;
      readonly apiKey: string | null;
      readonly models: TextModels;
    };

/** What the configuration says of one pane: only what differs from its defaults. `systemPrompt` in `reply` only, `patterns` in `illustrations` only. */
export type PaneConfig = Partial<PaneOptions> & { systemPrompt?: string; patterns?: readonly string[] };

/** Bounds of one server. */
export interface LimitsConfig {
  /** By origin of the provider. */
  readonly hosts: { readonly [origin: string]: HostLimit };
  /** Provider hosts that are not named. */
  readonly default: HostLimit;
  /** Most calls waiting per provider host. */
  readonly maxWaiting: number;
  readonly maxSessions: number;
  readonly outboxBytes: number;
  readonly maxFrameBytes: number;
  readonly passivateAfterMs: number;
  readonly maxConnections: number;
  /** Per connection. */
  readonly maxSubscriptions: number;
  /** Commands of one connection that wait for their answer. */
  readonly maxInFlight: number;
  /** Per connection. */
  readonly framesPerSecond: number;
}

/** The configuration of one server: checked, every default filled in, frozen through and through. */
export interface Config {
  readonly server: { readonly host: string; readonly port: number };
  /** Absolute path of the data folder. */
  readonly data: string;
  readonly text: TextConfig;
  readonly image: ImageConfig;
  readonly panes: { readonly [name: string]: Readonly<PaneConfig> };
  readonly limits: LimitsConfig;
  /** No tokens = everybody on this machine may. `origins`: other origins than our own that browsers may come from. */
  readonly auth: { readonly tokens: readonly string[]; readonly origins: readonly string[] };
  readonly log: { readonly level: LogLevel };
  /** Absolute path of the folder in which each session is kept as a Markdown file; null = none. */
  readonly export: { readonly dir: string | null };
  /** What was understood and is probably not what was meant: to be logged at the start. */
  readonly warnings: readonly string[];
}

/**
 * Reads `mullion.config.json` or `.mjs` (or `flags.config`) from `cwd` and lets environment and flags override it. Rejects with
 * ConfigError, which lists every problem found.
 */
export async function loadConfig(flags: Flags, env: Environment, cwd: string): Promise<Config> {
  return resolveConfig(await readConfigFile(flags.config, cwd), flags, env, cwd);
}

const nothing: LoadedFile = { file: {}, name: 'no file', folder: undefined };

/** The configuration from a checked file, environment and flags; reads nothing but the files of workflows. Throws ConfigError with every problem found. */
export function resolveConfig(loaded: LoadedFile | undefined, flags: Flags, env: Environment, cwd: string): Config {
  const { file, folder } = loaded ?? nothing;
  const problems: string[] = [];
  const read = new Overrides(flags, env, problems);
  const tokens = read.token(file.auth?.tokens ?? []);
  const warnings: string[] = [];
  const text = resolveText(file.text ?? {}, read, problems, warnings);
  const config: Config = {
    server: {
      host: read.text('--host', 'MULLION_HOST') ?? file.server?.host ?? '127.0.0.1',
      port: read.port() ?? file.server?.port ?? 4747,
    },
    data: pathOf(read.text('--data', 'MULLION_DATA'), file.data, folder ?? cwd, cwd) ?? resolve(cwd, '.mullion'),
    text,
    image: resolveImage(file.image ?? {}, {
      read,
      shared: () => addressOf(text, read),
      folder: folder ?? cwd,
      problems,
    }),
    panes: Object.fromEntries(Object.entries(file.panes ?? {}).map(([name, pane]) => [name, defined(pane)])),
    limits: resolveLimits(file.limits ?? {}),
    auth: { tokens, origins: (file.auth?.origins ?? []).map((origin) => new URL(origin).origin) },
    log: { level: read.logLevel() ?? file.log?.level ?? 'info' },
    export: { dir: pathOf(read.text('--export', 'MULLION_EXPORT'), file.export?.dir, folder ?? cwd, cwd) ?? null },
    warnings,
  };
  checkPatterns(config.panes['illustrations']?.patterns, problems);
  warnings.push(...warningsOfImage(config.image, config.panes['scene']?.timeoutMs ?? scenePane.options?.timeoutMs));
  if (tokens.length === 0 && !isLoopback(config.server.host)) {
    problems.push(
      `server.host: expected a loopback address (127.0.0.1, ::1, localhost) or a token, got "${config.server.host}" and no token: ` +
        'anybody who reaches this address could read and steer every session. Set MULLION_TOKEN or auth.tokens.',
    );
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return deepFreeze(config);
}

/** Every text of the configuration that must not be seen: tokens, keys, passwords. Those under 4 characters are placeholders of local servers. */
export function secretsOf(config: Config): string[] {
  const { text, image } = config;
  const keys = text.engine === 'openai' && text.apiKey !== null ? [text.apiKey] : [];
  const provided = [...keys, ...secretsOfImage(image)].filter((secret) => secret.length >= 4);
  return [...new Set([...config.auth.tokens, ...provided])];
}

/** True for addresses that only this machine reaches. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  return bare === 'localhost' || bare === '::1' || /^127(?:\.\d{1,3}){3}$/.test(bare);
}

const openai = 'https://api.openai.com/v1';

function resolveText(
  file: NonNullable<ConfigFile['text']>,
  read: Overrides,
  problems: string[],
  warnings: string[],
): TextConfig {
  const named = read.text(undefined, 'MULLION_TEXT_MODEL');
  // The file's word "offline" is a choice, not a default: an OPENAI_API_KEY that lies about in the shell does not undo it, our own
  // variable does.
  if (file.engine === 'offline' && named === undefined) {
    for (const key of ['baseUrl', 'apiKey', 'models'] as const)
      if (file[key] !== undefined)
        problems.push(`text.${key}: expected only with "engine": "openai", got it with "offline"`);
    return { engine: 'offline' };
  }
  const baseUrl = read.baseUrl() ?? file.baseUrl;
  const apiKey = read.text(undefined, 'OPENAI_API_KEY') ?? file.apiKey;
  const model = named ?? file.models?.['default'];
  const asked = file.engine ?? baseUrl ?? apiKey ?? model ?? file.models;
  if (asked === undefined) return { engine: 'offline' };
  if (model === undefined && Object.keys(file).length === 0) {
    // A key that lies about in the shell for other programs must not keep this one from starting.
    warnings.push(
      'OPENAI_BASE_URL or OPENAI_API_KEY is set, but no model: set MULLION_TEXT_MODEL to use it. Running offline.',
    );
    return { engine: 'offline' };
  }
  if (model === undefined) {
    problems.push(
      `text.models.default: expected the name of a model of ${(baseUrl ?? openai).replace(/\/\/.*@/, '//')}, got none. ` +
        'Set MULLION_TEXT_MODEL or text.models.default; "text": {"engine": "offline"} does without a model.',
    );
  }
  return {
    engine: 'openai',
    baseUrl: trimmed(baseUrl ?? openai),
    apiKey: apiKey ?? null,
    models: { ...file.models, default: model ?? '' },
  };
}

function checkPatterns(patterns: readonly string[] | undefined, problems: string[]): void {
  if (patterns === undefined) return;
  try {
    compilePatterns(patterns);
  } catch (error) {
    problems.push(`panes.illustrations.patterns: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Where image engines find the backend of the text engine. */
function addressOf(text: TextConfig, read: Overrides): { baseUrl: string; apiKey: string | null } {
  if (text.engine === 'openai') return text;
  return { baseUrl: read.baseUrl() ?? openai, apiKey: read.text(undefined, 'OPENAI_API_KEY') ?? null };
}

function resolveLimits(file: NonNullable<ConfigFile['limits']>): LimitsConfig {
  const hosts: { [origin: string]: HostLimit } = {};
  for (const [origin, limit] of Object.entries(file.hosts ?? {})) hosts[new URL(origin).origin] = hostLimit(limit);
  return {
    hosts,
    default: hostLimit(file.default ?? { concurrency: 4 }),
    maxWaiting: file.maxWaiting ?? 1000,
    maxSessions: file.maxSessions ?? 100_000,
    outboxBytes: file.outboxBytes ?? edgeDefaults.outboxBytes,
    maxFrameBytes: file.maxFrameBytes ?? edgeDefaults.maxFrameBytes,
    passivateAfterMs: file.passivateAfterMs ?? 60_000,
    maxConnections: file.maxConnections ?? edgeDefaults.maxConnections,
    maxSubscriptions: file.maxSubscriptions ?? edgeDefaults.maxSubscriptions,
    maxInFlight: file.maxInFlight ?? edgeDefaults.maxInFlight,
    framesPerSecond: file.framesPerSecond ?? edgeDefaults.framesPerSecond,
  };
}

const hostLimit = ({ concurrency, ...given }: HostLimitSection): HostLimit => ({
  concurrency,
  minIntervalMs: given.minIntervalMs ?? 0,
  requestsPerMinute: given.requestsPerMinute ?? null,
  tokensPerMinute: given.tokensPerMinute ?? null,
});

type HostLimitSection = NonNullable<NonNullable<ConfigFile['limits']>['default']>;

/** A path in the file counts from the file's folder, one typed in the shell from the current one. */
function pathOf(
  typed: string | undefined,
  inFile: string | undefined,
  folder: string,
  cwd: string,
): string | undefined {
  if (typed !== undefined) return resolve(cwd, typed);
  return inFile === undefined ? undefined : resolve(folder, inFile);
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** The object without keys that hold undefined (an .mjs file may have them). */
function defined<T extends object>(object: T): Defined<T> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- fromEntries forgets the keys; the filter makes the type true
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Defined<T>;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(deepFreeze);
  return Object.freeze(value);
}
