import { z } from 'zod';
import { paneOptionsSchema } from '../../protocol/commands.ts';
import { limits, panePattern } from '../../protocol/names.ts';
import { hostLimitBounds, maxHosts } from '../limits/host-limit.ts';

/** An object without other keys; the error of an unknown one names the known ones. */
function section<S extends z.core.$ZodLooseShape>(shape: S) {
  const known = Object.keys(shape).join(', ');
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? `one of the known keys (${known})` : undefined),
  });
}

const whole = (min: number, max: number) =>
  z
    .number({ error: `a whole number from ${min} to ${max}` })
    .refine((value) => Number.isInteger(value) && value >= min && value <= max, {
      error: `a whole number from ${min} to ${max}`,
    });

const filled = z.string({ error: 'a text that is not empty' }).refine((text) => text.trim() !== '', {
  error: 'a text that is not empty',
});

/** Why `text` is no base URL of an API; undefined when it is one. */
export function baseUrlProblem(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    return 'an http or https URL such as http://127.0.0.1:11434/v1';
  // A password in a URL would get into logs and error messages of libraries.
  return url.username !== '' || url.password !== ''
    ? 'a URL without user name and password (the key goes into apiKey)'
    : undefined;
}

const baseUrl = filled.superRefine((text, context) => {
  const problem = baseUrlProblem(text);
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
});

/** A scheme with host and port and nothing behind it. */
export function isOrigin(text: string): boolean {
  return URL.canParse(text) && /^https?:\/\/[^/?#@]+\/?$/.test(text);
}

const origin = filled.refine(isOrigin, { error: 'an origin such as https://app.example, without a path' });

/** Bearer tokens: what fits in a header, and is long enough to be told from ordinary words when logs are scrubbed. */
export const tokenPattern = /^[\x21-\x7e]{4,512}$/;
/** The same in words. */
export const tokenExpectation = '4 to 512 printable ASCII characters without spaces';
const token = z.string({ error: tokenExpectation }).regex(tokenPattern, { error: tokenExpectation });

const hostLimit = section({
  concurrency: whole(...hostLimitBounds.concurrency),
  minIntervalMs: whole(...hostLimitBounds.minIntervalMs).optional(),
  requestsPerMinute: whole(...hostLimitBounds.requestsPerMinute).optional(),
  tokensPerMinute: whole(...hostLimitBounds.tokensPerMinute).optional(),
});

const pane = section({
  ...paneOptionsSchema.shape,
  systemPrompt: filled.optional(),
  patterns: z.array(z.string()).optional(),
});

/** Levels of the log, most talkative first. */
export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
/** From this level on lines are written; silent = none. */
export type LogLevel = (typeof logLevels)[number];

const number = (min: number, max: number) => {
  const error = `a number from ${min} to ${max}`;
  return z.number({ error }).min(min, { error }).max(max, { error });
};

/** Most image engines in a chain. */
const maxImageEngines = 4;
const listOfEngines = `a list of 1 to ${maxImageEngines} engines`;

const imageSize = 'WIDTHxHEIGHT in pixels, such as 1536x1024';

const stage = /^[a-z][a-z0-9_-]{0,31}$/;
const engine = <const E extends [string, ...string[]]>(...names: E) =>
  z.enum(names, { error: `one of ${names.join(', ')}` });

/** One image engine. Which keys belong to which engine is checked when the section is resolved. */
const imageEngine = {
  engine: engine('offline', 'none', 'openai', 'a1111', 'comfyui').optional(),
  baseUrl: baseUrl.optional(),
  apiKey: filled.optional(),
  auth: section({
    user: filled.refine((user) => !user.includes(':'), { error: 'a name without a colon' }),
    password: filled,
  }).optional(),
  model: filled.optional(),
  checkpoint: filled.optional(),
  workflow: z
    .union([filled, z.record(z.string(), z.unknown())], { error: 'the path of a JSON file, or the workflow itself' })
    .optional(),
  size: z
    .string({ error: imageSize })
    .regex(/^(?:[1-9]\d{1,3}x[1-9]\d{1,3}|auto)$/, { error: imageSize })
    .optional(),
  partialImages: whole(0, 3).optional(),
  steps: whole(1, 1_000).optional(),
  cfgScale: number(0, 100).optional(),
  sampler: filled.optional(),
  scheduler: filled.optional(),
  negativePrompt: filled.optional(),
};

/** The configuration file. Every key optional, unknown ones refused; messages say what was expected. */
export const fileSchema = section({
  server: section({ host: filled.optional(), port: whole(0, 65_535).optional() }).optional(),
  data: filled.optional(),
  text: section({
    engine: engine('offline', 'openai').optional(),
    baseUrl: baseUrl.optional(),
    apiKey: filled.optional(),
    models: z.record(z.string().regex(stage, { error: 'the name of a stage, such as "evaluate"' }), filled).optional(),
  }).optional(),
  image: section({
    ...imageEngine,
    engines: z
      .array(section(imageEngine), { error: listOfEngines })
      .min(1, { error: listOfEngines })
      .max(maxImageEngines, { error: listOfEngines })
      .optional(),
    tryTimeoutMs: whole(1_000, 3_600_000).optional(),
  }).optional(),
  panes: z
    .record(z.string().regex(panePattern, { error: 'a lower-case pane name such as "history"' }), pane)
    .refine((panes) => Object.keys(panes).length <= limits.maxPanes, { error: `at most ${limits.maxPanes} panes` })
    .refine(
      (panes) => Object.entries(panes).every(([name, own]) => name === 'reply' || own.systemPrompt === undefined),
      {
        error: 'systemPrompt in the pane "reply" only',
      },
    )
    .refine(
      (panes) => Object.entries(panes).every(([name, own]) => name === 'illustrations' || own.patterns === undefined),
      { error: 'patterns in the pane "illustrations" only' },
    )
    .optional(),
  limits: section({
    hosts: z
      .record(origin, hostLimit)
      .refine((hosts) => Object.keys(hosts).length <= maxHosts, { error: `at most ${maxHosts} hosts` })
      .optional(),
    default: hostLimit.optional(),
    maxWaiting: whole(1, 100_000).optional(),
    maxSessions: whole(1, 10_000_000).optional(),
    outboxBytes: whole(16_384, 1_073_741_824).optional(),
    maxFrameBytes: whole(1024, 16_777_216).optional(),
    passivateAfterMs: whole(0, 86_400_000).optional(),
    maxConnections: whole(1, 1_000_000).optional(),
    maxSubscriptions: whole(1, 10_000).optional(),
    maxInFlight: whole(1, 10_000).optional(),
    framesPerSecond: whole(1, 1_000_000).optional(),
  }).optional(),
  auth: section({ tokens: z.array(token).optional(), origins: z.array(origin).optional() }).optional(),
  log: section({ level: engine(...logLevels).optional() }).optional(),
  export: section({ dir: filled.optional() }).optional(),
});

/** The content of a configuration file, checked. */
export type ConfigFile = z.infer<typeof fileSchema>;

/** Checks the content of a configuration file; a list of problems when it is not one. No problem contains the value of a secret. */
export function checkFile(content: unknown, name: string): { file: ConfigFile } | { problems: string[] } {
  const result = fileSchema.safeParse(content);
  if (result.success) return { file: result.data };
  return {
    problems: result.error.issues.flatMap((issue) => describe(issue, content).map((text) => `${name}: ${text}`)),
  };
}

function describe(issue: z.core.$ZodIssue, content: unknown): string[] {
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map(
      (key) => `${[...path, key].join('.')}: expected ${issue.message}, got the unknown key "${key}"`,
    );
  if (issue.code === 'invalid_key')
    return [`${path.join('.')}: expected ${issue.issues[0]?.message ?? issue.message}, got "${path.at(-1) ?? ''}"`];
  const where = path.length === 0 ? 'the file' : path.join('.');
  return [`${where}: expected ${expectation(issue)}, got ${shown(path, valueAt(content, issue.path))}`];
}

/** Our own schemas say in `message` what was expected; the rest are the library's (sections, and pane options of the protocol). */
function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.message.startsWith('Invalid input') ? (typeNames[issue.expected] ?? issue.expected) : issue.message;
    case 'invalid_value':
      return issue.message.startsWith('Invalid') ? `one of ${issue.values.join(', ')}` : issue.message;
    case 'too_big':
      return issue.message.startsWith('Too') ? `at most ${issue.maximum}` : issue.message;
    case 'too_small':
      return issue.message.startsWith('Too') ? `at least ${issue.minimum}` : issue.message;
    case 'invalid_format':
    case 'not_multiple_of':
    case 'unrecognized_keys':
    case 'invalid_union':
    case 'invalid_key':
    case 'invalid_element':
    case 'custom':
      return issue.message;
  }
}

const typeNames: { [type: string]: string } = {
  object: 'an object',
  record: 'an object',
  array: 'a list',
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

const secretKeys = ['apiKey', 'password', 'tokens', 'token'];

/** A value as an error shows it: shortened, and never a secret's (nor a URL's, which may hold a password). */
function shown(path: readonly string[], value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  const isSecret = path.some((key) => secretKeys.includes(key)) || path.at(-1) === 'auth';
  if (isSecret && typeof value === 'string') return `another text of ${value.length} characters (not shown)`;
  if (isSecret) return `a ${typeof value} (not shown)`;
  if (typeof value !== 'string')
    return typeof value === 'function' ? 'a function' : (JSON.stringify(value) ?? typeof value);
  if (value.includes('@')) return 'another text (not shown)';
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
}

function valueAt(content: unknown, path: readonly PropertyKey[]): unknown {
  let value: unknown = content;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}
