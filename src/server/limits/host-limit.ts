import { z } from 'zod';

/** What one provider host can take. */
export interface HostLimit {
  /** Calls at the same time, at least 1; those that drain count. */
  concurrency: number;
  /** Least time between two starts, in ms; 0 = none. */
  minIntervalMs: number;
  /** Most starts within any minute; null = as many as come. */
  requestsPerMinute: number | null;
  /**
   * Tokens within any minute, as the backend counted them: from this many on nothing starts until some of them are a minute old. Nobody
   * knows before what a call will cost, so the last one may go over; what a backend does not count, counts nothing. null = any number.
   */
  tokensPerMinute: number | null;
}

/** A limit before its defaults: no rates. */
export type HostLimitOptions = Pick<HostLimit, 'concurrency' | 'minIntervalMs'> & Partial<HostLimit>;

/** New values for one host; what is absent stays. */
export type HostLimitChange = { [K in keyof HostLimit]?: HostLimit[K] | undefined };

/** Why something was refused: the field, what was expected, what came. */
export interface LimitProblem {
  problem: string;
}

/** Most provider hosts that have limits or counters. */
export const maxHosts = 256;

/** Smallest and largest value of each limit. */
export const hostLimitBounds = {
  concurrency: [1, 10_000],
  minIntervalMs: [0, 3_600_000],
  requestsPerMinute: [1, 1_000_000],
  tokensPerMinute: [1, 1_000_000_000],
} as const satisfies { [K in keyof HostLimit]: readonly [min: number, max: number] };

const whole = (key: keyof HostLimit, orElse = '') => {
  const [min, max] = hostLimitBounds[key];
  const error = `a whole number from ${min} to ${max}${orElse}`;
  return z.number({ error }).int({ error }).min(min, { error }).max(max, { error });
};

const keys = Object.keys(hostLimitBounds).join(', ');
const change = z.strictObject(
  {
    concurrency: whole('concurrency').optional(),
    minIntervalMs: whole('minIntervalMs').optional(),
    requestsPerMinute: whole('requestsPerMinute', ', or null').nullish(),
    tokensPerMinute: whole('tokensPerMinute', ', or null').nullish(),
  },
  { error: (issue) => (issue.code === 'unrecognized_keys' ? `one of ${keys}` : 'an object') },
);

const origin = z.string().refine((text) => /^https?:\/\/[^/?#@\s]+\/?$/i.test(text) && URL.canParse(text), {
  error: 'an origin such as http://127.0.0.1:7860, without a path',
});

const changes = z.strictObject(
  {
    hosts: z
      .record(origin, change, { error: 'an object' })
      .refine((hosts) => Object.keys(hosts).length <= maxHosts, { error: `at most ${maxHosts} hosts` }),
  },
  { error: (issue) => (issue.code === 'unrecognized_keys' ? 'only hosts' : 'an object') },
);

/** Checks new values for one host; a problem names the key, what was expected and what came. */
export function checkChange(value: unknown): HostLimitChange | LimitProblem {
  const parsed = change.safeParse(value);
  return parsed.success ? parsed.data : problemOf(parsed.error, value);
}

/** Checks `{hosts: {origin: values}}`, what a client sends. Origins come back in their usual form (lower case, no default port). */
export function checkChanges(value: unknown): { hosts: { [origin: string]: HostLimitChange } } | LimitProblem {
  const parsed = changes.safeParse(value);
  if (!parsed.success) return problemOf(parsed.error, value);
  const hosts = Object.entries(parsed.data.hosts).map(([name, values]) => [new URL(name).origin, values] as const);
  if (new Set(hosts.map(([name]) => name)).size < hosts.length)
    return { problem: 'hosts: expected each host once, one came twice' };
  return { hosts: Object.fromEntries(hosts) };
}

/** `limit` with the new values. */
export function changed(limit: HostLimit, values: HostLimitChange): HostLimit {
  const {
    concurrency = limit.concurrency,
    minIntervalMs = limit.minIntervalMs,
    requestsPerMinute = limit.requestsPerMinute,
    tokensPerMinute = limit.tokensPerMinute,
  } = values;
  return { concurrency, minIntervalMs, requestsPerMinute, tokensPerMinute };
}

/** The whole limit. */
export function completed(limit: HostLimitOptions): HostLimit {
  return { requestsPerMinute: null, tokensPerMinute: null, ...limit };
}

function problemOf({ issues }: z.ZodError, value: unknown): LimitProblem {
  const [issue] = issues;
  if (issue === undefined) return { problem: 'expected other values' };
  const key = issue.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [];
  const path = [...issue.path, ...key];
  const expected = issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue.message;
  const came = issue.code === 'invalid_key' || key.length > 0 ? shown(path.at(-1)) : shown(valueAt(value, path));
  const field = path.length === 0 ? 'the whole' : path.map((name) => shortened(String(name))).join('.');
  return { problem: `${field}: expected ${expected}, got ${came}` };
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, name) => (typeof at === 'object' && at !== null ? Reflect.get(at, name) : at),
    value,
  );
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (typeof value === 'string') return JSON.stringify(shortened(value));
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

const shortened = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text);
