import type { LogLevel } from './config/config-schema.ts';
import type { Logger } from './logger.ts';

/** Where lines go. `write` is synchronous. */
export interface LineSink {
  write(line: string): unknown;
}

/** What the log is made for. */
export interface LogOptions {
  level: LogLevel;
  /** Texts that must never be seen: `secretsOf(config)`. */
  secrets: readonly string[];
  /** For people instead of as JSON. */
  pretty: boolean;
  /** Default: the process's stderr. */
  sink?: LineSink;
}

const mask = '[secret]';

/**
 * The logger of the command line program: pino, one JSON object a line, or pretty. Loads pino only now (77 ms), so that the library does
 * without. No secret appears in a line, wherever it came from: the whole finished line is searched, as the last line of defence.
 */
export async function createLog({ level, secrets, pretty, sink = process.stderr }: LogOptions): Promise<Logger> {
  const { pino, stdSerializers } = await import('pino');
  const scrub = createScrub(secrets);
  const scrubbed: LineSink = { write: (line) => sink.write(scrub(line)) };
  const target = pretty ? await prettySink(scrubbed, sink === process.stderr) : scrubbed;
  const errors = { error: stdSerializers.errWithCause, cause: stdSerializers.errWithCause };
  const log = pino(
    { level, base: null, timestamp: () => `,"time":"${new Date().toISOString()}"`, serializers: errors },
    { write: (line) => void target.write(scrub(line)) },
  );
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
  };
}

/** Replaces every secret in a text, also where JSON or a URL has escaped it. */
export function createScrub(secrets: readonly string[]): (text: string) => string {
  const forms = new Set<string>();
  for (const secret of secrets) {
    if (secret === '') continue;
    // Twice: a line is JSON, and a provider's answer in it often is JSON again.
    const escaped = inJson(secret);
    for (const form of [secret, escaped, inJson(escaped), encodeURIComponent(secret)]) forms.add(form);
  }
  // Longest first: a secret that begins with another one must not leave its rest.
  const ordered = [...forms].sort((a, b) => b.length - a.length);
  return (text) => ordered.reduce((clean, form) => clean.replaceAll(form, mask), text);
}

const inJson = (text: string): string => JSON.stringify(text).slice(1, -1);

async function prettySink(out: LineSink, colorize: boolean): Promise<LineSink> {
  const { prettyFactory } = await import('pino-pretty');
  const format = prettyFactory({ colorize, translateTime: 'SYS:HH:MM:ss.l', ignore: 'pid,hostname' });
  return { write: (line) => out.write(format(line)) };
}
